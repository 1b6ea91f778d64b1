#!/usr/bin/env python3
"""Puts the tables of an experiment's results.json into its README.

    python3 experiments/tables.py experiments/math/results.json experiments/math/README.md

A table stands between `<!-- NAME -->` and `<!-- end -->`. `fronts` has a row for each method,
`comparisons` one for each method that the first is compared with. Numbers come from the file
alone; a README with no place for any table is an error.
"""

import json
import pathlib
import re
import sys


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}f}"


def with_interval(estimate):
    low, high = estimate["interval"]
    return f"{number(estimate['iqm'])} [{number(low)}, {number(high)}]"


def fronts(results):
    yield "| method | settings | seeds | routing gain, IQM [95%] | of means | EM at 0.5 calls | EM at 1 call | calls at EM 0.9 | head skill at the end |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for front in results["fronts"]:
        cells = [
            front["method"],
            max(1, len(front["settings"])),
            front["seeds"],
            with_interval(front["routing_gain"]),
            number(front["routing_gain_of_means"]),
            number(front["em_at_half_a_call"]["iqm"]),
            number(front["em_at_one_call"]["iqm"]),
            number((front.get("calls_at_em_090") or {}).get("iqm"), 2),
            number(front["head_skill"], 2),
        ]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def comparisons(results):
    lead = results["lead"]
    yield f"| {lead['method']} against | pairs | difference of the routing gain | p | p (Holm) | visible at 80% |"
    yield "|---|---|---|---|---|---|"
    for row in lead["against"]:
        yield (
            f"| {row['other']} | {row['pairs']} | {row['difference']:+.3f} | {number(row['p_value'])}"
            f" | {number(row['p_holm'])} | {number(row['visible_effect'])} |"
        )


TABLES = {"fronts": fronts, "comparisons": comparisons}


def main():
    source, readme = map(pathlib.Path, sys.argv[1:])
    results = json.loads(source.read_text())
    text = readme.read_text()
    filled = 0
    for name, table in TABLES.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        lines = "".join(line + "\n" for line in table(results))
        text, times = place.subn(lambda found: found[1] + lines + found[2], text)
        filled += times
    if not filled:
        sys.exit(f"`{readme}` has no place for a table: `<!-- {' -->` or `<!-- '.join(TABLES)} -->`")
    readme.write_text(text)


main()
