#!/usr/bin/env python3
"""EM, calls and tokens by source and number of steps; and episodes as text.

    report.py table PROBLEMS.jsonl,... NAME=TRAJECTORIES.jsonl[,...] ...
    report.py episodes PROBLEMS.jsonl,... NAME=TRAJECTORIES.jsonl ...

A problem's source is the name of its file, its steps are the operations `+ - * / //` of its `program`. Several files of one name are its seeds; a cell is
their mean, with a 95% percentile bootstrap interval over problems of what they are right in. Episodes are those of the
problems at the places 0, 100, 200, ... of all that were played, in the order of PROBLEMS: for each name the same ones.
"""
import ast, json, pathlib, sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from over_seeds import interval, mean

EVERY = 100

def rows(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line]

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

def main():
    what, paths, *named = sys.argv[1:]
    {"table": table, "episodes": episodes}[what](read_problems(paths), dict(name.split("=", 1) for name in named))

if __name__ == "__main__":
    main()
