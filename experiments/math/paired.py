#!/usr/bin/env python3
"""How far methods are above the line, beside the first of them, seed by seed.

    paired.py RESULTS.json BASE METHOD ...      (what `compare` leaves; `just exp-math-staleness` calls it)

height = EM - (never + slope * calls), the line between never and always calling of controls.json. The interval is a 95% bootstrap over seeds, p an
exact sign-flip test of the paired differences, without correction; `visible` is 2.8 deviations / sqrt(seeds), what the test finds at 80%.
"""
import itertools, json, math, pathlib, random, sys

HERE = pathlib.Path(__file__).parent

def height_above_line():
    levels = json.loads((HERE / "controls.json").read_text())["levels"]
    mean = lambda key: sum(level["share"] * level[key] for level in levels)
    slope = (mean("tool_skill") - mean("head_skill")) / mean("calls")
    return lambda run: run["em"] - mean("head_skill") - slope * run["calls"]

def runs(path, method):
    results = json.loads(pathlib.Path(path).read_text())["runs"]
    return {one["seed"]: one for one in results if one["method"] == method}

def tested(differences):
    count = len(differences)
    mean = sum(differences) / count
    deviation = math.sqrt(sum((one - mean) ** 2 for one in differences) / (count - 1))
    flips = itertools.product([1, -1], repeat=count)
    extreme = sum(abs(sum(one * sign for one, sign in zip(differences, signs))) >= abs(sum(differences)) - 1e-12 for signs in flips)
    draw = random.Random(1)
    means = sorted(sum(draw.choices(differences, k=count)) / count for _ in range(10_000))
    return mean, means[250], means[-251], extreme / 2**count, 2.8 * deviation / math.sqrt(count)

def main():
    height = height_above_line()
    methods = {name: runs(sys.argv[1], name) for name in sys.argv[2:]}
    base = next(iter(methods.values()))
    print("| method | seeds | EM | #Tool | above the line | difference [95%] | p | visible at 80% |\n|---|---|---|---|---|---|---|---|")
    for name, found in methods.items():
        seeds = sorted(set(found) & set(base))
        mean = lambda value: sum(value(found[seed]) for seed in seeds) / len(seeds)
        row = [name, len(seeds), f"{mean(lambda run: run['em']):.3f}", f"{mean(lambda run: run['calls']):.2f}", f"{mean(height):.3f}"]
        if found is not base:
            difference, low, high, p, visible = tested([height(found[seed]) - height(base[seed]) for seed in seeds])
            row += [f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]", f"{p:.3f}", f"{visible:.3f}"]
        else:
            row += ["", "", ""]
        print("| " + " | ".join(map(str, row)) + " |")

main()
