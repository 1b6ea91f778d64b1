"""What a measurement went into, phase by phase, in the form that speed.rs tells it: a list of {"phase", "seconds", "resident", "peak"}.

Memory is in MiB: what is resident behind the phase, and the most that was during it. It is None for parts of a phase of which there are many, as
`decode/model`, and where a peer cannot tell. Used by the peers to measure themselves, and by the scripts that compare them.
"""
import contextlib, statistics, time

def memory():
    """Resident MiB, and the most since the last call."""
    found = {}
    with open("/proc/self/status") as status:
        for line in status:
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                found[name] = int(value.split()[0]) / 1024
    try:
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")
    except OSError:
        pass  # then a peak is that of all phases so far
    return found.get("VmRSS", 0.0), found.get("VmHWM", 0.0)

class Phases:
    """Seconds of a phase that comes again are added up, of memory the largest holds. One may lie in another."""

    def __init__(self):
        self.found, self.open, self.most = {}, [], 0.0

    def look(self):
        resident, peak = memory()
        self.most = max(self.most, peak)
        for name in self.open:
            self.add(name, 0.0, peak=peak)
        return resident, peak

    @contextlib.contextmanager
    def phase(self, name):
        self.look()
        self.open.append(name)
        self.add(name, 0.0)
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.add(name, seconds, *self.look())
        self.open.remove(name)

    def add(self, name, seconds, resident=None, peak=None):
        row = self.found.setdefault(name, {"phase": name, "seconds": 0.0, "resident": None, "peak": None})
        row["seconds"] += seconds
        for key, value in (("resident", resident), ("peak", peak)):
            if value is not None:
                row[key] = max(value, row[key] or 0.0)

    def copy(self):
        """What was found before a step that is measured several times."""
        other = Phases()
        other.found, other.most = {name: dict(row) for name, row in self.found.items()}, self.most
        return other

    def list(self):
        return list(self.found.values())

    def peak(self):
        """The most of the process: its own peak falls whenever one is read."""
        self.look()
        return self.most

def middle(runs):
    """The medians of the phases of some runs; of files from before phases were told, nothing."""
    lists = [run["phases"] for run in runs if run.get("phases")]
    found = []
    for row in lists[0] if lists else []:
        same = [other for phases in lists for other in phases if other["phase"] == row["phase"]]
        values = {key: [other[key] for other in same if other[key] is not None] for key in ("seconds", "resident", "peak")}
        found.append({"phase": row["phase"], **{key: statistics.median(of) if of else None for key, of in values.items()}})
    return found

def table(rows):
    """Prints (row, who, phases), if there are any."""
    if not any(phases for *_, phases in rows):
        return
    print("\n| row | who | phase | seconds | MiB behind it | most MiB |\n|---|---|---|---|---|---|")
    for row, who, phases in rows:
        for phase in phases or []:
            cells = ["" if phase[key] is None else f"{phase[key]:.0f}" for key in ("resident", "peak")]
            print(f"| {row} | {who} | {phase['phase']} | {phase['seconds']:.4g} | {' | '.join(cells)} |")
            row = who = ""
