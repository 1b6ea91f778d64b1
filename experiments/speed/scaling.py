#!/usr/bin/env python3
"""How cost grows with batch, length, group and model size, and whether memory grows over a long run.

    scaling.py SPEED_BINARY PARETOPO_BINARY OUT.json OUT.svg NAME=FOLDER...
    scaling.py --redraw OUT.json OUT.svg

Costs are times this program needs (the figure's vertical axes), so a slope of 1 in the doubly logarithmic figure is cost in proportion to the work. The
second model carries the series over batch, length and group.
"""
import json, math, os, pathlib, shutil, statistics, subprocess, sys, tempfile
import matplotlib
matplotlib.use("svg")
import matplotlib.pyplot as plt
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import style

THREADS = os.environ.get("THREADS", "1")
STEPS = int(os.environ.get("STEPS", "1000"))
ENVIRONMENT = dict(os.environ, RAYON_NUM_THREADS=THREADS)
# of every measurement, by model and work
PHASES = {}

def measure(speed, folder, task):
    import phases
    runs = [json.loads(subprocess.run([speed, folder, *task.split()], check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout) for _ in range(3)]
    PHASES[f"{pathlib.Path(folder).name}: {task}"] = phases.middle(runs)
    return {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "phases"}

def slope(points):
    """The exponent over the last half of the points, where fixed costs no longer count."""
    points = points[len(points) // 2 - 1:]
    return math.log(points[-1][1] / points[0][1]) / math.log(points[-1][0] / points[0][0])

def long_run(binary):
    run = pathlib.Path(tempfile.mkdtemp()) / "run"
    settings = [f"train.steps={STEPS}", "train.validate_every=0", "evaluation.tasks=1", "train.save_trajectories_every=0", f"train.checkpoint_every={STEPS}"]
    subprocess.run([binary, "--quiet", "train", "--run", str(run), *(part for setting in settings for part in ("--set", setting))], check=True,
                   capture_output=True, env=ENVIRONMENT)
    memory = [json.loads(line)["memory_mib"] for line in open(run / "metrics.jsonl")]
    shutil.rmtree(run.parent)
    return memory

def draw(series, memory, figure):
    style.apply(matplotlib)
    plots = list(plt.figure(figsize=(13, 9)).subplots(3, 3).flat)
    for plot, (against, points) in zip(plots, series.items()):
        plot.loglog(*zip(*points), "o-")
        plot.loglog([points[0][0], points[-1][0]], [points[0][1], points[0][1] * points[-1][0] / points[0][0]], ":", color=style.AXIS)
        plot.set(xlabel=against, ylabel="seconds", title=f"exponent {slope(points):.2f}")
    plots[-1].plot(memory)
    plots[-1].set(xlabel="step", ylabel="resident MiB", ylim=(0, None), title=f"memory of {len(memory)} steps")
    plt.tight_layout()
    plt.savefig(figure, metadata={"Date": None})

def main():
    if sys.argv[1] == "--redraw":
        found = json.loads(pathlib.Path(sys.argv[2]).read_text())
        return draw(found["series"], found["memory_mib"], sys.argv[3])
    from compare import parameters
    speed, binary, out, figure, *models = sys.argv[1:]
    models = [model.split("=") for model in models]
    name, folder = models[1]
    series = {
        "batch (a decoding step)": [(batch, batch * 32 / measure(speed, folder, f"decode {batch} 64 32")["decode"] / 32) for batch in (1, 4, 16, 64, 256)],
        "tokens in the cache (a decoding step of 16)": [(length, 16 / measure(speed, folder, f"decode 16 {length} 16")["decode"]) for length in (64, 128, 256, 512, 1024)],
        "prompt length (16 prompts)": [(length, 16 * length / measure(speed, folder, f"decode 16 {length} 4")["prefill"]) for length in (32, 64, 128, 256, 512)],
        "group size (one prompt of 256)": [(group, measure(speed, folder, f"group {group} 256 16")["seconds"]) for group in (1, 4, 16, 64)],
        "sequence length (training, 2,048 tokens)": [(time, 2048 / measure(speed, folder, f"train {2048 // time} {time} {max(1024, time)}")["train"]) for time in (64, 128, 256, 512, 1024)],
        "sequences of 128 (training)": [(count, count * 128 / measure(speed, folder, f"train {count} 128 1024")["train"]) for count in (8, 16, 32, 64)],
    }
    sizes = []
    for label, path in models:
        count = sum(parameters(path))
        sizes.append((count, 16 / measure(speed, path, "decode 16 64 16")["decode"], 1 / measure(speed, path, "train 4 128 512")["train"]))
    series["parameters (a decoding step of 16)"] = [(count, decode) for count, decode, _ in sizes]
    series["parameters (training, one token)"] = [(count, train) for count, _, train in sizes]
    print(f"Model: {name}, {THREADS} thread(s)\n\n| against | seconds | exponent |\n|---|---|---|")
    for against, points in series.items():
        print(f"| {against} | " + ", ".join(f"{x}: {y:.4g}" for x, y in points) + f" | {slope(points):.2f} |", flush=True)
    memory = long_run(binary)
    tenths = [statistics.median(memory[STEPS * tenth // 10:STEPS * (tenth + 1) // 10]) for tenth in range(10)]
    print(f"\nResident memory of a run of {STEPS} steps, MiB, medians of its tenths: " + ", ".join(f"{value:.0f}" for value in tenths))
    pathlib.Path(out).write_text(json.dumps({"model": name, "threads": int(THREADS), "series": series, "phases": PHASES, "memory_mib": memory}, indent=1) + "\n")
    draw(series, memory, figure)
    # the allocator keeps what the largest batch so far has needed, which settles; a leak goes on
    if tenths[-1] > 1.03 * tenths[4] + 2:
        sys.exit("memory grows in the second half: there is a leak")

if __name__ == "__main__":
    main()
