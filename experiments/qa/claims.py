#!/usr/bin/env python3
"""The claims of README.md with their verdicts, from what `compare` leaves of full.toml.

    claims.py FULL.json
"""
import json, pathlib, sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import verdicts

def main():
    full = json.loads(pathlib.Path(sys.argv[1]).read_text())
    others = ["GDPO", "scalarized", "call penalty"]
    verdicts.show([("(a) with reliable `N_optimal` it gains more than", verdicts.routing_gains(full, others))])

main()
