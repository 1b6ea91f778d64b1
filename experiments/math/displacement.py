"""How far a distorted price moves each method: claim (c) of README.md.

    python3 experiments/math/displacement.py runs/exp-math-prices-flex/results.json

The displacement of a run is |calls - calls of the same seed as it is|, averaged over the
distortions. Printed are its mean over seeds with a 95% percentile bootstrap interval, and the
paired sign-flip test of the first method against each other, with Holm's correction.
"""

import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from over_seeds import against_first, interval, mean, visible

AS_IT_IS = "as it is"


def displacements(runs):
    """By method and seed."""
    calls = {(run["method"], run["setting"], run["seed"]): run["calls"] for run in runs}
    methods = list(dict.fromkeys(run["method"] for run in runs))
    settings = list(dict.fromkeys(run["setting"] for run in runs if run["setting"] != AS_IT_IS))
    found = {}
    for method in methods:
        seeds = sorted({run["seed"] for run in runs if run["method"] == method})
        found[method] = {}
        for seed in seeds:
            keys = [(method, setting, seed) for setting in [AS_IT_IS, *settings]]
            if all(key in calls for key in keys):
                own = calls[keys[0]]
                moved = [abs(calls[key] - own) for key in keys[1:]]
                found[method][seed] = mean(moved)
    return found


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        runs = json.load(file)["runs"]
    found = displacements(runs)
    lead = next(iter(found))
    against = against_first(found)
    settings = list(dict.fromkeys(run["setting"] for run in runs))
    print(f"| method | {' | '.join(settings)} | displacement in calls [95%] | {lead}'s minus its | p | p (Holm) | visible at 80% |")
    print("|---" * (len(settings) + 6) + "|")
    for method, by_seed in found.items():
        if not by_seed:
            continue
        places = []
        for setting in settings:
            own = [run for run in runs if (run["method"], run["setting"]) == (method, setting)]
            places.append(f"{mean([run['em'] for run in own]):.3f} / {mean([run['calls'] for run in own]):.2f}")
        values = list(by_seed.values())
        low, high = interval(values)
        row = f"| {method} | {' | '.join(places)} | {mean(values):.3f} [{low:.3f}, {high:.3f}] |"
        if method in against:
            differences, p, corrected = against[method]
            print(f"{row} {mean(differences):+.3f} | {p:.3f} | {corrected:.3f} | {visible(differences):.3f} |")
        else:
            print(f"{row} | | | |")


if __name__ == "__main__":
    main()
