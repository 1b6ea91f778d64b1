#!/usr/bin/env python3
"""The decoding of `speed.rs` by vLLM on the CPU, as a JSON line: peer_vllm.py MODEL decode BATCH PROMPT NEW

Log-probabilities of the sampled tokens are recorded. Prefill is timed by a call for one token, decoding by the difference to a call for all: its
steps and its sampling cannot be told apart from outside.
"""
import json, os, pathlib, random, sys, time
from phases import Phases

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(str(core) for core in range(int(os.environ.get("THREADS", "1")))))

def main():
    from vllm import LLM, SamplingParams
    folder, task, batch, prompt, new = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    assert task == "decode"
    random_weights = not (pathlib.Path(folder) / "model.safetensors").exists()
    vocab_size = json.load(open(pathlib.Path(folder) / "config.json"))["vocab_size"]
    phases = Phases()
    with phases.phase("load"):
        engine = LLM(model=folder, dtype=os.environ.get("DTYPE", "float32"), skip_tokenizer_init=True, max_model_len=prompt + new + 8, max_num_seqs=batch,
                     enable_prefix_caching=False, load_format="dummy" if random_weights else "auto", seed=1)
    rng = random.Random(1)
    def run(count):
        prompts = [{"prompt_token_ids": [rng.randrange(vocab_size) for _ in range(prompt)]} for _ in range(batch)]
        settings = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=count, min_tokens=count, ignore_eos=True, logprobs=0, detokenize=False)
        started = time.perf_counter()
        outputs = engine.generate(prompts, settings, use_tqdm=False)
        seconds = time.perf_counter() - started
        assert all(len(output.outputs[0].token_ids) == count for output in outputs)
        return seconds
    run(4)
    phases.look()
    prefill = run(1)
    phases.add("prefill", prefill, *phases.look())
    seconds = run(new)
    phases.add("decode", seconds - prefill, *phases.look())
    print(json.dumps({"prefill": batch * prompt / prefill, "decode": batch * (new - 1) / max(seconds - prefill, 1e-9),
                      "memory": phases.peak(), "phases": phases.list()}))

if __name__ == "__main__":
    main()
