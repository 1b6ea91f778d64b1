#!/usr/bin/env python3
"""What tuning found: EM / #Tool of each seed, then the mean height above the line; a method's highest is bold.

    tuning.py TUNING_RUNS.jsonl CONTROLS.json      (the ledger of tuning.toml, whose methods are named METHOD RATE)
"""
import json, pathlib, sys

import line
from over_seeds import mean

def main():
    height = line.height(json.loads(pathlib.Path(sys.argv[2]).read_text())["levels"])
    cells = {}
    for text in pathlib.Path(sys.argv[1]).read_text().splitlines():
        run = json.loads(text)["result"]
        method, rate = run["method"].rsplit(" ", 1)
        cells.setdefault(method, {}).setdefault(float(rate), {})[run["seed"]] = run
    rates = sorted({rate for found in cells.values() for rate in found})
    print("| method | " + " | ".join(f"{rate:.1e}".replace(".0e", "e").replace("e-0", "e-") for rate in rates) + " |")
    print("|---" * (len(rates) + 1) + "|")
    for method, found in cells.items():
        heights = {rate: mean([height(run) for run in runs.values()]) for rate, runs in found.items()}
        shown = []
        for rate in rates:
            if rate not in found:
                shown.append("-")
                continue
            runs = [found[rate][seed] for seed in sorted(found[rate])]
            cell = ", ".join(f"{run['em']:.3f} / {run['calls']:.2f}" for run in runs) + f": {heights[rate]:+.3f}"
            shown.append(f"**{cell}**" if heights[rate] == max(heights.values()) else cell)
        print(f"| {method} | " + " | ".join(shown) + " |")

main()
