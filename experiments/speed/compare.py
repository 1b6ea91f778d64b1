#!/usr/bin/env python3
"""paretopo beside transformers and PyTorch: the same model, lengths, batch and number of threads, turn and turn about; medians and their ratio.

    compare.py SPEED_BINARY PEER_PYTHON OUT.json NAME=FOLDER...

The limits are measured in the same run by PyTorch: bytes a second of a large sum (reading memory), operations a second of a large f32 product.
"""
import json, os, pathlib, platform, statistics, subprocess, sys

HERE = pathlib.Path(__file__).parent
ROUNDS = int(os.environ.get("ROUNDS", "3"))
THREADS = os.environ.get("THREADS", "1")
TASKS = {
    "tiny": ["decode 1 64 64", "decode 16 64 64", "decode 64 64 64", "decode 256 64 64", "train 16 128 1024"],
    "10M": ["decode 1 64 64", "decode 16 64 64", "decode 64 64 64", "train 8 256 1024"],
    "SmolLM2-135M": ["decode 1 64 32", "decode 16 64 32", "decode 64 64 16", "train 2 256 512"],
}
PROBE = """
import json, time, torch
torch.set_num_threads(%s)
best = lambda f: min((lambda t: (f(), time.perf_counter() - t)[1])(time.perf_counter()) for _ in range(8))
x = torch.ones(64 << 20); a = torch.randn(2048, 2048)
print(json.dumps({"bytes": 4 * x.numel() / best(lambda: x.sum()), "flops": 2 * 2048**3 / best(lambda: a @ a)}))
"""

def measure(command):
    environment = dict(os.environ, RAYON_NUM_THREADS=THREADS, OMP_NUM_THREADS=THREADS, THREADS=THREADS, HF_HUB_OFFLINE="1")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])

def main():
    speed, python, out, *models = sys.argv[1:]
    probe = measure([python, "-c", PROBE % THREADS])
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    result = {"processor": processor, "threads": int(THREADS), "rounds": ROUNDS, "limits": probe, "rows": []}
    print(f"{processor}, {THREADS} thread(s); memory {probe['bytes'] / 2**30:.1f} GiB/s, f32 product {probe['flops'] / 1e9:.0f} GFLOP/s\n")
    print("| model | work | figure | paretopo | peer | ratio | memory MiB, paretopo | peer |\n|---|---|---|---|---|---|---|---|", flush=True)
    for name, folder in (model.split("=") for model in models):
        for task in TASKS[name]:
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(measure([speed, folder, *task.split()]))
                theirs.append(measure([python, str(HERE / "peer.py"), folder, *task.split()]))
            middle = lambda runs, key: statistics.median(run[key] for run in runs)
            for figure in [key for key in ours[0] if key != "memory"]:
                a, b = middle(ours, figure), middle(theirs, figure)
                memory = [middle(runs, "memory") for runs in (ours, theirs)]
                print(f"| {name} | {task} | {figure} tokens/s | {a:.0f} | {b:.0f} | {a / b:.2f} | {memory[0]:.0f} | {memory[1]:.0f} |", flush=True)
                result["rows"].append({"model": name, "work": task, "figure": figure, "paretopo": a, "peer": b, "memory": memory,
                                       "all": [[run[figure] for run in runs] for runs in (ours, theirs)]})
    pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")

if __name__ == "__main__":
    main()
