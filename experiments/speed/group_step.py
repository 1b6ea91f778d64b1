#!/usr/bin/env python3
"""A whole GRPO step on one prompt beside TRL's GRPOTrainer, turn and turn about: packing, rollouts, gradient, update.

    group_step.py SPEED_BINARY PEER_PYTHON MODEL OUT.json [ROWS PROMPT NEW]

Both train on all rows of one micro-batch, in f32, by AdamW. Medians of ROUNDS, each the fastest of two steps behind one that warms up.
"""
import json, pathlib, statistics, sys
from compare import HERE, ROUNDS, THREADS, measure
import phases

def main():
    speed, python, model, out, *numbers = sys.argv[1:]
    task = ["step", *(numbers or ["8", "256", "64"])]
    found = {"paretopo": [], "paretopo, rollouts in bf16": [], "TRL": []}
    for _ in range(ROUNDS):
        found["paretopo"].append(measure([speed, model, *task]))
        found["paretopo, rollouts in bf16"].append(measure([speed, model, *task], PACKED="bf16"))
        found["TRL"].append(measure([python, str(HERE / "peer_trl_group.py"), model, *task]))
    pathlib.Path(out).write_text(json.dumps({"threads": int(THREADS), "rounds": ROUNDS, "work": " ".join(task), "runs": found}, indent=1) + "\n")
    middle = lambda name, key: statistics.median(run[key] for run in found[name])
    print(f"{task[1]} rollouts of {task[3]} ids behind a prompt of {task[2]}, {THREADS} thread(s)\n")
    print("| | seconds a step | TRL's / its | memory MiB | its / TRL's |\n|---|---|---|---|---|")
    for name in found:
        seconds, memory = middle(name, "seconds"), middle(name, "memory")
        print(f"| {name} | {seconds:.2f} | {middle('TRL', 'seconds') / seconds:.2f} | {memory:.0f} | {memory / middle('TRL', 'memory'):.2f} |")
    phases.table([("a step", name, phases.middle(runs)) for name, runs in found.items()])

if __name__ == "__main__":
    main()
