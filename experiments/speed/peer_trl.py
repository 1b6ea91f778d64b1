#!/usr/bin/env python3
"""GRPO steps by TRL's GRPOTrainer with the shipped policy and a Python tool, as a JSON line: peer_trl.py MODEL PROMPTS.json STEPS BATCH

PROMPTS.json is a list of prompts as lists of ids. Rollouts are TRL's documented way to a tool of one's own, a `rollout_func`: transformers' `generate`
until the policy has written a call, the tool's output behind it, and on. Cheaper than in the program it is compared with: the tool is `exec` in this
process, without a sandbox or a limit, and the reward a search for `\\boxed`. BATCH is `per_device_train_batch_size`.

Phases are of the middle step, as its seconds. `rollout` has TRL's own work around `generate` and the tools in it, `backward` what a training step does
beside computing the loss.
"""
import contextlib, io, json, os, sys, tempfile, time, warnings
warnings.filterwarnings("ignore")
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from phases import Phases

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
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    folder, prompts, steps, batch = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    now = {"phases": Phases()}
    phase = lambda name: now["phases"].phase(name)
    with phase("load"):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded = now["phases"]
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

    class Clock(TrainerCallback):
        seconds, started, updating = [], 0.0, 0.0
        def on_step_begin(self, *_, **__):
            now["phases"] = loaded.copy()
            self.started = time.perf_counter()
        def on_pre_optimizer_step(self, *_, **__):
            self.updating = time.perf_counter()
        def on_optimizer_step(self, *_, **__):
            now["phases"].add("optimizer", time.perf_counter() - self.updating, *now["phases"].look())
        def on_step_end(self, *_, **__):
            self.seconds.append((time.perf_counter() - self.started, now["phases"]))

    class Measured(GRPOTrainer):
        """The phases that no callback tells."""
        def _generate_and_score_completions(self, *arguments, **named):
            with phase("rollout"):
                return super()._generate_and_score_completions(*arguments, **named)
        def compute_loss(self, *arguments, **named):
            with phase("forward"):
                return super().compute_loss(*arguments, **named)
        def training_step(self, *arguments, **named):
            seconds = lambda: sum(row["seconds"] for row in now["phases"].list() if row["phase"] in ("rollout", "forward"))
            started, before = time.perf_counter(), seconds()
            loss = super().training_step(*arguments, **named)
            now["phases"].add("backward", time.perf_counter() - started - (seconds() - before), *now["phases"].look())
            return loss

    def reward(completions, **_):
        return [float("\\boxed" in completion) for completion in completions]

    settings = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to=[], max_steps=steps, num_generations=GROUP, generation_batch_size=PROMPTS * GROUP,
        per_device_train_batch_size=batch, gradient_accumulation_steps=PROMPTS * GROUP // batch, max_completion_length=256, beta=0.0, learning_rate=2e-4,
        temperature=1.0, logging_strategy="no", save_strategy="no", gradient_checkpointing=False, dataloader_pin_memory=False, disable_tqdm=True,
    )
    clock = Clock()
    trainer = Measured(model=model, reward_funcs=reward, args=settings, train_dataset=Dataset.from_dict({"prompt": [json.dumps(ids) for ids in prompts]}),
                       processing_class=tokenizer, rollout_func=rollout, callbacks=[clock])
    trainer.train()
    steps = sorted(clock.seconds[2:], key=lambda step: step[0])
    seconds, phases = steps[len(steps) // 2]
    memory = max(other.peak() for _, other in clock.seconds)
    tokens, calls = (sum(pair[part] for pair in sampled) / len(sampled) / PROMPTS / GROUP for part in (0, 1))
    print(json.dumps({"seconds": seconds, "tokens": tokens, "calls": calls, "memory": memory, "phases": phases.list()}))

if __name__ == "__main__":
    main()
