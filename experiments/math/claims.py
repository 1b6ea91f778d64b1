#!/usr/bin/env python3
"""The claims of README.md with their verdicts, from what `compare` leaves of full.toml, stages.toml and prices.toml.

    claims.py FULL.json STAGES.json PRICES.json
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import displacement, verdicts
from over_seeds import against_first, mean, visible

def displacements(results, others):
    """As claimed if the difference is below 0: so its sign is turned."""
    found = against_first(displacement.displacements(results["runs"]))
    rows = []
    for other in others:
        more, p, _ = found[other]
        rows.append((other, len(more), -mean(more), p, visible(more)))
    return rows

def main():
    full, stages, prices = [json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:4]]
    gains = verdicts.routing_gains
    verdicts.show([
        ("(a) with reliable `N_optimal` it gains more than GDPO and HDPO", gains(full, ["GDPO", "HDPO"])),
        ("(a') that is not the reward alone: it gains more than GDPO with the same reward", gains(stages, ["GDPO, the same reward"])),
        ("(b) each stage adds: it gains more than without", gains(stages, ["without stage 1", "without stage 2"])),
        ("(c) a distorted price moves its place less than that of", displacements(prices, ["GDPO", "scalarized"])),
    ])

main()
