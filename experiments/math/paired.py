#!/usr/bin/env python3
"""How far methods are above the line, beside the first of them, seed by seed.

    paired.py RESULTS.json [BASE METHOD ...]     (what `compare` leaves; all methods in its order when none is named)

height = EM - (never + slope * calls), the line between never and always calling of controls.json. Intervals, the
paired test, its correction and `visible` are those of over_seeds.py.
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
from over_seeds import holm, interval, mean, sign_flips, visible

def height_above_line():
    levels = json.loads((HERE / "controls.json").read_text())["levels"]
    of = lambda key: sum(level["share"] * level[key] for level in levels)
    slope = (of("tool_skill") - of("head_skill")) / of("calls")
    return lambda run: run["em"] - of("head_skill") - slope * run["calls"]

def main():
    height = height_above_line()
    runs = json.loads(pathlib.Path(sys.argv[1]).read_text())["runs"]
    names = sys.argv[2:] or list(dict.fromkeys(run["method"] for run in runs))
    methods = {name: {run["seed"]: run for run in runs if run["method"] == name} for name in names}
    base = methods[names[0]]
    pairs = {name: sorted(set(found) & set(base)) for name, found in methods.items()}
    differences = {name: [height(methods[name][seed]) - height(base[seed]) for seed in pairs[name]] for name in names[1:]}
    differences = {name: values for name, values in differences.items() if len(values) > 1}
    p_values = {name: sign_flips(values) for name, values in differences.items()}
    corrected = dict(zip(p_values, holm(list(p_values.values()))))
    print(f"| method | seeds | EM | #Tool | above the line | above {names[0]} [95%] | p | p (Holm) | visible at 80% |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in [names[0], *differences]:
        over = lambda value: mean([value(methods[name][seed]) for seed in pairs[name]])
        row = f"| {name} | {len(pairs[name])} | {over(lambda run: run['em']):.3f} | {over(lambda run: run['calls']):.2f} | {over(height):+.3f} |"
        if name in differences:
            values = differences[name]
            low, high = interval(values)
            row += f" {mean(values):+.3f} [{low:+.3f}, {high:+.3f}] | {p_values[name]:.3f} | {corrected[name]:.3f} | {visible(values):.3f} |"
        else:
            row += " | | | |"
        print(row)

main()
