#!/usr/bin/env python3
"""Runs beside real servers of trackio and MLflow, on this machine: what a run tells them is there, also
after it was killed and has gone on.

    servers_check.py PARETOPO TRACKIO_PYTHON MLFLOW_PYTHON

Each server runs in an environment of its own and keeps its data in a folder that is gone afterwards.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PARETOPO, TRACKIO, MLFLOW = (str(Path(path).absolute()) for path in sys.argv[1:4])
TOKEN = secrets.token_hex(16)
STEPS = 12


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def asked(url, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def is_up(url, seconds=90):
    for _ in range(int(seconds * 4)):
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            time.sleep(0.25)
    sys.exit(f"{url} does not come up")


def train(run, settings, killed_after=None):
    command = [PARETOPO, "train", "experiments/math/paretopo.toml", "--run", str(run)]
    usual = [
        f"train.steps={STEPS}", "train.prompts_per_step=4", "train.checkpoint_every=4", "train.validate_every=0",
        "train.save_trajectories_every=4", "evaluation.tasks=8", "evaluation.head_skill=false",
    ]
    for setting in [*usual, *settings]:
        command += ["--set", setting]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "CHECK_TOKEN": TOKEN}, stderr=said)
        metrics = run / "metrics.jsonl"
        while process.poll() is None:
            time.sleep(0.02)
            steps = metrics.read_text().count("\n") if metrics.exists() else 0
            if killed_after is not None and steps >= killed_after:
                # what is told may be on its way
                time.sleep(0.3)
                process.send_signal(signal.SIGKILL)
                process.wait()
                return
        said.seek(0)
        text = said.read()
    if process.returncode != 0 or "warning" in text:
        sys.exit(text)


def check_trackio(url, lines):
    def ask(name, **arguments):
        return asked(f"{url}/api/{name}", {"kwargs": arguments})["data"]

    runs = ask("get_runs_for_project", project="paretopo")
    assert len(runs) == 1 and runs[0]["name"] == "mine", runs
    logs = ask("get_logs", project="paretopo", run="mine")
    found = {entry["step"]: entry for entry in logs if "em" in entry}
    steps = [entry["step"] for entry in logs if "em" in entry]
    assert steps == list(range(STEPS)), f"each step once: {steps}"
    for step, line in enumerate(lines):
        assert found[step]["em"] == line["em"] and found[step]["calls"] == line["calls"], step
    assert [entry for entry in logs if "evaluation/em" in entry], "no evaluation"
    traces = ask("get_traces", project="paretopo", run="mine")
    by_step = sorted(trace["step"] for trace in traces)
    assert by_step == sorted([0, 4, 8] * 4), by_step
    roles = {message["role"] for trace in traces for message in trace["messages"]}
    assert roles == {"user", "assistant", "tool"}, roles
    assert all("r_task" in trace["metadata"]["rewards"] for trace in traces)
    config = ask("get_run_configs", project="paretopo")
    assert "train.steps" in json.dumps(config), config
    print(f"trackio: one run, {len(steps)} steps, each once, {len(traces)} traces, its settings and evaluation")


def check_mlflow(url, lines):
    api = f"{url}/api/2.0/mlflow"
    experiment = asked(f"{api}/experiments/get-by-name?experiment_name=paretopo")["experiment"]["experiment_id"]
    runs = asked(f"{api}/runs/search", {"experiment_ids": [experiment]})["runs"]
    assert len(runs) == 1, f"one run: {len(runs)}"
    info, data = runs[0]["info"], runs[0]["data"]
    assert info["status"] == "FINISHED" and info["run_name"] == "mine", info
    parameters = {one["key"]: one["value"] for one in data["params"]}
    assert parameters["train.steps"] == str(STEPS), parameters
    history = asked(f"{api}/metrics/get-history?run_id={info['run_id']}&metric_key=em")["metrics"]
    steps = sorted(int(one.get("step", 0)) for one in history)
    assert steps == list(range(STEPS)), f"each step once: {steps}"
    assert {int(one.get("step", 0)): one["value"] for one in history} == {i: line["em"] for i, line in enumerate(lines)}
    names = {one["key"] for one in data["metrics"]}
    assert "evaluation/em" in names and "estimator/groups_without_signal" in names, names
    print(f"MLflow: one run, {len(steps)} steps, each once, {len(names)} metrics, {len(parameters)} parameters, {info['status']}")


def main():
    folder = Path(tempfile.mkdtemp())
    trackio, mlflow = free_port(), free_port()
    # named before it is imported, which reads them
    environment = {**os.environ, "TRACKIO_DIR": str(folder / "trackio"), "TRACKIO_WRITE_TOKEN": TOKEN}
    start = (
        "import trackio; trackio.show(open_browser=False, block_thread=True, host='127.0.0.1', "
        f"server_port={trackio})"
    )
    with open(folder / "trackio.log", "w") as log:
        servers = [subprocess.Popen([TRACKIO, "-c", start], env=environment, stdout=log, stderr=log)]
    with open(folder / "mlflow.log", "w") as log:
        command = [
            MLFLOW, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
        ]
        servers.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
    try:
        trackio, mlflow = f"http://127.0.0.1:{trackio}", f"http://127.0.0.1:{mlflow}"
        is_up(f"{trackio}/version")
        is_up(f"{mlflow}/health")
        settings = [
            f"dashboards.trackio={{ url = '{trackio}', write_token_variable = 'CHECK_TOKEN' }}",
            f"dashboards.mlflow={{ url = '{mlflow}' }}",
            "dashboards.flush_seconds=60.0",
        ]
        run = folder / "mine"
        train(run, settings, killed_after=6)
        train(run, settings)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        check_trackio(trackio, lines)
        check_mlflow(mlflow, lines)
    finally:
        servers[0].terminate()
        os.killpg(servers[1].pid, signal.SIGTERM)
        for server in servers:
            server.wait(timeout=30)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
