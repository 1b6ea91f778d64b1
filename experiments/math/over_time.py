#!/usr/bin/env python3
"""What is left in the head while a policy learns when to call.

    python3 experiments/math/over_time.py experiments/math/runs.jsonl

A run that was validated on the way has `validation/head_skill` in its curve: the share of validation problems that are
right with calls forbidden, before step 0, 25 and so on. Rows are methods, columns steps; the last is the paired
difference of last and first measurement over seeds, with a 95% percentile bootstrap interval.
"""

import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from over_seeds import interval, mean

SKILL = "validation/head_skill"


def skills(lines):
    """{method: {seed: [skill at each validation]}}, in the order of the lines.

    >>> line = {"result": {"method": "GRPO", "seed": 2}, "curve": {"values": {"validation/head_skill": [None, 0.5, None, 0.25]}}}
    >>> skills([line, {"result": {"method": "GDPO", "seed": 1}, "curve": {"values": {"em": [0.5]}}}])
    {'GRPO': {2: [0.5, 0.25]}}
    """
    found = {}
    for line in lines:
        measured = line["curve"]["values"].get(SKILL)
        if measured:
            run = line["result"]
            found.setdefault(run["method"], {})[run["seed"]] = [skill for skill in measured if skill is not None]
    return found


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        found = skills(map(json.loads, file))
    steps = [0, 100, 200, 275]
    columns = [step // 25 for step in steps]
    changes = {method: [of[-1] - of[0] for _, of in sorted(seeds.items())] for method, seeds in found.items()}
    print(f"| method | seeds | {' | '.join(f'step {step}' for step in steps)} | last minus first [95%] |")
    print("|---" * (len(steps) + 3) + "|")
    for method, change in changes.items():
        seeds = found[method].values()
        cells = [f"{mean([of[column] for of in seeds]):.3f}" for column in columns]
        low, high = interval(change)
        print(f"| {method} | {len(seeds)} | {' | '.join(cells)} | {mean(change):+.3f} [{low:+.3f}, {high:+.3f}] |")


if __name__ == "__main__":
    main()
