#!/usr/bin/env python3
"""Whether the logarithm of a heavy-tailed price moves a method back to where it is without the tail.

    python3 experiments/math/log_prices.py experiments/math/log_prices.json

Moved = |calls - calls of the same seed as it is|, once with the price as it is drawn and once with its logarithm. The
last columns are the first minus the second over seeds: above 0 the logarithm brings it nearer. Intervals and tests are
those of over_seeds.py, Holm's correction over the methods.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from displacement import AS_IT_IS, moved, places
from over_seeds import holm, interval, mean, sign_flips, visible

DRAWN, LOGARITHM = "heavy tail", "heavy tail, logarithm"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        runs = json.load(file)["runs"]
    found = {method: list(seeds.values()) for method, seeds in moved(runs).items() if len(seeds) > 1}
    nearer = {method: [of[DRAWN] - of[LOGARITHM] for of in seeds] for method, seeds in found.items()}
    corrected = holm([sign_flips(values) for values in nearer.values()])
    print(f"| method | seeds | {AS_IT_IS} | {DRAWN} | {LOGARITHM} | moved | moved with the logarithm | nearer by [95%] | p (Holm) | visible at 80% |")
    print("|---" * 10 + "|")
    for (method, values), p in zip(nearer.items(), corrected):
        low, high = interval(values)
        drawn, logarithm = (mean([of[setting] for of in found[method]]) for setting in (DRAWN, LOGARITHM))
        cells = " | ".join(places(runs, method, (AS_IT_IS, DRAWN, LOGARITHM)))
        print(
            f"| {method} | {len(values)} | {cells} | {drawn:.3f} | {logarithm:.3f}"
            f" | {mean(values):+.3f} [{low:+.3f}, {high:+.3f}] | {p:.3f} | {visible(values):.3f} |"
        )


if __name__ == "__main__":
    main()
