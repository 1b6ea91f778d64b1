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


def moved(runs):
    """{method: {seed: {setting: |calls - calls as it is|}}}, of seeds that have all settings.

    >>> run = lambda setting, seed, calls: {"method": "GDPO", "setting": setting, "seed": seed, "calls": calls}
    >>> moved([run("as it is", 1, 1.0), run("heavy tail", 1, 0.75), run("as it is", 2, 1.0)])
    {'GDPO': {1: {'heavy tail': 0.25}}}
    """
    calls = {(run["method"], run["setting"], run["seed"]): run["calls"] for run in runs}
    methods = list(dict.fromkeys(run["method"] for run in runs))
    settings = list(dict.fromkeys(run["setting"] for run in runs if run["setting"] != AS_IT_IS))
    found = {}
    for method in methods:
        found[method] = {}
        for seed in sorted({run["seed"] for run in runs if run["method"] == method}):
            if all((method, setting, seed) in calls for setting in [AS_IT_IS, *settings]):
                own = calls[method, AS_IT_IS, seed]
                found[method][seed] = {setting: abs(calls[method, setting, seed] - own) for setting in settings}
    return found


def displacements(runs):
    """By method and seed."""
    return {method: {seed: mean(list(of.values())) for seed, of in seeds.items()} for method, seeds in moved(runs).items()}


def places(runs, method, settings):
    """A cell for each setting: mean EM and calls of all its runs."""
    for setting in settings:
        own = [run for run in runs if (run["method"], run["setting"]) == (method, setting)]
        yield f"{mean([run['em'] for run in own]):.3f} / {mean([run['calls'] for run in own]):.2f}"


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
        values = list(by_seed.values())
        low, high = interval(values)
        row = f"| {method} | {' | '.join(places(runs, method, settings))} | {mean(values):.3f} [{low:.3f}, {high:.3f}] |"
        if method in against:
            differences, p, corrected = against[method]
            print(f"{row} {mean(differences):+.3f} | {p:.3f} | {corrected:.3f} | {visible(differences):.3f} |")
        else:
            print(f"{row} | | | |")


if __name__ == "__main__":
    main()
