#!/usr/bin/env python3
"""Fronts of three and four objectives, and how much ranks still order.

    objectives.py RUNS.jsonl RESULTS.json ...      (what `compare` leaves of objectives.toml and of four_objectives.toml)

A seed's front is its places at all settings of a method: (EM, 1 - #Tool / its limit, r_length), with r_format where
there are four. Its hypervolume is the volume below these places and above 0, by inclusion and exclusion:

    HV = sum over sets S of places, not empty, of (-1)^(|S| + 1) prod_k min_{i in S} x_ik

Share of rank 1: of the rollouts of a group, whom no other dominates, the mean over the run's last third. Where it is
near 1, ranks order nothing. Methods of as many objectives are compared with the first of them, seed by seed.
"""
import itertools, json, math, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
from over_seeds import against_first, better, interval, iqm, mean, visible

MIDDLE = "q 0.65"

def hypervolume(places):
    """
    >>> hypervolume([(0.5, 0.5)])
    0.25

    0.5 * 0.5 + 1 * 0.25 less the 0.5 * 0.25 that both cover:

    >>> hypervolume([(0.5, 0.5), (1.0, 0.25)])
    0.375
    """
    sets = (chosen for size in range(1, len(places) + 1) for chosen in itertools.combinations(places, size))
    return sum((-1) ** (len(chosen) + 1) * math.prod(min(axis) for axis in zip(*chosen)) for chosen in sets)

def place(run):
    point = run["point"]
    return (*run["accuracy_efficiency"], point["r_length"], *([point["r_format"]] if "r_format" in point else []))

def by_method(runs):
    """{method: {seed: its runs at all settings}}; a seed whose front lacks one is left out.

    >>> runs = [{"method": "a", "seed": seed, "setting": q} for seed, q in [(1, "x"), (1, "y"), (2, "x")]]
    >>> {method: list(seeds) for method, seeds in by_method(runs).items()}
    {'a': [1]}
    """
    methods = {}
    for run in runs:
        methods.setdefault(run["method"], {}).setdefault(run["seed"], []).append(run)
    settings = {method: max(map(len, seeds.values())) for method, seeds in methods.items()}
    return {
        method: {seed: front for seed, front in seeds.items() if len(front) == settings[method]}
        for method, seeds in methods.items()
    }

def volumes(methods):
    """{method: {seed: hypervolume of its front}}.

    >>> run = {"method": "a", "seed": 1, "accuracy_efficiency": [0.5, 0.5], "point": {"r_length": 0.5}}
    >>> volumes(by_method([run]))
    {'a': {1: 0.125}}
    """
    return {
        method: {seed: hypervolume([place(run) for run in front]) for seed, front in seeds.items()}
        for method, seeds in methods.items()
    }

def share_of_rank_1(curve):
    values = [value for value in curve["values"].get("estimator/rank_1", []) if value is not None]
    return mean(values[-(len(values) // 3):]) if len(values) > 2 else None

def shares(ledger):
    """By method, setting and seed."""
    found = {}
    for text in pathlib.Path(ledger).read_text().splitlines():
        line = json.loads(text)
        run = line["result"]
        found[run["method"], run.get("setting"), run["seed"]] = share_of_rank_1(line["curve"])
    return found

def table(runs, ranks):
    """A row for each method of these runs; hypervolumes are compared with the first's."""
    methods = by_method(runs)
    volume = volumes(methods)
    against = against_first(volume)
    first = next(iter(volume))
    for method, seeds in methods.items():
        its = [run for front in seeds.values() for run in front]
        of = lambda key: mean([run[key] for run in its])
        ordered = [ranks[method, run.get("setting"), run["seed"]] for run in its]
        ordered = "-" if None in ordered else f"{mean(ordered):.2f}"
        values = list(volume[method].values())
        low, high = interval(values, of=iqm)
        row = f"| {method} | {len(its) // len(seeds)} | {len(seeds)} | {of('em'):.3f} | {of('calls'):.2f} | {of('response_tokens'):.1f}"
        row += f" | {iqm(values):.3f} [{low:.3f}, {high:.3f}] | {ordered} |"
        if method in against:
            differences, _, corrected = against[method]
            seeds = volume[first].keys() & volume[method].keys()
            over = better([volume[method][seed] for seed in seeds], [volume[first][seed] for seed in seeds])
            row += f" {-mean(differences):+.3f} | {over:.2f} | {corrected:.3f} | {visible(differences):.3f} |"
        else:
            row += " | | | |"
        print(row)

def main():
    ranks = shares(sys.argv[1])
    runs = [run for path in sys.argv[2:] for run in json.loads(pathlib.Path(path).read_text())["runs"]]
    swept = {run["method"] for run in runs if run.get("setting")}
    print("| method | settings | seeds | EM | #Tool | tokens | hypervolume, IQM [95%] | share of rank 1 | above the first | P(better) | p (Holm) | visible at 80% |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for ending in ("K = 3", "K = 4"):
        its = [run for run in runs if run["method"].endswith(ending)]
        # one place's hypervolume is no front's: what has one setting is beside ParetoPO's middle one
        fronts = [run for run in its if run["method"] in swept]
        singles = [run for run in its if run["method"] not in swept or run["setting"] == MIDDLE]
        for part in filter(None, [fronts, singles]):
            table(part, ranks)

if __name__ == "__main__":
    main()
