#!/usr/bin/env python3
"""EM, calls and tokens by source and number of steps; and episodes as text.

    report.py table PROBLEMS.jsonl,... NAME=TRAJECTORIES.jsonl[,...] ...
    report.py episodes PROBLEMS.jsonl,... NAME=TRAJECTORIES.jsonl ...
    report.py controls PROBLEMS.jsonl head=TRAJECTORIES.jsonl tool=TRAJECTORIES.jsonl[,...]
    report.py cost NAME=RUN[,...] ...

A problem's source is the name of its file, its steps are the operations `+ - * / //` of its `program`. Several files of one name are its seeds; a cell is
their mean, with a 95% percentile bootstrap interval over problems of what they are right in. Episodes are those of the
problems at the places 0, 100, 200, ... of all that were played, in the order of PROBLEMS: for each name the same ones.

`controls` writes what `controls = "controls.json"` reads (docs/results.md): by level what the starting policy is right in
without a call, and what a policy that pays for none is right in with one or more. `cost` sums the seconds of a run's steps, also
of those before an interruption.
"""
import ast, json, pathlib, sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from over_seeds import interval, mean

EVERY = 100

def rows(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().split("\n") if line]

def steps(program):
    """
    >>> steps("x1 = 48 / 2\\nprint(48 + x1)")
    2
    """
    return sum(isinstance(node, ast.BinOp) for node in ast.walk(ast.parse(program)))

def read_problems(paths):
    """By id, in the order of the files, whose names are the sources: data.py writes none into its rows."""
    return {row["id"]: {**row, "source": pathlib.Path(path).stem} for path in paths.split(",") for row in rows(path)}

def measured(episode):
    tokens = sum(len(segment["ids"]) for segment in episode["segments"] if segment["author"] == "model")
    return {"em": float(episode["success"]), "calls": len(episode["calls"]), "tokens": tokens}

def by_kind(problems, paths):
    """{(source, steps): {id: [what was measured, by seed]}}; steps of `all` hold a source whole."""
    found = {}
    for path in paths.split(","):
        for episode in rows(path):
            problem, seen = problems[episode["task_id"]], measured(episode)
            for count in (min(steps(problem["program"]), 4), "all"):
                found.setdefault((problem["source"], count), {}).setdefault(problem["id"], []).append(seen)
    return found

def table(problems, named):
    kinds = {name: by_kind(problems, paths) for name, paths in named.items()}
    print("| source | steps | problems | " + " | ".join(f"{name}: EM [95%] / calls / tokens" for name in named) + " |")
    print("|---" * (3 + len(named)) + "|")
    for source, count in sorted({kind for found in kinds.values() for kind in found}, key=str):
        cells = []
        for found in kinds.values():
            of = found.get((source, count))
            if not of:
                cells.append("-")
                continue
            over = lambda key: [mean([one[key] for one in seeds]) for seeds in of.values()]
            low, high = interval(over("em"), 2_000)
            cells.append(f"{mean(over('em')):.3f} [{low:.3f}, {high:.3f}] / {mean(over('calls')):.2f} / {mean(over('tokens')):.1f}")
        size = max(len(found.get((source, count), {})) for found in kinds.values())
        print(f"| {source} | {'4 and more' if count == 4 else count} | {size} | " + " | ".join(cells) + " |")

def episodes(problems, named):
    for name, path in named.items():
        played = {}
        for episode in rows(path):
            played.setdefault(episode["task_id"], episode)
        places = [task for task in problems if task in played][::EVERY]
        print(f"## {name}\n")
        for task in places:
            problem, episode = problems[task], played[task]
            said = "right" if episode["success"] else f"wrong, it is {problem['answer']}"
            print(f"**{task}** ({said}): {problem['question']}\n\n```text\n{episode['response'].strip()}\n```\n")

def levels(problems, head, tool):
    """
    >>> problems = {"a": {"level": 10}, "b": {"level": 10}, "c": {"level": 20}, "d": {"level": 20}}
    >>> played = lambda task, success, calls: {"task_id": task, "success": success, "calls": [{}] * calls, "segments": []}
    >>> head = [played(task, task == "a", 0) for task in "abcd"]
    >>> tool = [played("a", True, 1), played("b", True, 2), played("c", False, 1), played("d", True, 0)]
    >>> for level in levels(problems, head, tool): print(level)
    {'level': 10, 'share': 0.5, 'head_skill': 0.5, 'tool_skill': 1.0, 'calls': 1.5}
    {'level': 20, 'share': 0.5, 'head_skill': 0.0, 'tool_skill': 0.0, 'calls': 1.0}
    """
    of = lambda played: [(problems[one["task_id"]]["level"], measured(one)) for one in played]
    head, tool = of(head), [(level, one) for level, one in of(tool) if one["calls"]]
    for level in sorted({level for level, _ in head}):
        own = [one for at, one in head if at == level]
        called = [one for at, one in tool if at == level]
        if not called:
            sys.exit(f"no episode of level {level} calls: `tool` must be a policy that does")
        skill = lambda episodes: mean([one["em"] for one in episodes])
        calls = mean([one["calls"] for one in called])
        yield {"level": level, "share": len(own) / len(head), "head_skill": skill(own), "tool_skill": skill(called), "calls": calls}

def controls(problems, named):
    played = {name: [one for path in paths.split(",") for one in rows(path)] for name, paths in named.items()}
    source = f"head: {named['head']}, calls forbidden; tool: the episodes of {named['tool']} that call"
    print(json.dumps({"source": source, "levels": list(levels(problems, played["head"], played["tool"]))}, indent=1))

def cost(named):
    print("| method | runs | steps | hours a run | seconds a step | of these rollouts | tokens/s sampled | tokens/s trained | MiB at most |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, paths in named.items():
        runs = [rows(pathlib.Path(path) / "metrics.jsonl") for path in paths.split(",")]
        steps = [step for run in runs for step in run]
        over = lambda key: mean([step[key] for step in steps])
        seconds = over("rollout/seconds") + over("update/seconds")
        most = max(step["peak_memory_mib"] for step in steps)
        print(
            f"| {name} | {len(runs)} | {len(steps)} | {seconds * len(steps) / len(runs) / 3600:.2f} | {seconds:.1f} | {over('rollout/seconds'):.1f}"
            f" | {over('rollout/tokens_per_second'):.0f} | {over('update/tokens_per_second'):.0f} | {most:.0f} |"
        )

def main():
    what, *words = sys.argv[1:]
    if what == "cost":
        return cost(dict(name.split("=", 1) for name in words))
    paths, *named = words
    told = {"table": table, "episodes": episodes, "controls": controls}[what]
    told(read_problems(paths), dict(name.split("=", 1) for name in named))

if __name__ == "__main__":
    main()
