#!/usr/bin/env python3
"""Draws front.svg from results.json with the figures of today. The runs themselves are gone.

    front.py PROGRAM FOLDER      (PROGRAM is `paretopo`; FOLDER is made, and holds what is in between)

Each run's numbers are written as the evaluation of a folder of runs, which `compare --finished` reads. What a run was
trained with plays no part in the figure, so all folders have the configuration of one method.
"""
import json, pathlib, re, shutil, subprocess, sys

HERE = pathlib.Path(__file__).parent
CONFIG = HERE / "grpo.toml"
# what others are compared with is all but these; the first one leads
OWN = ("ParetoPO", "ParetoPO without stage 1", "ParetoPO without stage 2")

def evaluation(run):
    """What the figure needs of a run, and zeros for what results.json does not tell."""
    told = {key: run[key] for key in ("em", "calls", "calls_per_correct", "response_tokens")}
    lacking = dict.fromkeys(("episodes", "tasks", "em_interval", "answered", "failed_calls", "truncated", "tokens_per_second"), 0)
    return told | lacking | {"point": {}, "accuracy_efficiency": run["point"], "levels": {}, "peak_memory_mib": None}

def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    runs = json.loads((HERE / "results.json").read_text())["runs"]
    methods = list(dict.fromkeys(run["method"] for run in runs))
    for run in runs:
        name = re.sub("[^a-z0-9]", "-", run["method"].lower())
        place = folder / "runs" / f"{name}-{run['seed']}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.toml").write_text(f"seed = {run['seed']}\n{CONFIG.read_text()}")
        (place / "evaluation.json").write_text(json.dumps(evaluation(run)))
    lines = [f"seeds = {sorted({run['seed'] for run in runs})}"]
    for method in methods:
        baseline = str(method not in OWN).lower()
        lines.append(f'[[methods]]\nname = "{method}"\nconfig = "{CONFIG.name}"\nbaseline = {baseline}')
    shutil.copy(CONFIG, folder / CONFIG.name)
    experiment = folder / "experiment.toml"
    experiment.write_text("\n".join(lines) + "\n")
    subprocess.run([program, "compare", experiment, "--finished", "--out", folder], check=True, stdout=subprocess.DEVNULL)
    shutil.copy(folder / "front.svg", HERE / "front.svg")

main()
