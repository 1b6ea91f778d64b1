#!/usr/bin/env python3
"""The same measurement as `speed.rs`, by transformers (decode) and PyTorch (train; eager, or compiled with COMPILE=1), as a JSON line.

    peer.py MODEL decode BATCH PROMPT NEW | peer.py MODEL train SEQUENCES TIME BUDGET
"""
import json, os, pathlib, sys, time
import torch
from phases import Phases
from transformers import AutoConfig, AutoModelForCausalLM

def load(folder):
    if (pathlib.Path(folder) / "model.safetensors").exists():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)

class Calls:
    """Seconds of each call of a model, in order."""
    def __init__(self, model):
        self.seconds, self.started = [], 0.0
        model.register_forward_pre_hook(self.begin)
        model.register_forward_hook(self.end)
    def begin(self, *_):
        self.started = time.perf_counter()
    def end(self, *_):
        self.seconds.append(time.perf_counter() - self.started)

def decode(model, loaded, batch, prompt, new):
    """`decode` is `generate` without the reading of the prompts; its parts are the model's calls behind the first, and all else."""
    ids = torch.randint(0, model.config.vocab_size, (batch, prompt))
    calls = Calls(model)
    for count in (4, new):
        phases = loaded.copy()
        with torch.inference_mode():
            with phases.phase("prefill"):
                started = time.perf_counter()
                model(ids, use_cache=True, logits_to_keep=1)
                prefill = time.perf_counter() - started
            calls.seconds.clear()
            started = time.perf_counter()
            # never an end: the same number of tokens for all
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0, temperature=1.0, max_new_tokens=count,
                                 min_new_tokens=count, eos_token_id=None, pad_token_id=0, output_scores=True, return_dict_in_generate=True)
            model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
            seconds = time.perf_counter() - started
        phases.add("decode", seconds - prefill, *phases.look())
        steps = sum(calls.seconds[1:])
        phases.add("decode/model", steps)
        phases.add("decode/sampling", seconds - calls.seconds[0] - steps)
    return {"prefill": batch * prompt / prefill, "decode": batch * new / max(seconds - prefill, 1e-9)}, phases

def train(model, loaded, sequences, length, budget):
    model.train()
    forward = torch.compile(model) if os.environ.get("COMPILE") else model
    ids = torch.randint(0, model.config.vocab_size, (sequences, length))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    best, of_best = float("inf"), loaded
    for step in range(3):
        phases = loaded.copy()
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        for part in ids.split(max(budget // length, 1)):
            with phases.phase("forward"):
                logits = forward(part).logits[:, :-1]
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum")
            with phases.phase("backward"):
                (loss / (sequences * (length - 1))).backward()
        with phases.phase("optimizer"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        seconds = time.perf_counter() - started
        loaded.most = phases.most
        if step and seconds < best:
            best, of_best = seconds, phases
    of_best.most = loaded.most
    return {"train": sequences * length / best}, of_best

def main():
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    torch.manual_seed(1)
    folder, task, *numbers = sys.argv[1:]
    loaded = Phases()
    with loaded.phase("load"):
        model = load(folder)
    result, phases = {"decode": decode, "train": train}[task](model, loaded, *map(int, numbers))
    result["memory"], result["phases"] = phases.peak(), phases.list()
    print(json.dumps(result))

if __name__ == "__main__":
    main()
