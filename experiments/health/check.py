#!/usr/bin/env python3
"""Whether the rules of `doctor` find faults that were put into real runs, and nothing in healthy ones.

    check.py PARETOPO LEAKING [judged|tuned] [NAME...]

Trains short runs of the shipped math policies: each fault with three seeds, and twenty healthy runs
of configurations that differ. `judged` are the seeds that the rules are held against; their records
go to `records.jsonl`, which the tests replay, and the table to README.md. `tuned` are other seeds, on
which a rule may be mended. LEAKING is the example `leaking_tool`, a `paretopo` with one more tool.

A record holds what the rules read of a run: metrics of its steps in columns, rounded to six digits,
a few settings, which weights sampled its trajectories.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RUNS = ROOT / "runs/health"
SEEDS = {"judged": [101, 102, 103], "tuned": [1, 2, 3]}
MATH = "experiments/math/paretopo.toml"
PYTHON = "experiments/math-python/paretopo.toml"
USUAL = [
    "train.steps=40", "train.prompts_per_step=6", "train.validate_every=0", "train.checkpoint_every=1000",
    "train.save_trajectories_every=13", "evaluation.tasks=4", "evaluation.head_skill=false", "workers=1",
]
# What the rules read of a step.
METRICS = [
    "em", "calls", "failed", "truncated", "response_tokens", "entropy_estimate", "logprob_mismatch", "kl",
    "clip/low", "clip/high", "gradient_norm", "skipped_updates", "memory_mib", "tool/errors",
    "tool/timeouts", "estimator/groups_without_signal", "environment/needed_calls",
]

# Of each rule: the fault, and the settings that put it in.
FAULTS = {
    "grader_never_right": (
        "the accepted answers are words",
        ["environment.problems={ type = 'file', path = 'experiments/faults/problems.jsonl', validation = 0, test = 20 }"],
    ),
    "tool_errors": ("60% of the calls fail", ["tools=[{ type = 'calculator', failure_rate = 0.6 }]"]),
    "truncation": ("9 tokens for a response", ["rollout.max_sampled_tokens=9"]),
    "stale_weights": (
        "rollouts are four steps ahead, and the configuration does not say so",
        ["train.max_staleness=4"],
    ),
    "mismatch": (
        "the trainer drops features that the sampler has",
        ["lora={ rank = 8, dropout = 0.5 }", "train.optimizer.learning_rate=1e-3"],
    ),
    "kl_run_away": (
        "a learning rate of 3e-3, and hardly any penalty",
        ["train.kl.coefficient=0.0001", "train.optimizer.learning_rate=3e-3"],
    ),
    "calls_collapsed": (
        "few calls are worth nineteen times as much as a right answer",
        ["estimator={ type = 'scalarized', weights = [0.05, 0.95] }", "train.optimizer.learning_rate=3e-4", "train.prompts_per_step=12"],
    ),
    "entropy_collapse": (
        "entropy costs, and no call may be made",
        ["train.entropy_coefficient=-0.5", "train.optimizer.learning_rate=5e-4", "rollout.max_calls=0", "train.steps=60"],
    ),
    "silent_groups": ("temperature 0", ["rollout.sampling.temperature=0.0"]),
    "memory_growth": (
        "a tool keeps 48 KiB for each call",
        ["tools=[{ type = 'leaking', name = 'calculator', kib = 48 }]"],
    ),
}

# Twenty healthy configurations, none like another.
HEALTHY = {
    "plain": (MATH, []),
    "grpo": (MATH, ["estimator={ type = 'grpo' }"]),
    "gdpo": (MATH, ["estimator={ type = 'gdpo' }"]),
    "scalarized": (MATH, ["estimator={ type = 'scalarized', weights = [0.7, 0.3] }"]),
    "rloo": (MATH, ["estimator={ type = 'rloo' }"]),
    "dr-grpo": (MATH, ["estimator={ type = 'dr_grpo' }"]),
    "otc": (MATH, ["estimator={ type = 'otc' }"]),
    "kl": (MATH, ["train.kl.coefficient=0.01"]),
    "two-epochs": (MATH, ["train.epochs=2", "train.minibatches=2"]),
    "ahead": (MATH, ["train.max_staleness=2"]),
    "recompute": (MATH, ["train.old_logprobs='recompute'", "train.importance_cap=2.0"]),
    "bf16-rollouts": (MATH, ["rollout.precision='bf16'"]),
    "lora": (MATH, ["lora={ rank = 8 }", "train.optimizer.learning_rate=2e-4"]),
    "small-groups": (MATH, ["train.rollouts_per_prompt=4", "train.prompts_per_step=12"]),
    "large-groups": (MATH, ["train.rollouts_per_prompt=16", "train.prompts_per_step=4"]),
    "cooler": (MATH, ["rollout.sampling.temperature=0.9", "rollout.sampling.top_p=0.98"]),
    "few-failures": (MATH, ["tools=[{ type = 'calculator', failure_rate = 0.05 }]"]),
    "faster": (MATH, ["train.optimizer.learning_rate=2e-4"]),
    "python": (PYTHON, []),
    "longer": (MATH, ["train.steps=80", "train.prompts_per_step=4"]),
}


def rounded(number):
    return None if number is None else float(f"{number:.6g}")


def record_of(binary, run):
    """What `doctor --json` says of a run, with its steps in columns."""
    said = subprocess.run([binary, "doctor", "--json", run], capture_output=True, text=True, check=False)
    found = json.loads(said.stdout)
    steps = found["record"]["steps"]
    columns = {name: [rounded(step.get(name)) for step in steps] for name in METRICS}
    return {
        "settings": found["record"]["settings"],
        "seen": found["record"]["seen"],
        "steps": {name: column for name, column in columns.items() if any(v is not None for v in column)},
        "ill": [verdict["rule"] for verdict in found["verdicts"] if "ill" == verdict["condition"]["state"]],
    }


def trained(binary, name, config, settings, seed):
    run = RUNS / name
    if not (run / "evaluation.json").exists():
        command = [binary, "--quiet", "train", config, "--run", str(run)]
        for setting in [*USUAL, *settings, f"seed={seed}"]:
            command += ["--set", setting]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{name}: {done.stderr}")
    return str(run)


def main():
    binary, leaking, which, *names = [*sys.argv[1:3], *(sys.argv[3:] or ["judged"])]
    binary, leaking = str(Path(binary).resolve()), str(Path(leaking).resolve())
    jobs = []
    for rule, (_, settings) in FAULTS.items():
        program = leaking if rule == "memory_growth" else binary
        jobs += [(rule, seed, program, MATH, settings) for seed in SEEDS[which]]
    seed = SEEDS[which][0]
    jobs += [(f"healthy-{name}", seed + place, binary, config, settings) for place, (name, (config, settings)) in enumerate(HEALTHY.items())]
    jobs = [job for job in jobs if not names or job[0] in names]

    def work(job):
        name, seed, program, config, settings = job
        run = trained(program, f"{name}-{seed}", config, settings, seed)
        record = record_of(binary, run)
        if name == "stale_weights":
            # the fault is that nobody says so; the tests' replay knows what that makes of it
            record["settings"]["max_staleness"] = 0.0
            record["ill"] = replayed_staleness(run)
        print(f"{name} {seed}: {record['ill']}", flush=True)
        return {"name": name, "seed": seed, "fault": name if name in FAULTS else None, **record}

    with ThreadPoolExecutor(int(os.environ.get("JOBS", "1"))) as pool:
        records = list(pool.map(work, jobs))
    if which == "judged" and not names:
        write_table(records)
        for record in records:
            del record["ill"]
        lines = [json.dumps(record, separators=(",", ":")) for record in records]
        (HERE / "records.jsonl").write_text("\n".join(lines) + "\n")


def replayed_staleness(run):
    """The verdicts where the run's configuration says that rollouts are not ahead."""
    config = Path(run) / "config.toml"
    truth = config.read_text()
    try:
        config.write_text(truth.replace("max_staleness = 4", "max_staleness = 0"))
        said = subprocess.run([sys.argv[1], "doctor", "--json", run], capture_output=True, text=True, check=False)
    finally:
        config.write_text(truth)
    verdicts = json.loads(said.stdout)["verdicts"]
    return [verdict["rule"] for verdict in verdicts if verdict["condition"]["state"] == "ill"]


def write_table(records):
    """The table of README.md, between its marks."""
    rows = ["| fault | put in by | found in | other rules that spoke up, in so many runs |", "|---|---|---|---|"]
    for rule, (fault, settings) in FAULTS.items():
        own = [record["ill"] for record in records if record["name"] == rule]
        others = sorted({other for ill in own for other in ill if other != rule})
        also = ", ".join(f"{other.replace('_', ' ')} ({sum(other in ill for ill in own)})" for other in others) or "none"
        shown = ", ".join(f"`{setting}`" for setting in settings)
        rows.append(f"| {rule.replace('_', ' ')} | {fault}: {shown} | {sum(rule in ill for ill in own)} of {len(own)} | {also} |")
    healthy = [record for record in records if record["fault"] is None]
    loud = [record for record in healthy if record["ill"]]
    rows.append(f"| none | {len(healthy)} healthy configurations | {len(healthy) - len(loud)} of {len(healthy)} silent | "
                + (", ".join(f"{record['name']}: {' '.join(record['ill'])}" for record in loud) or "none") + " |")
    readme = HERE / "README.md"
    head, rest = readme.read_text().split("<!-- table -->\n", 1)
    _, tail = rest.split("<!-- end -->", 1)
    readme.write_text(head + "<!-- table -->\n" + "\n".join(rows) + "\n<!-- end -->" + tail)


if __name__ == "__main__":
    main()
