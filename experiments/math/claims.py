#!/usr/bin/env python3
"""The claims of README.md with their verdicts, from what `compare` leaves of the experiments, each file named after its own.

    claims.py results.json stages.json prices.json objectives.json preferences.json      (in any order; results.json is full.toml's)

A claim whose file is not given is not in the table.
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import displacement, objectives, verdicts
from over_seeds import against_first, mean, visible

def rows(values, others, sign):
    """As `verdicts.show` takes them, from {method: {seed: value}}; `sign` is -1 where less is what is claimed."""
    found = against_first(values)
    for other in others:
        more, p, _ = found[other]
        yield other, len(more), sign * mean(more), p, visible(more)

def volumes(results, ending, others):
    """Of the fronts of `ending` objectives; names lose their ending."""
    runs = [{**run, "method": run["method"].removesuffix(ending)} for run in results["runs"] if run["method"].endswith(ending)]
    return rows(objectives.volumes(objectives.by_method(runs)), others, +1)

GAINS = verdicts.routing_gains
CLAIMS = [
    ("(a) with reliable `N_optimal` it gains more than GDPO and HDPO", "results", lambda it: GAINS(it, ["GDPO", "HDPO"])),
    ("(a') that is not the reward alone: it gains more than GDPO with the same reward", "stages", lambda it: GAINS(it, ["GDPO, the same reward"])),
    ("(b) each stage adds: it gains more than without", "stages", lambda it: GAINS(it, ["without stage 1", "without stage 2"])),
    ("(c) a distorted price moves its place less than that of", "prices", lambda it: rows(displacement.displacements(it["runs"]), ["GDPO", "scalarized"], -1)),
    ("(d) with three objectives its front holds more than that of", "objectives", lambda it: volumes(it, ", K = 3", ["GDPO", "scalarized"])),
    ("(e) one policy that is told the preference gains more than five (GDPO, both)", "preferences", lambda it: GAINS(it, ["GDPO"])),
    ("(e') so does one that heeded preferences before (GDPO, both)", "told", lambda it: GAINS(it, ["GDPO"])),
]

def main():
    files = {pathlib.Path(path).stem: json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:]}
    verdicts.show([(claim, list(of(files[name]))) for claim, name, of in CLAIMS if name in files])

main()
