#!/usr/bin/env python3
"""A whole GRPO step (rollouts with tool calls, grading, advantages, update) beside TRL's GRPOTrainer: the shipped policy, 12 prompts x 8 rollouts.

    step.py PARETOPO_BINARY PEER_PYTHON MODEL OUT.json

TRL trains on every sequence. paretopo leaves out those whose advantage is zero (groups without signal); a second row makes it train on all. Phases are of
the middle step; the parts of `rollout` and `update` are means over the workers, so that they need not add up to it.
"""
import json, os, pathlib, shutil, statistics, subprocess, sys, tempfile
import phases, tables

HERE = pathlib.Path(__file__).parent
ROUNDS, STEPS = int(os.environ.get("ROUNDS", "3")), 8
THREADS = os.environ.get("THREADS", "1")
ENVIRONMENT = dict(os.environ, RAYON_NUM_THREADS=THREADS, OMP_NUM_THREADS=THREADS, THREADS=THREADS)

def phases_of(step):
    """From the metrics of a step. Memory is told behind the rollouts and behind the step, the most is that of the run so far."""
    row = lambda name, seconds, resident=None, peak=None: {"phase": name, "seconds": seconds, "resident": resident, "peak": peak}
    part = lambda of, name: row(f"{of}/{name}" if of else name, step[f"phase/{name}_seconds"])
    return [row("rollout", step["rollout/seconds"], step.get("rollout/memory_mib")), *(part("rollout", name) for name in ("prefill", "decode", "sampling", "tools")),
            part("", "grading"), row("update", step["update/seconds"], step["memory_mib"], step["peak_memory_mib"]),
            *(part("update", name) for name in ("forward", "backward", "optimizer"))]

def ours(binary, *settings):
    """Seconds of the middle step, its phases, tokens and calls of an episode, memory, and the prompts."""
    run = pathlib.Path(tempfile.mkdtemp()) / "run"
    fixed = [f"train.steps={STEPS}", "train.validate_every=0", "evaluation.tasks=1", "train.save_trajectories_every=1", *settings]
    command = [binary, "--quiet", "train", str(HERE.parent / "math-python/grpo.toml"), "--run", str(run)]
    subprocess.run(command + [part for setting in fixed for part in ("--set", setting)], check=True, capture_output=True, env=ENVIRONMENT)
    steps = [json.loads(line) for line in open(run / "metrics.jsonl")]
    seconds = lambda step: step["rollout/seconds"] + step["phase/grading_seconds"] + step["update/seconds"]
    measured = sorted(steps[2:], key=seconds)
    middle = measured[len(measured) // 2]
    prompts = {}
    for path in sorted((run / "trajectories").glob("step-*.jsonl")):
        for line in open(path):
            trajectory = json.loads(line)
            prompts[trajectory["task_id"]] = trajectory["segments"][0]["ids"]
    shutil.rmtree(run.parent)
    mean = lambda key: statistics.mean(step[key] for step in steps)
    result = {"seconds": seconds(middle), "tokens": mean("response_tokens"), "calls": mean("calls"), "memory": steps[-1]["peak_memory_mib"], "phases": phases_of(middle)}
    return result, list(prompts.values())

def main():
    binary, python, model, out = sys.argv[1:]
    found = {"paretopo": [], "paretopo, every sequence": [], "TRL": []}
    prompts = pathlib.Path(tempfile.mkdtemp()) / "prompts.json"
    for _ in range(ROUNDS):
        own, ids = ours(binary)
        prompts.write_text(json.dumps(ids))
        found["paretopo"].append(own)
        found["paretopo, every sequence"].append(ours(binary, "train.entropy_coefficient=1e-9")[0])
        done = subprocess.run([python, str(HERE / "peer_trl.py"), model, str(prompts), str(STEPS), "16"], capture_output=True, text=True, env=ENVIRONMENT)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        found["TRL"].append(json.loads(done.stdout.strip().splitlines()[-1]))
    result = {"threads": int(THREADS), "runs": found}
    tables.step(result)
    pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")

if __name__ == "__main__":
    main()
