#!/usr/bin/env python3
"""EM along the fronts, at fixed numbers of calls: where a method is ahead, and where it is not.

    at_calls.py RESULTS.json      (what `compare` leaves, with controls)

A seed's front is the upper hull of its places (calls, EM) at all settings and of never and always calling,
interpolated (docs/results.md). Methods with a knob are compared with the first of them, seed by seed, by sign flips.
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
from over_seeds import holm, mean, sign_flips

CALLS = (0.25, 0.5, 0.75, 1.0, 1.25)

def hull(places):
    """The corners that no line between two others passes above, left to right."""
    corners = []
    for place in sorted(places):
        while len(corners) > 1:
            (a, b), (c, d) = corners[-2:]
            if (d - b) * (place[0] - a) > (place[1] - b) * (c - a):
                break
            corners.pop()
        corners.append(place)
    return corners

def em_at(corners, calls):
    """Level to the right of the highest corner, since calls need not be made."""
    best = corners[0][1]
    for (a, b), (c, d) in zip(corners, corners[1:]):
        if a <= calls <= c:
            return max(best, b + (d - b) * (calls - a) / (c - a))
        best = max(best, d)
    return best

def main():
    results = json.loads(pathlib.Path(sys.argv[1]).read_text())
    levels = results["frame"]["controls"]["levels"]
    of = lambda key: sum(level["share"] * level[key] for level in levels)
    ends = [(0.0, of("head_skill")), (of("calls"), of("tool_skill"))]
    swept = [front["method"] for front in results["fronts"] if len(front["settings"]) > 1]
    fronts = {}
    for method in swept:
        seeds = {run["seed"]: [] for run in results["runs"] if run["method"] == method}
        for run in results["runs"]:
            if run["method"] == method:
                seeds[run["seed"]].append((run["calls"], run["em"]))
        fronts[method] = {seed: hull(places + ends) for seed, places in seeds.items()}
    lead, *others = swept
    print("| calls | " + " | ".join(swept) + " |")
    print("|---" * (len(swept) + 1) + "|")
    for calls in CALLS:
        em = {method: {seed: em_at(front, calls) for seed, front in seeds.items()} for method, seeds in fronts.items()}
        differences = {method: [em[lead][seed] - em[method][seed] for seed in em[method].keys() & em[lead].keys()] for method in others}
        p_values = holm([sign_flips(differences[method]) for method in others])
        cells = [f"{mean(list(em[lead].values())):.3f}"]
        for method, p in zip(others, p_values):
            said = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
            cells.append(f"{mean(list(em[method].values())):.3f} ({mean(differences[method]):+.3f}, {said})")
        print(f"| {calls} | " + " | ".join(cells) + " |")

main()
