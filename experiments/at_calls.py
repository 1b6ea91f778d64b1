#!/usr/bin/env python3
"""EM along the fronts at fixed numbers of calls, or calls at fixed EM: where a method is ahead, and where it is not.

    at_calls.py RESULTS.json 0.25 0.5 1          (what `compare` leaves, with controls; numbers of calls)
    at_calls.py RESULTS.json --em 0.7 0.8 0.9    (EM; `-` where a seed's front does not reach it)

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

def cells_of(values, digits):
    """The first method's mean, and of each other its mean and, in brackets, the first's minus it, paired by seeds."""
    lead, *others = values
    reached = {method: its for method, its in values.items() if None not in its.values()}
    against = against_first(reached) if lead in reached else {}
    yield f"{mean(list(reached[lead].values())):.{digits}f}" if lead in reached else "-"
    for method in others:
        cell = f"{mean(list(reached[method].values())):.{digits}f}" if method in reached else "-"
        if method in against:
            differences, _, p = against[method]
            said = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
            cell += f" ({mean(differences):+.{digits}f}, {said})"
        yield cell

def main():
    path, *at = sys.argv[1:]
    results = json.loads(pathlib.Path(path).read_text())
    ends = line.ends(results["frame"]["controls"]["levels"])
    swept = [front["method"] for front in results["fronts"] if len(front["settings"]) > 1]
    places = {method: {} for method in swept}
    for run in results["runs"]:
        if run["method"] in places:
            places[run["method"]].setdefault(run["seed"], list(ends)).append((run["calls"], run["em"]))
    fronts = {method: {seed: hull(its) for seed, its in seeds.items()} for method, seeds in places.items()}
    by_em = at[0] == "--em"
    along, digits = (line.calls_at, 2) if by_em else (em_at, 3)
    print(f"| {'EM' if by_em else 'calls'} | " + " | ".join(swept) + " |")
    print("|---" * (len(swept) + 1) + "|")
    for value in map(float, at[by_em:]):
        values = {method: {seed: along(front, value) for seed, front in seeds.items()} for method, seeds in fronts.items()}
        print(f"| {value} | " + " | ".join(cells_of(values, digits)) + " |")

main()
