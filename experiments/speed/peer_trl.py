#!/usr/bin/env python3
"""GRPO steps by TRL's GRPOTrainer with the shipped policy and a Python tool, as a JSON line: peer_trl.py MODEL PROMPTS.json STEPS BATCH

PROMPTS.json is a list of prompts as lists of ids. Rollouts are TRL's documented way to a tool of one's own, a `rollout_func`: transformers' `generate`
until the policy has written a call, the tool's output behind it, and on. Cheaper than in the program it is compared with: the tool is `exec` in this
process, without a sandbox or a limit, and the reward a search for `\\boxed`. BATCH is `per_device_train_batch_size`.

Phases are of the middle step, as its seconds; the tools are a part of `rollout`.
"""
import contextlib, io, json, sys
from trl_steps import Steps
import torch

PROMPTS, GROUP, MAX_CALLS, MAX_TOKENS = 12, 8, 4, 96
CALL, END, BEFORE, AFTER = "```python\n", "\n```", "\n```output\n", "\n```\n"

def call(text):
    """The output of a Python program."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(text, {})
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return out.getvalue().rstrip("\n")

def main():
    folder, prompts, steps, batch = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
    trl = Steps(folder)
    model, tokenizer, phase = trl.model, trl.tokenizer, trl.phase
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    sampled = []

    def rollout(texts, trainer):
        prompt_ids = [json.loads(text) for text in texts]
        done = [{"ids": [], "mask": [], "logprobs": [], "calls": 0, "sampled": 0} for _ in prompt_ids]
        active = list(range(len(prompt_ids)))
        while active:
            rows = [prompt_ids[index] + done[index]["ids"] for index in active]
            longest = max(map(len, rows))
            ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
            budget = max(MAX_TOKENS - min(done[index]["sampled"] for index in active), 1)
            with phase("rollout/generate"), torch.inference_mode():
                out = model.generate(ids, attention_mask=mask, do_sample=True, top_k=0, temperature=1.0, max_new_tokens=budget, pad_token_id=pad,
                                     eos_token_id=[end, tokenizer.convert_tokens_to_ids(END)], output_scores=True, return_dict_in_generate=True)
                scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
            going = []
            for place, index in enumerate(active):
                own, row = done[index], []
                for id, logprob in zip(out.sequences[place, longest:].tolist(), scores[place].tolist()):
                    if id == pad:
                        break
                    row.append(id)
                    own["logprobs"].append(logprob)
                own["ids"] += row
                own["mask"] += [1] * len(row)
                own["sampled"] += len(row)
                text = tokenizer.decode(row)
                if text.endswith(END) and CALL in text and own["calls"] < MAX_CALLS and own["sampled"] < MAX_TOKENS:
                    with phase("rollout/tools"):
                        output = call(text[text.index(CALL) + len(CALL):-len(END)])
                    given = tokenizer.encode(BEFORE + output + AFTER, add_special_tokens=False)[:256]
                    own["ids"] += given
                    own["mask"] += [0] * len(given)
                    own["logprobs"] += [0.0] * len(given)
                    own["calls"] += 1
                    going.append(index)
            active = going
        sampled.append((sum(own["sampled"] for own in done), sum(own["calls"] for own in done)))
        return {"prompt_ids": prompt_ids, "completion_ids": [own["ids"] for own in done], "logprobs": [own["logprobs"] for own in done],
                "env_mask": [own["mask"] for own in done]}

    def reward(completions, **_):
        return [float("\\boxed" in completion) for completion in completions]

    trl.train([json.dumps(ids) for ids in prompts], rollout, reward, max_steps=steps, num_generations=GROUP, generation_batch_size=PROMPTS * GROUP,
              per_device_train_batch_size=batch, gradient_accumulation_steps=PROMPTS * GROUP // batch, max_completion_length=256, learning_rate=2e-4)
    measured = sorted(trl.found[2:], key=lambda step: step[0])
    seconds, phases = measured[len(measured) // 2]
    memory = trl.peak()
    tokens, calls = (sum(pair[part] for pair in sampled) / len(sampled) / PROMPTS / GROUP for part in (0, 1))
    print(json.dumps({"seconds": seconds, "tokens": tokens, "calls": calls, "memory": memory, "phases": phases.list()}))

if __name__ == "__main__":
    main()
