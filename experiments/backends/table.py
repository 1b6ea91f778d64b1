#!/usr/bin/env python3
"""The table of a run of `run.sh`, from its JSON lines: `table.py BACKEND.jsonl`. Standard library alone.

A row is what was last said of it. Shares are of what PyTorch reaches on the same device, or else of what our own
backend reaches: a copy for decoding, a product of matrices for training.
"""
import json
import sys

GIBIBYTE = 1 << 30
NOT_RUN = "not run"


class Run:
    def __init__(self, lines):
        self.machines = [line for line in lines if line.get("kind") == "machine"]
        self.checks = {line["case"]: line for line in lines if line.get("kind") == "check"}
        # a second call goes on where the first was cut
        self.end = next((line for line in reversed(lines) if line.get("kind") == "end"), None)
        self.ended = {}
        for line in lines:
            if "ended" in line:
                self.ended[line["who"], line["shape"]] = line["ended"]
            elif "task" in line and "state" not in line:
                self.ended.pop((line["who"], line["shape"]), None)
        self.rows = {(line["shape"], line["task"], line["who"]): line for line in lines if "task" in line}

    def tasks(self, kind):
        """Shapes and tasks of a kind, each once, in their order."""
        found = dict.fromkeys((shape, task) for shape, task, _ in self.rows if task.split(":")[0] == kind)
        return list(found)

    def row(self, shape, task, who):
        row = self.rows.get((shape, task, who), {})
        return row if row and "state" not in row else None

    def peaks(self):
        """What the device reaches, and who found it."""
        for who in ("pytorch", "paretopo"):
            for shape, task in self.tasks("device"):
                row = self.row(shape, task, who)
                if row:
                    return row, who
        return None, None


def gibibytes(count):
    return "" if count is None else f"{count / GIBIBYTE:.3g}"


def share(row, peaks, what):
    return f"{100 * row[what] / peaks[what]:.1f}%" if peaks else ""


def line(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(titles):
    return [line(titles), "|" + "---|" * len(titles)]


def speed_cells(run, shape, task, who, what):
    """Tokens a second, the share of the peak, GiB in use and reserved."""
    row = run.row(shape, task, who)
    if not row:
        return [NOT_RUN, "", "", ""]
    peaks, _ = run.peaks()
    return [f"{row['tokens_per_second']:.0f}", share(row, peaks, what), gibibytes(row["in_use"]),
            gibibytes(row["reserved"])]


def decoding(run):
    titles = ["shape", "rows", "tokens/s", "bandwidth", "GiB in use", "reserved", "bytes to the host a token",
              "PyTorch tokens/s", "bandwidth", "GiB in use", "reserved"]
    yield from head(titles)
    for shape, task in run.tasks("decode"):
        own = run.row(shape, task, "paretopo")
        to_host = f"{own['to_host']:.0f}" if own else ""
        cells = [speed_cells(run, shape, task, who, "bytes_per_second") for who in ("paretopo", "pytorch")]
        yield line([shape, task.split(":")[1], *cells[0], to_host, *cells[1]])


def training(run):
    titles = ["shape", "trained", "sequences", "memory", "tokens/s", "products", "GiB in use", "reserved",
              "PyTorch tokens/s", "products", "GiB in use", "reserved"]
    yield from head(titles)
    for shape, task in run.tasks("train"):
        _, trained, sequences, length, memory = task.split(":")
        cells = [speed_cells(run, shape, task, who, "operations_per_second") for who in ("paretopo", "pytorch")]
        yield line([shape, trained, f"{sequences} of {length}", memory, *cells[0], *cells[1]])


def steps(run):
    titles = ["shape", "trained", "step", "GiB planned", "GiB on the card", "GiB of the process", "rollout s",
              "update s", "tokens a response", "all s"]
    yield from head(titles)
    for shape, task in run.tasks("step"):
        row = run.row(shape, task, "paretopo")
        trained = task.split(":")[1]
        if not row:
            yield line([shape, trained, NOT_RUN, *[""] * 7])
            continue
        metrics = row["metrics"]
        card = f"{row['card_mib'] / 1024:.2f}" if row["card_mib"] > 0 else "not seen"
        process = f"{metrics['peak_memory_mib'] / 1024:.2f}" if "peak_memory_mib" in metrics else ""
        yield line([shape, trained, metrics["step"] + 1, f"{row['planned_gib']:.3g}", card, process,
                    f"{metrics['rollout/seconds']:.1f}", f"{metrics['update/seconds']:.1f}",
                    f"{metrics['response_tokens']:.0f}", row["seconds"]])


def opening(run):
    for machine in run.machines:
        yield (f"{machine['backend']}, {machine['date']}, commit {machine['commit']}; card: {machine['card']}; "
               f"{machine['cores']} cores of {machine['processor']}; devices: {machine['device'].strip()}")
        yield ""
    if not run.checks:
        yield f"Comparisons with PyTorch's numbers: {NOT_RUN}."
    for case, check in run.checks.items():
        verdict = "all that there are" if check["code"] == 0 else f"ended with code {check['code']}"
        if check["code"] in (124, 137):
            verdict = f"not at an end after {check['limit']} s"
        yield f"- {case}: {check['passed']} comparisons right, {check['failed']} wrong ({verdict})"
    yield ""
    peaks, who = run.peaks()
    if peaks:
        yield (f"The device's peaks, measured by {who}: {peaks['bytes_per_second'] / 1e9:.1f} GB/s, "
               f"{peaks['operations_per_second'] / 1e12:.2f} Tflop/s.")
    else:
        yield f"The device's peaks: {NOT_RUN}."
    for (who, shape), reason in run.ended.items():
        yield f"- {who}, {shape}: {reason}"
    yield ""


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        run = Run([json.loads(text) for text in file if text.strip()])
    parts = [("Decoding", decoding), ("Training", training), ("A ParetoPO step", steps)]
    print("\n".join(opening(run)))
    for title, part in parts:
        print(f"## {title}\n")
        print("\n".join(part(run)) + "\n")
    print(f"All of it: {run.end['seconds']} s." if run.end else "The run did not come to its end.")


if __name__ == "__main__":
    main()
