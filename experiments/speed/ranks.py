#!/usr/bin/env python3
"""Seconds a training step of one process with one thread, of two ranks with one thread each, and of one process with two threads.

    ranks.py PROGRAM CONFIG OUT.json [ROUNDS] [--set KEY=VALUE ...]

PROGRAM is built with the feature `mpi`. Each kind makes LONG and SHORT steps in new folders, turn and turn about; a step is the
difference of their wall-clock times over that of their steps, so that starting, validating at the end and evaluating drop out.
"""
import json, os, pathlib, statistics, subprocess, sys, tempfile, time

SHORT, LONG = 4, 44
KINDS = {
    "one process, one thread": (["taskset", "-c", "0"], "1"),
    "two ranks, one thread each": (["mpirun", "--allow-run-as-root", "-n", "2"], "1"),
    "one process, two threads": ([], "2"),
}

def seconds(kind, program, config, steps, more):
    words, threads = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"train.steps={steps}", "train.validate_every=0", "train.save_trajectories_every=0", "train.checkpoint_every=1000", "evaluation.tasks=2", "evaluation.head_skill=false", "evaluation.split=test"]
        command = [*words, program, "--quiet", "--backend", "flex", "train", config, "--run", f"{folder}/run", *more]
        for setting in settings:
            command += ["--set", setting]
        started = time.monotonic()
        subprocess.run(command, check=True, env={**os.environ, "RAYON_NUM_THREADS": threads}, stdout=subprocess.DEVNULL)
        took = time.monotonic() - started
        lines = [json.loads(line) for line in pathlib.Path(folder, "run/metrics.jsonl").read_text().splitlines()]
        return took, max(line["peak_memory_mib"] for line in lines)

def main():
    program, config, out, *rest = sys.argv[1:]
    rounds = int(rest.pop(0)) if rest and rest[0].isdigit() else 3
    found = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            (short, _), (long, memory) = (seconds(kind, program, config, steps, rest) for steps in (SHORT, LONG))
            found[kind].append({"seconds": (long - short) / (LONG - SHORT), "memory": memory})
            print(kind, found[kind][-1], flush=True)
    pathlib.Path(out).write_text(json.dumps({"config": config, "set": rest, "runs": found}, indent=1) + "\n")
    middle = {kind: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for kind, runs in found.items()}
    slowest = middle["one process, one thread"]["seconds"]
    print("| | seconds a step | times as fast | MiB of rank 0 |\n|---|---|---|---|")
    for kind, numbers in middle.items():
        print(f"| {kind} | {numbers['seconds']:.4f} | {slowest / numbers['seconds']:.2f} | {numbers['memory']:.0f} |")

main()
