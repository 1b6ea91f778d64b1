#!/usr/bin/env python3
"""What `measure/mod.rs` measures, by PyTorch and transformers: the same tasks, the same JSON lines.

    peer.py CONFIG.json f32|bf16|f16 TASK...

    device:MIB:SIZE                            a copy of so many mebibytes, a product of square matrices
    decode:BATCH:PROMPT:NEW                    generate with its cache (sdpa), sampling at temperature 1
    train:full|lora:SEQUENCES:TIME:plain|lean  forward, cross-entropy, backward, AdamW (autocast, weights in f32)

Unlike ours, `generate` keeps no log-probabilities. The adapter is written out here: rank 16 on all linear maps, in
f32 on frozen weights in the precision. `lean` is gradient checkpointing with 1,024 rows of logits at a time.
"""
import json
import pathlib
import resource
import sys
import time

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

ROUNDS = 2
REPEATED = 10
RANK = 16
CHUNK = 1024
PRECISIONS = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def forget():
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory():
    if DEVICE != "cuda":
        return {"in_use": None, "reserved": None}
    return {"in_use": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}


def best(work):
    """Seconds of the best round; a first one warms up. The peak of memory is that of the others."""
    found = float("inf")
    for index in range(ROUNDS + 1):
        wait()
        started = time.perf_counter()
        work()
        wait()
        if index > 0:
            found = min(found, time.perf_counter() - started)
        else:
            forget()
    return found


def random_model(config, dtype):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return model.to(device=DEVICE, dtype=dtype)


def device(_, dtype, mebibytes, size):
    values = torch.ones(mebibytes << 18, device=DEVICE)
    target = torch.empty_like(values)
    copy = best(lambda: [target.copy_(values) for _ in range(REPEATED)]) / REPEATED
    del values, target
    matrix = (torch.rand(size, size, device=DEVICE) * 2 - 1).to(dtype)
    product = best(lambda: [matrix @ matrix for _ in range(REPEATED)]) / REPEATED
    # each number is read and written
    return {"bytes_per_second": 2 * (mebibytes << 20) / copy, "operations_per_second": 2 * size**3 / product}


def decode(config, dtype, batch, prompt, new):
    model = random_model(config, dtype).eval()
    ids = torch.randint(0, config.vocab_size, (batch, prompt), device=DEVICE)
    mask = torch.ones_like(ids)

    @torch.inference_mode()
    def generate(count):
        # never an end: the same number of tokens for all
        model.generate(ids, attention_mask=mask, do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                       max_new_tokens=count, min_new_tokens=count, eos_token_id=None, pad_token_id=0)

    # the first token costs the prompts
    prefill = best(lambda: generate(1))
    seconds = max(best(lambda: generate(new)) - prefill, 1e-9)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    remembered = 2 * config.num_hidden_layers * config.num_key_value_heads * width * dtype.itemsize
    step = parameters * dtype.itemsize + batch * (prompt + new / 2) * remembered
    return {"parameters": parameters, "prefill": batch * prompt / prefill,
            "tokens_per_second": batch * (new - 1) / seconds, "seconds": seconds,
            "bytes_per_second": step * (new - 1) / seconds, **memory()}


class LowRank(torch.nn.Module):
    """A frozen linear map with an adapter, as peft makes it."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.a = torch.nn.Parameter(torch.randn(RANK, linear.in_features, device=DEVICE) / RANK)
        self.b = torch.nn.Parameter(torch.zeros(linear.out_features, RANK, device=DEVICE))

    def forward(self, x):
        # alpha 32 over rank 16
        return self.linear(x) + 2.0 * torch.nn.functional.linear(torch.nn.functional.linear(x, self.a), self.b)


def adapted(model):
    model.requires_grad_(False)
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, torch.nn.Linear):
                    setattr(part, name, LowRank(linear))
    return model


def loss_of(model, hidden, targets):
    logits = model.lm_head(hidden).float()
    return cross_entropy(logits, targets, reduction="sum")


def train(config, dtype, kind, sequences, length, memory_setting):
    adapts, lean = kind == "lora", memory_setting == "lean"
    model = random_model(config, dtype if adapts else torch.float32).train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if adapts:
        model = adapted(model)
    if lean:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)
    ids = torch.randint(0, config.vocab_size, (sequences, length), device=DEVICE)
    targets = ids[:, 1:].flatten()
    chunk = CHUNK if lean else len(targets)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
            hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
            parts = zip(hidden.split(chunk), targets.split(chunk))
            if lean:
                losses = [checkpoint(loss_of, model, *part, use_reentrant=False) for part in parts]
            else:
                losses = [loss_of(model, *part) for part in parts]
            (sum(losses) / len(targets)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    seconds = best(step)
    tokens = sequences * length
    # forward 2, gradients of what is read 2, of the weights 2; what is computed again is no work
    operations = (4 if adapts else 6) * parameters * tokens
    return {"parameters": parameters, "tokens_per_second": tokens / seconds, "seconds": seconds,
            "operations_per_second": operations / seconds, **memory()}


def measured(config, dtype, task):
    kind, *rest = task.split(":")
    rest = [int(part) if part.isdigit() else part for part in rest]
    return {"device": device, "decode": decode, "train": train}[kind](config, dtype, *rest)


def main():
    folder, precision, *tasks = sys.argv[1:]
    config = AutoConfig.from_pretrained(pathlib.Path(folder).parent)
    torch.manual_seed(1)
    for task in tasks:
        forget()
        line = measured(config, PRECISIONS[precision], task)
        line |= {"task": task, "host_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
