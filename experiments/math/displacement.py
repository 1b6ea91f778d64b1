"""How far a distorted price moves each method: claim (c) of README.md.

    python3 experiments/math/displacement.py runs/exp-math-prices-flex/results.json

The displacement of a run is |calls - calls of the same seed as it is|, averaged over the
distortions. Printed are its mean over seeds with a 95% percentile bootstrap interval, and the
paired sign-flip test of the first method against each other, with Holm's correction.
"""

import itertools
import json
import random
import sys

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
                found[method][seed] = sum(moved) / len(moved)
    return found


def mean(values):
    return sum(values) / len(values)


def interval(values, draws=10_000):
    generator = random.Random(1)
    means = sorted(mean(generator.choices(values, k=len(values))) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def sign_flips(differences):
    """Two-sided and exact: of all signs, those whose sum is as far from 0."""
    observed = abs(sum(differences)) - 1e-12
    signs = itertools.product((1, -1), repeat=len(differences))
    hits = sum(abs(sum(s * d for s, d in zip(sign, differences))) >= observed for sign in signs)
    return hits / 2 ** len(differences)


def holm(p_values):
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        corrected[place] = min(largest, 1.0)
    return corrected


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        found = displacements(json.load(file)["runs"])
    print("| method | seeds | displacement in calls |\n|---|---|---|")
    for method, by_seed in found.items():
        values = list(by_seed.values())
        if not values:
            continue
        low, high = interval(values)
        print(f"| {method} | {len(values)} | {mean(values):.3f} [{low:.3f}, {high:.3f}] |")
    lead, *others = found
    rows = []
    for other in others:
        seeds = sorted(found[lead].keys() & found[other].keys())
        differences = [found[lead][seed] - found[other][seed] for seed in seeds]
        if differences:
            rows.append((other, mean(differences), sign_flips(differences)))
    print(f"\n| {lead} against | difference | p | p (Holm) |\n|---|---|---|---|")
    for (other, difference, p), corrected in zip(rows, holm([row[2] for row in rows])):
        print(f"| {other} | {difference:+.3f} | {p:.4f} | {corrected:.4f} |")


if __name__ == "__main__":
    main()
