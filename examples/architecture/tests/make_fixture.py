#!/usr/bin/env python3
"""Tiny random GPT-NeoX checkpoints, with logits and gradients from Hugging Face transformers on the CPU in f32.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.23.0 safetensors
    venv/bin/python examples/architecture/tests/make_fixture.py

Each folder holds a checkpoint as transformers saves it, `expected.json` (ids, logits, a greedy continuation,
the loss) and `gradients.safetensors` (of the mean next-token cross-entropy over `ids`, for every parameter).
"""
import json, pathlib, shutil
import torch
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

HERE = pathlib.Path(__file__).parent / "fixture"
COMMON = dict(vocab_size=40, hidden_size=16, intermediate_size=28, num_hidden_layers=2, num_attention_heads=2,
              max_position_embeddings=64, initializer_range=0.3, bos_token_id=None, eos_token_id=None)
# parallel: half of a head's features turn; sequential: a quarter, over a stretched context, without biases of attention, with the
# embedding as output and the other GELU
STRETCHED = dict(rope_type="linear", factor=2.0, rope_theta=10000.0, partial_rotary_factor=0.25)
CASES = {
    "parallel": GPTNeoXConfig(**COMMON, rotary_pct=0.5, rotary_emb_base=500.0),
    "sequential": GPTNeoXConfig(**COMMON, use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True,
                                hidden_act="gelu_fast", rope_parameters=STRETCHED),
}

def main() -> None:
    for number, (name, config) in enumerate(CASES.items()):
        torch.manual_seed(number)
        model = GPTNeoXForCausalLM(config).eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if parameter.dim() == 1:  # norms and biases, so that neither is trivial
                    parameter.add_(0.2 * torch.randn_like(parameter))
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        ids = torch.randint(0, config.vocab_size, (24,))
        result = model(ids[None])
        loss = torch.nn.functional.cross_entropy(result.logits[0, :-1], ids[1:])
        loss.backward()
        greedy = model.generate(ids[None, :8], max_new_tokens=12, do_sample=False)[0, 8:]
        # transformers 5 calls the output matrix `lm_head`, and its checkpoints still `embed_out`
        gradients = {key.replace("lm_head.", "embed_out."): p.grad.clone().contiguous() for key, p in model.named_parameters()}
        assert gradients.keys() == load_file(folder / "model.safetensors").keys()
        json.dump({"ids": ids.tolist(), "logits": [[round(v, 6) for v in row] for row in result.logits[0].tolist()],
                   "greedy": greedy.tolist(), "loss": loss.item()}, (folder / "expected.json").open("w"))
        save_file(gradients, folder / "gradients.safetensors")
        print(name, f"{loss.item():.4f}", sum(f.stat().st_size for f in folder.iterdir()), "bytes")

if __name__ == "__main__":
    main()
