#!/usr/bin/env python3
"""How far methods are above the line, beside the first of them, seed by seed.

    paired.py RESULTS.json [BASE METHOD ...]     (what `compare` leaves; all methods in its order when none is named)

height = EM - (never + slope * calls), the line between never and always calling of controls.json. Intervals, the
paired test, its correction and `visible` are those of over_seeds.py.
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
import line
from over_seeds import against_first, interval, mean, visible

def main():
    levels = json.loads((HERE / "controls.json").read_text())["levels"]
    height = line.height(levels)
    runs = json.loads(pathlib.Path(sys.argv[1]).read_text())["runs"]
    names = sys.argv[2:] or list(dict.fromkeys(run["method"] for run in runs))
    methods = {name: {run["seed"]: run for run in runs if run["method"] == name} for name in names}
    lead = names[0]
    heights = {name: {seed: height(run) for seed, run in found.items()} for name, found in methods.items()}
    against = against_first(heights)
    print(f"| method | seeds | EM | #Tool | above the line | above {lead} [95%] | p | p (Holm) | visible at 80% |")
    print("|---|---|---|---|---|---|---|---|---|")
    never, always = line.ends(levels)
    calls = mean([run["calls"] for run in methods[lead].values()])
    router = calls, line.em_at(line.oracle(levels), calls)
    for name, (calls, em) in [("never call", never), ("always call", always), (f"oracle router, {lead}'s calls", router)]:
        print(f"| {name} | | {em:.3f} | {calls:.2f} | {abs(height({'em': em, 'calls': calls})):+.3f} | | | | |")
    for name in [lead, *against]:
        seeds = methods[name].keys() & methods[lead].keys()
        over = lambda value: mean([value(methods[name][seed]) for seed in sorted(seeds)])
        row = f"| {name} | {len(seeds)} | {over(lambda run: run['em']):.3f} | {over(lambda run: run['calls']):.2f} | {over(height):+.3f} |"
        if name in against:
            differences, p, corrected = against[name]
            above = [-difference for difference in differences]
            low, high = interval(above)
            row += f" {mean(above):+.3f} [{low:+.3f}, {high:+.3f}] | {p:.3f} | {corrected:.3f} | {visible(above):.3f} |"
        else:
            row += " | | | |"
        print(row)

main()
