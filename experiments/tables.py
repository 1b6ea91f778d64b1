#!/usr/bin/env python3
"""Puts the tables of an experiment's results.json into its README.

    python3 experiments/tables.py experiments/math/results.json experiments/math/README.md
    python3 experiments/tables.py runs/tables-math-stages/results.json experiments/math/README.md stages
    python3 experiments/math/paired.py RESULTS | python3 experiments/tables.py - experiments/math/README.md ablations

A table stands between `<!-- NAME -->` and `<!-- end -->`:

| name | a row for each |
|---|---|
| `fronts` | method, below the line and the oracle router |
| `comparisons` | method that the first is compared with |
| `controls` | policy that knows no better, and the oracle router |
| `levels` | method at the middle of its knob, below never and always calling, with a column for each level |

A third word goes before these names. With `-` the table is read from standard input, and the third word is its name.
Numbers come from the file alone; a README with no place for any table is an error.
"""

import json
import pathlib
import re
import sys

import line
from over_seeds import mean


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}f}"


def p_value(value):
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def with_interval(estimate):
    low, high = estimate["interval"]
    return f"{number(estimate['iqm'])} [{number(low)}, {number(high)}]"


def fronts(results):
    yield "| method | settings | seeds | routing gain, IQM [95%] | of means | hypervolume | IGD+ | EM at 0.5 calls | EM at 1 call | calls at EM 0.9 | lowest #Tool in training | head skill at the end |"
    yield "|---" * 12 + "|"
    frame = results["frame"]
    levels = frame["controls"]["levels"]
    for name, corners, gain in [("the line, never to always", line.ends(levels), 0), ("oracle router", line.oracle(levels), 1)]:
        volume = line.hypervolume(corners, frame["call_limit"])
        em = [number(line.em_at(corners, calls)) for calls in (0.5, 1.0)]
        cells = [name, "", "", number(gain), number(gain), number(volume), "", *em, number(line.calls_at(corners, 0.9), 2), "", ""]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"
    for front in results["fronts"]:
        cells = [
            front["method"],
            max(1, len(front["settings"])),
            front["seeds"],
            with_interval(front["routing_gain"]),
            number(front["routing_gain_of_means"]),
            number(front["hypervolume"]["iqm"]),
            number(front["igd_plus"]["iqm"]),
            number(front["em_at_half_a_call"]["iqm"]),
            number(front["em_at_one_call"]["iqm"]),
            number((front.get("calls_at_em_090") or {}).get("iqm"), 2),
            number(front["lowest_calls"], 2),
            number(front["head_skill"], 2),
        ]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def comparisons(results):
    lead = results["lead"]
    yield f"| {lead['method']} against | pairs | difference of the routing gain | P(better) | p | p (Holm) | visible at 80% |"
    yield "|---|---|---|---|---|---|---|"
    for row in lead["against"]:
        yield (
            f"| {row['other']} | {row['pairs']} | {row['difference']:+.3f} | {row['probability_of_improvement']:.2f}"
            f" | {p_value(row['p_value'])} | {p_value(row['p_holm'])} | {number(row['visible_effect'])} |"
        )


def controls(results):
    levels = results["frame"]["controls"]["levels"]
    never, always = line.ends(levels)
    oracle = line.oracle(levels)
    half = always[0] / 2
    yield "| control | EM | #Tool |"
    yield "|---|---|---|"
    for name, (calls, em) in [
        ("never call", never),
        ("a coin between never and always", (half, line.em_at([never, always], half))),
        ("oracle router, as many calls", (half, line.em_at(oracle, half))),
        ("oracle router, all that gain", oracle[-1]),
        ("always call", always),
    ]:
        yield f"| {name} | {em:.3f} | {calls:.2f} |"


def levels(results):
    settings = {front["method"]: front["settings"] for front in results["fronts"]}
    known = sorted({level for run in results["runs"] for level in run["levels"]}, key=int)
    yield f"| method | {' | '.join(known)} |"
    yield "|---" * (len(known) + 1) + "|"
    controls = {str(level["level"]): level for level in results["frame"]["controls"]["levels"]}
    never = [f"{number(controls[level]['head_skill'], 2)} / 0.0" for level in known]
    always = [f"{number(controls[level]['tool_skill'], 2)} / {number(controls[level]['calls'], 1)}" for level in known]
    yield f"| never call | {' | '.join(never)} |"
    yield f"| always call | {' | '.join(always)} |"
    for method, of in settings.items():
        setting = of[len(of) // 2] if of else None
        runs = [run for run in results["runs"] if (run["method"], run.get("setting")) == (method, setting)]
        cells = []
        for level in known:
            found = [run["levels"][level] for run in runs if level in run["levels"]]
            em, calls = (mean(values) for values in zip(*found)) if found else (None, None)
            cells.append(f"{number(em, 2)} / {number(calls, 1)}")
        yield f"| {method}{f' {setting}' if setting else ''} | {' | '.join(cells)} |"


TABLES = {"fronts": fronts, "comparisons": comparisons, "controls": controls, "levels": levels}


def tables(source, name):
    """By the name of its place."""
    if source == "-":
        return {name: sys.stdin.read()}
    results = json.loads(pathlib.Path(source).read_text())
    prefix = f"{name} " if name else ""
    return {prefix + kind: "".join(row + "\n" for row in table(results)) for kind, table in TABLES.items()}


def main():
    source, readme, *name = sys.argv[1:]
    readme = pathlib.Path(readme)
    text = readme.read_text()
    wanted = tables(source, *(name or [""]))
    filled = 0
    for name, lines in wanted.items():
        if not lines.startswith("|"):
            sys.exit(f"no table came for `{name}`")
        place = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, times = place.subn(lambda found: found[1] + lines + found[2], text)
        filled += times
    if not filled:
        sys.exit(f"`{readme}` has no place for a table: `<!-- {' -->` or `<!-- '.join(wanted)} -->`")
    readme.write_text(text)


main()
