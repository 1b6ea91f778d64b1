#!/usr/bin/env python3
"""EM along the fronts, at fixed numbers of calls: where a method is ahead, and where it is not.

    at_calls.py RESULTS.json 0.25 0.5 1      (what `compare` leaves, with controls; numbers of calls)

A seed's front is the upper hull of its places (calls, EM) at all settings and of never and always calling,
interpolated (docs/results.md). Methods with a knob are compared with the first of them, seed by seed, by sign flips.
"""
import json, pathlib, sys

import line
from over_seeds import against_first, mean

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
    ends = line.ends(results["frame"]["controls"]["levels"])
    swept = [front["method"] for front in results["fronts"] if len(front["settings"]) > 1]
    places = {method: {} for method in swept}
    for run in results["runs"]:
        if run["method"] in places:
            places[run["method"]].setdefault(run["seed"], list(ends)).append((run["calls"], run["em"]))
    fronts = {method: {seed: hull(its) for seed, its in seeds.items()} for method, seeds in places.items()}
    lead = swept[0]
    print("| calls | " + " | ".join(swept) + " |")
    print("|---" * (len(swept) + 1) + "|")
    for calls in map(float, sys.argv[2:]):
        em = {method: {seed: em_at(front, calls) for seed, front in seeds.items()} for method, seeds in fronts.items()}
        cells = [f"{mean(list(em[lead].values())):.3f}"]
        for method, (differences, _, p) in against_first(em).items():
            said = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
            cells.append(f"{mean(list(em[method].values())):.3f} ({mean(differences):+.3f}, {said})")
        print(f"| {calls} | " + " | ".join(cells) + " |")

main()
