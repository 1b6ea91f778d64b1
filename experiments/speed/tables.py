#!/usr/bin/env python3
"""The Markdown tables of BENCHMARKS.md from results.json, step.json and scaling.json, as `just bench` leaves them, and the phases of their rows."""
import json, pathlib, statistics
import phases

HERE = pathlib.Path(__file__).parent

def results(data):
    print(f"{data['processor']}, {data['threads']} threads; memory {data['limits']['bytes'] / 2**30:.1f} GiB/s, f32 product {data['limits']['flops'] / 1e9:.0f} GFLOP/s\n")
    print("| model | work | paretopo, tokens/s | of the limit | transformers / eager | ratio | vLLM / compiled | ratio | memory MiB | theirs |\n|---|---|---|---|---|---|---|---|---|---|")
    rows = {}
    for row in data["rows"]:
        rows.setdefault((row["model"], row["work"], row["figure"]), []).append(row)
    for (model, work, figure), peers in rows.items():
        task, first, second, _, *number = work.split()
        name = {"prefill": "reading, batch " + first, "decode": "decoding, batch " + first, "train": f"training, {first} x {second}"}[figure]
        name = " in ".join([name, *number])
        # who stands in which column; one may be missing
        columns = [next((peer for peer in peers if peer["peer"] in names), None) for names in (("transformers", "PyTorch eager"), ("vLLM", "torch.compile"))]
        cells = [f"{peer['peers_figure']:.0f} | {peer['paretopo'] / peer['peers_figure']:.2f}" if peer else " | " for peer in columns]
        memory = " / ".join(f"{peer['memory'][1]:.0f}" if peer else "" for peer in columns)
        print(f"| {model} | {name} | {peers[0]['paretopo']:.0f} | {peers[0]['share_of_limit']:.0%} | {' | '.join(cells)} | {peers[0]['memory'][0]:.0f} | {memory} |")
    runs = {}
    # all figures of a run have the same phases
    for row in data["rows"]:
        own, other = row.get("phases", [None, None])
        runs.setdefault((row["model"], row["work"]), {"paretopo": own})[row["peer"]] = other
    phases.table([(f"{model}, {work}", who, found) for (model, work), both in runs.items() for who, found in both.items()])

def step(data):
    peer = statistics.median(run["seconds"] for run in data["runs"]["TRL"])
    print("| | seconds a step | TRL's / its | sampled tokens an episode | calls an episode | memory MiB |\n|---|---|---|---|---|---|")
    for name, runs in data["runs"].items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "phases"}
        print(f"| {name} | {middle['seconds']:.3f} | {peer / middle['seconds']:.2f} | {middle['tokens']:.1f} | {middle['calls']:.2f} | {middle['memory']:.0f} |")
    phases.table([("a step", name, phases.middle(runs)) for name, runs in data["runs"].items()])

def scaling(data):
    phases.table([(work, "paretopo", found) for work, found in data.get("phases", {}).items()])

if __name__ == "__main__":
    results(json.loads((HERE / "results.json").read_text()))
    print()
    step(json.loads((HERE / "step.json").read_text()))
    scaling(json.loads((HERE / "scaling.json").read_text()))
