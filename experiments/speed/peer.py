#!/usr/bin/env python3
"""The same measurement as `speed.rs`, by transformers (decode) and PyTorch (train; eager, or compiled with COMPILE=1), as a JSON line.

    peer.py MODEL decode BATCH PROMPT NEW | peer.py MODEL train SEQUENCES TIME BUDGET
"""
import json, os, pathlib, resource, sys, time
import torch
from transformers import AutoConfig, AutoModelForCausalLM

def load(folder):
    if (pathlib.Path(folder) / "model.safetensors").exists():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)

def decode(model, batch, prompt, new):
    ids = torch.randint(0, model.config.vocab_size, (batch, prompt))
    for count in (4, new):
        with torch.inference_mode():
            started = time.perf_counter()
            model(ids, use_cache=True, logits_to_keep=1)
            prefill = time.perf_counter() - started
            started = time.perf_counter()
            # never an end: the same number of tokens for all
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0, temperature=1.0, max_new_tokens=count,
                                 min_new_tokens=count, eos_token_id=None, pad_token_id=0, output_scores=True, return_dict_in_generate=True)
            model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
            seconds = time.perf_counter() - started
    return {"prefill": batch * prompt / prefill, "decode": batch * new / max(seconds - prefill, 1e-9)}

def train(model, sequences, length, budget):
    model.train()
    forward = torch.compile(model) if os.environ.get("COMPILE") else model
    ids = torch.randint(0, model.config.vocab_size, (sequences, length))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    best = float("inf")
    for step in range(3):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        for part in ids.split(max(budget // length, 1)):
            logits = forward(part).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum")
            (loss / (sequences * (length - 1))).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step:
            best = min(best, time.perf_counter() - started)
    return {"train": sequences * length / best}

def main():
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    torch.manual_seed(1)
    folder, task, *numbers = sys.argv[1:]
    result = {"decode": decode, "train": train}[task](load(folder), *map(int, numbers))
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))

if __name__ == "__main__":
    main()
