#!/usr/bin/env python3
"""Divides the word problems of data.py, so that nothing is trained on what it is tested with.

    split.py DATA OUT

| file in OUT | rows | for |
|---|---|---|
| shown.jsonl | the others of train.jsonl | demonstrations of the warm start |
| kept.jsonl | 200 of train.jsonl | validation |
| drawn.jsonl | 160 of train.jsonl | reinforcement learning; 60 steps of 8 prompts meet each three times |
| svamp.jsonl | all | test |
| gsm8k.jsonl | 300 | transfer |
| problems.jsonl | svamp, kept and drawn, in this order | `test = 500, validation = 200` |

Problems that differ in their numbers alone are in the same part. Which part is theirs is drawn by the SHA-256 of their
text without numbers: the files are sorted by what they were collected from. Each row gets a `level`: ten for each step,
four at most, and one more if an operation is beyond what `conversations.py --practice` shows.
"""
import ast, collections, hashlib, json, pathlib, re, sys

from data import value
from report import rows

KEPT, DRAWN, TRANSFER = 200, 160, 300

def masked(question):
    """
    >>> masked("Tom has  3.5 dollars, Ann 1,200.")
    'tom has # dollars, ann #.'
    """
    return " ".join(re.sub(r"\d[\d,]*(\.\d+)?", "#", question.lower()).split())

def operations(program):
    """Of each operation what stands left, its class and what stands right.

    >>> [(left, op.__name__, right) for left, op, right in operations("x1 = 48 / 2\\nprint(48 + 24)")]
    [(48, 'Div', 2), (48, 'Add', 24)]
    """
    nodes = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.BinOp)]
    worth = lambda node: value(ast.unparse(node))
    return [(worth(node.left), type(node.op), worth(node.right)) for node in nodes]

def is_practised(left, op, right):
    """Up to 99 + 99, 99 - 99, 12 * 12, 144 / 12, in whole numbers.

    >>> is_practised(99, ast.Add, 1), is_practised(100, ast.Sub, 1), is_practised(12, ast.Mult, 13), is_practised(144, ast.Div, 12)
    (True, False, False, True)
    """
    if left != int(left) or right != int(right):
        return False
    if op in (ast.Add, ast.Sub):
        return max(left, right) <= 99
    if op is ast.Mult:
        return max(left, right) <= 12
    return 0 < right <= 12 and left / right in range(13)

def level(program):
    """
    >>> level("print(56 * 9)"), level("print((4 * 7) + 2)")
    (11, 20)
    """
    found = operations(program)
    return 10 * min(len(found), 4) + (not all(is_practised(*one) for one in found))

def groups(rows):
    """Rows that differ in their numbers alone, in the order of a hash."""
    found = collections.defaultdict(list)
    for row in rows:
        found[hashlib.sha256(masked(row["question"]).encode()).hexdigest()].append(row)
    return [found[key] for key in sorted(found)]

def take(groups, count):
    """The first groups that together have so many rows; one that is too large for what is left stays.

    >>> rest = [[1, 2], [3, 4], [5]]
    >>> take(rest, 3), rest
    ([1, 2, 5], [[3, 4]])
    """
    taken = []
    for group in list(groups):
        if len(taken) + len(group) <= count:
            taken += group
            groups.remove(group)
    return taken

def read(path):
    return [{**row, "level": level(row["program"])} for row in rows(path)]

def main():
    data, out = map(pathlib.Path, sys.argv[1:])
    tests = read(data / "svamp.jsonl")
    tested = {masked(row["question"]) for row in tests}
    rest = groups(row for row in read(data / "train.jsonl") if masked(row["question"]) not in tested)
    kept, drawn = take(rest, KEPT), take(rest, DRAWN)
    transfer = take(groups(read(data / "gsm8k.jsonl")), TRANSFER)
    out.mkdir(parents=True, exist_ok=True)
    parts = {"shown": [row for group in rest for row in group], "kept": kept, "drawn": drawn, "svamp": tests, "gsm8k": transfer}
    for name, part in {**parts, "problems": tests + kept + drawn}.items():
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    for name, part in parts.items():
        levels = sorted(collections.Counter(row["level"] for row in part).items())
        print(f"{name}: {len(part)} problems, by level {', '.join(f'{level}: {count}' for level, count in levels)}")

if __name__ == "__main__":
    main()
