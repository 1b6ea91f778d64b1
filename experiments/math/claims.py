#!/usr/bin/env python3
"""The claims of README.md with their verdicts, from what `compare` leaves of full.toml, stages.toml and prices.toml.

    claims.py FULL.json STAGES.json PRICES.json

A claim of several comparisons is corrected over these (Holm), and holds if each of them does: p < 0.05 and the
difference as claimed. It fails if one has p < 0.05 the other way round. Else it is open.
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import displacement
from over_seeds import against_first, holm, mean, visible

def routing_gains(results, others):
    """[(other, pairs, difference, p, visible)], as claimed if the difference is above 0."""
    rows = {row["other"]: row for row in results["lead"]["against"]}
    return [(other, *(rows[other][key] for key in ("pairs", "difference", "p_value", "visible_effect"))) for other in others]

def displacements(results, others):
    """The same of displacements, as claimed if the difference is below 0: so its sign is turned."""
    found = against_first(displacement.displacements(results["runs"]))
    rows = []
    for other in others:
        more, p, _ = found[other]
        rows.append((other, len(more), -mean(more), p, visible(more)))
    return rows

CLAIMS = [
    ("(a) with reliable `N_optimal` it gains more than GDPO and HDPO", 0, routing_gains, ["GDPO", "HDPO"]),
    ("(a') that is not the reward alone: it gains more than GDPO with the same reward", 1, routing_gains, ["GDPO, the same reward"]),
    ("(b) each stage adds: it gains more than without", 1, routing_gains, ["without stage 1", "without stage 2"]),
    ("(c) a distorted price moves its place less than that of", 2, displacements, ["GDPO", "scalarized"]),
]

def verdict(rows, corrected):
    if any(p < 0.05 and row[2] < 0 for row, p in zip(rows, corrected)):
        return "**fails**"
    return "**holds**" if all(p < 0.05 for p in corrected) else "**open**"

def main():
    results = [json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:4]]
    print("| claim about ParetoPO | against | pairs | better by | p (Holm) | visible at 80% | verdict |")
    print("|---|---|---|---|---|---|---|")
    for claim, source, measure, others in CLAIMS:
        rows = measure(results[source], others)
        corrected = holm([row[3] for row in rows])
        said = verdict(rows, corrected)
        for (other, pairs, difference, _, seen), p in zip(rows, corrected):
            print(f"| {claim} | {other} | {pairs} | {difference:+.3f} | {p:.3f} | {seen:.3f} | {said} |")
            claim = said = ""

main()
