#!/usr/bin/env python3
"""paretopo beside transformers, vLLM and PyTorch: the same model, lengths, batch and number of threads, turn and turn about; medians and their ratio.

    compare.py SPEED_BINARY PEER_PYTHON VLLM_PYTHON OUT.json NAME=FOLDER...

A task that ends in `bf16` is ours with weights packed in bf16 beside vLLM in bf16. ONLY, a regular expression of `NAME task`, chooses among them.

VLLM_PYTHON may be `-`, to leave vLLM out. The limits are measured in the same run by PyTorch: bytes a second of a large sum (reading memory),
operations a second of a large f32 product. A share of the limit stands beside each of our figures: operations for training and for reading prompts,
for decoding the larger of operations and bytes (weights once a step for each worker). Rows carry the phases of both, which tables.py prints.
"""
import json, os, pathlib, platform, re, statistics, subprocess, sys
import phases

HERE = pathlib.Path(__file__).parent
ROUNDS = int(os.environ.get("ROUNDS", "3"))
THREADS = os.environ.get("THREADS", "1")
TASKS = {
    "tiny": ["decode 1 64 64", "decode 16 64 64", "decode 64 64 64", "decode 256 64 64", "train 16 128 1024"],
    "10M": ["decode 1 64 64", "decode 16 64 64", "decode 64 64 64", "train 8 256 1024"],
    "SmolLM2-135M": ["decode 1 64 32", "decode 1 64 32 bf16", "decode 16 64 32", "decode 16 64 32 bf16", "decode 64 64 16", "decode 64 64 16 bf16",
                     "train 2 256 512"],
}
PROBE = """
import json, time, torch
torch.set_num_threads(%s)
best = lambda f: min((lambda t: (f(), time.perf_counter() - t)[1])(time.perf_counter()) for _ in range(8))
x = torch.ones(64 << 20); a = torch.randn(2048, 2048)
print(json.dumps({"bytes": 4 * x.numel() / best(lambda: x.sum()), "flops": 2 * 2048**3 / best(lambda: a @ a)}))
"""

def measure(command, **more):
    environment = dict(os.environ, RAYON_NUM_THREADS=THREADS, OMP_NUM_THREADS=THREADS, THREADS=THREADS, HF_HUB_OFFLINE="1", **more)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])

def parameters(folder):
    """Those of the layers, and those of the vocabulary projection."""
    config = json.load(open(pathlib.Path(folder) / "config.json"))
    hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    kv = config.get("num_key_value_heads") or heads
    layer = 2 * hidden * head * (heads + kv) + 3 * hidden * config["intermediate_size"]
    return layers * layer, hidden * config["vocab_size"]

def share(figure, value, task, folder, limits):
    """How much of the limit `value` tokens a second are."""
    layers, vocabulary = parameters(folder)
    batch, each = int(task.split()[1]), 2 if task.endswith("bf16") else 4
    operations = {"train": 6, "prefill": 2, "decode": 2}[figure] * (layers + (vocabulary if figure != "prefill" else 0)) * value
    # all threads share the products where a step waits for memory, as `Workers::of_rollouts` has it
    weights = each * (layers + vocabulary)
    workers = 1 if weights > 48 << 20 and batch <= 6 * each else min(int(THREADS), batch)
    read = weights * value / batch * workers if figure == "decode" else 0
    return max(operations / limits["flops"], read / limits["bytes"])

def main():
    speed, python, vllm, out, *models = sys.argv[1:]
    limits = measure([python, "-c", PROBE % THREADS])
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    result = {"processor": processor, "threads": int(THREADS), "rounds": ROUNDS, "limits": limits, "rows": []}
    print(f"{processor}, {THREADS} thread(s); memory {limits['bytes'] / 2**30:.1f} GiB/s, f32 product {limits['flops'] / 1e9:.0f} GFLOP/s\n")
    print("| model | work | figure | paretopo | of the limit | peer | its figure | ratio | memory MiB | peer's |\n|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, folder in (model.split("=") for model in models):
        for task in (task for task in TASKS[name] if re.search(os.environ.get("ONLY", ""), f"{name} {task}")):
            peers = {"transformers": ([python, str(HERE / "peer.py")], {})} if task.startswith("decode") else {
                "PyTorch eager": ([python, str(HERE / "peer.py")], {}), "torch.compile": ([python, str(HERE / "peer.py")], {"COMPILE": "1"})}
            words = task.removesuffix(" bf16").split()
            if task.endswith("bf16"):
                peers = {}
            if task.startswith("decode") and vllm != "-":
                peers["vLLM"] = ([vllm, str(HERE / "peer_vllm.py")], {"DTYPE": "bfloat16" if task.endswith("bf16") else "float32"})
            if not peers:
                continue
            ours, theirs = [], {peer: [] for peer in peers}
            for _ in range(ROUNDS):
                ours.append(measure([speed, folder, *words], PACKED="bf16" if task.endswith("bf16") else "f32"))
                for peer, (command, more) in peers.items():
                    theirs[peer].append(measure([*command, folder, *words], **more))
            middle = lambda runs, key: statistics.median(run[key] for run in runs)
            for figure in [key for key in ours[0] if key not in ("memory", "phases")]:
                for peer, runs in theirs.items():
                    a, b = middle(ours, figure), middle(runs, figure)
                    memory = [middle(ours, "memory"), middle(runs, "memory")]
                    part = share(figure, a, task, folder, limits)
                    print(f"| {name} | {task} | {figure} tokens/s | {a:.0f} | {part:.0%} | {peer} | {b:.0f} | {a / b:.2f} | {memory[0]:.0f} | {memory[1]:.0f} |", flush=True)
                    result["rows"].append({"model": name, "work": task, "figure": figure, "paretopo": a, "share_of_limit": part, "peer": peer, "peers_figure": b,
                                           "memory": memory, "phases": [phases.middle(ours), phases.middle(runs)], "all": [[run[figure] for run in ours], [run[figure] for run in runs]]})
            pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")

if __name__ == "__main__":
    main()
