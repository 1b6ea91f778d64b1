#!/usr/bin/env python3
"""What rounding the inputs of products to TF32 changes in transformers' own numbers, on the checkpoints of `check`.

    tf32.py [tests/fixtures/models]

A line of JSON for each: the largest difference as a share of the largest value, of logits, of the gradients of the mean
cross-entropy, of the logits behind 3 steps, and of the losses of 20 steps. On a card PyTorch computes in TF32 itself; elsewhere inputs are rounded
to 10 bits behind the point first, to the nearest, ties to even.
"""
import json
import pathlib
import sys

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def rounded(x):
    bits = x.contiguous().view(torch.int32)
    half = 0x0FFF + ((bits >> 13) & 1)
    return ((bits + half) & ~0x1FFF).view(torch.float32)


class Product(torch.autograd.Function):
    """A product whose inputs are rounded, also in the backward pass."""

    @staticmethod
    def forward(context, a, b):
        context.save_for_backward(a, b)
        return torch.matmul.__wrapped__(rounded(a), rounded(b))

    @staticmethod
    def backward(context, gradient):
        a, b = context.saved_tensors
        plain = torch.matmul.__wrapped__
        gradient = rounded(gradient)
        of_a = plain(gradient, rounded(b).transpose(-1, -2))
        of_b = plain(rounded(a).transpose(-1, -2), gradient)
        return summed(of_a, a.shape), summed(of_b, b.shape)


def summed(gradient, shape):
    """Over the dimensions that were expanded."""
    while gradient.dim() > len(shape):
        gradient = gradient.sum(0)
    return gradient


def emulate():
    plain = torch.matmul
    product = lambda a, b: Product.apply(a, b)
    product.__wrapped__ = plain
    torch.matmul = product

    def linear(x, weight, bias=None):
        out = product(x, weight.t())
        return out if bias is None else out + bias

    torch.nn.functional.linear = linear


def loss_of(model, ids):
    logits = model(ids).logits
    return cross_entropy(logits[0, :-1], ids[0, 1:]), logits


def numbers(folder):
    """Logits, gradients, and losses of 20 steps."""
    expected = json.loads((folder / "expected.json").read_text())
    training = json.loads((folder / "training.json").read_text())
    config = AutoConfig.from_pretrained(folder)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).to(DEVICE)
    ids = torch.tensor([expected["ids"]], device=DEVICE)
    loss, logits = loss_of(model, ids)
    loss.backward()
    gradients = {name: one.grad.clone().cpu() for name, one in model.named_parameters() if one.grad is not None}
    start = {name: one.clone() for name, one in model.state_dict().items()}
    losses, _ = trained(model, ids, training["learning_rate"], len(training["losses"]))
    model.load_state_dict(start)
    _, later = trained(model, ids, 0.01, 3)
    return {"logits": logits.detach().cpu(), "gradients": gradients, "losses": losses, "later": later}


def trained(model, ids, rate, steps):
    """The losses of so many steps, and the logits behind them."""
    groups = [
        {"params": [one for one in model.parameters() if one.dim() > 1], "weight_decay": 0.1},
        {"params": [one for one in model.parameters() if one.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss, _ = loss_of(model, ids)
        losses.append(loss.item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return torch.tensor(losses), loss_of(model, ids)[1].detach().cpu()


def apart(a, b):
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


def main():
    folders = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/models")
    found = [folder for folder in sorted(folders.iterdir()) if (folder / "expected.json").exists()]
    exact = [numbers(folder) for folder in found]
    if DEVICE == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
    else:
        emulate()
    for folder, f32 in zip(found, exact):
        tf32 = numbers(folder)
        worst = max(apart(tf32["gradients"][name], one) for name, one in f32["gradients"].items())
        print(json.dumps({
            "case": folder.name,
            "device": DEVICE,
            "logits": apart(tf32["logits"], f32["logits"]),
            "gradients": worst,
            "after 3 steps": apart(tf32["later"], f32["later"]),
            "losses": apart(tf32["losses"], f32["losses"]),
        }), flush=True)


if __name__ == "__main__":
    main()
