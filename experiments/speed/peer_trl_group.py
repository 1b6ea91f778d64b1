#!/usr/bin/env python3
"""GRPO steps by TRL's GRPOTrainer on one prompt of random ids, as `speed.rs step` does them, as a JSON line: peer_trl_group.py MODEL step ROWS PROMPT NEW

Rollouts are transformers' `generate` over exactly these ids, and never end before NEW tokens. All rows are one micro-batch. Phases are of the fastest
step but the first, as its seconds.
"""
import json, sys
from trl_steps import Steps
import torch

STEPS = 3

def main():
    torch.manual_seed(1)
    folder, _, rows, prompt, new = sys.argv[1:]
    rows, prompt, new = int(rows), int(prompt), int(new)
    trl = Steps(folder)
    model, tokenizer = trl.model, trl.tokenizer
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    ids = torch.randint(0, model.config.vocab_size, (prompt,)).tolist()

    def rollout(texts, trainer):
        batch = torch.tensor([ids] * len(texts))
        with trl.phase("rollout/generate"), torch.inference_mode():
            out = model.generate(batch, attention_mask=torch.ones_like(batch), do_sample=True, top_k=0, top_p=1.0, temperature=1.0, max_new_tokens=new,
                                 min_new_tokens=new, eos_token_id=None, pad_token_id=0, output_scores=True, return_dict_in_generate=True)
            scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        return {"prompt_ids": batch.tolist(), "completion_ids": out.sequences[:, prompt:].tolist(), "logprobs": scores.tolist()}

    def each_other(completions, **_):
        return [float(number % 2) for number in range(len(completions))]

    trl.train(["the ids"] * STEPS, rollout, each_other, max_steps=STEPS, num_generations=rows, generation_batch_size=rows, per_device_train_batch_size=rows,
              gradient_accumulation_steps=1, max_completion_length=new, learning_rate=1e-6)
    seconds, phases = min(trl.found[1:], key=lambda step: step[0])
    print(json.dumps({"seconds": seconds, "memory": trl.peak(), "phases": phases.list()}))

if __name__ == "__main__":
    main()
