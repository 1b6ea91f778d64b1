#!/usr/bin/env python3
"""Verdicts of the grader beside those of math-verify (`pip install math-verify`) on labelled pairs.

    agreement.py PARETOPO_BINARY FILE...

A file holds JSON lines: `gold`, `pred` or `response`, `equal` or `correct` (the published label).
Prints how often both agree with the label and with each other, each disagreement with its kind, and
how many pairs a second each judges on one thread (ours with reading and writing the JSON lines).
math-verify reads LaTeX only between dollar signs, so what has none is put between them.
"""
import collections, json, logging, re, subprocess, sys, time
from math_verify import parse, verify

logging.disable(logging.CRITICAL)
KINDS = [
    ("names and letters", r"^\$?\\?(text\w*|mathrm|mathbf)?\{?[A-Za-z]\}?\$?$"),
    ("matrices", r"matrix"),
    ("relations and intervals", r"\\in|\\l?e|<|>|[(\[].*,.*[\])]"),
    ("lists", r","),
    ("functions of variables", r"[xyztn]"),
    ("numbers", r""),
]

def rows(paths):
    for path in paths:
        for line in open(path):
            row = json.loads(line)
            pred, label = row.get("pred", row.get("response")), row.get("equal", row.get("correct"))
            yield row["gold"], pred, label

def peer(gold, pred):
    marked = lambda text: text if "$" in text or "boxed" in text or "\\(" in text else f"${text}$"
    try:
        read = lambda text: parse(marked(text), parsing_timeout=None)
        return bool(verify(read(gold), read(pred), timeout_seconds=None))
    except Exception:
        return False

def main():
    binary, *paths = sys.argv[1:]
    pairs = list(rows(paths))
    lines = "".join(json.dumps({"gold": gold, "pred": pred}) + "\n" for gold, pred, _ in pairs)
    graded = subprocess.run([binary, "grade", "-"], input=lines, capture_output=True, text=True, check=True)
    ours = [json.loads(line)["equal"] for line in graded.stdout.splitlines()]
    started = time.perf_counter()
    theirs = [peer(gold, pred) for gold, pred, _ in pairs]
    their_rate = len(pairs) / (time.perf_counter() - started)
    labels = [label for _, _, label in pairs]
    agree = lambda a, b: sum(x == y for x, y in zip(a, b))
    print(f"| pairs | agree with each other | paretopo with the label | math-verify with the label |\n|---|---|---|---|")
    print(f"| {len(pairs)} | {agree(ours, theirs)} | {agree(ours, labels)} | {agree(theirs, labels)} |\n")
    kinds = collections.Counter()
    print("| kind | label | paretopo | math-verify | gold | prediction |\n|---|---|---|---|---|---|")
    word = lambda equal: "equal" if equal else "different"
    cell = lambda text: "`" + text[-60:].replace("\n", " ").replace("|", "\\|") + "`"
    for (gold, pred, label), a, b in zip(pairs, ours, theirs):
        if a != b:
            kind = next(name for name, pattern in KINDS if re.search(pattern, gold))
            kinds[kind, "paretopo" if a == label else "math-verify"] += 1
            print(f"| {kind} | {word(label)} | {word(a)} | {word(b)} | {cell(gold)} | {cell(pred)} |")
    print("\n| kind | disagreements that paretopo judges as labelled | that math-verify does |\n|---|---|---|")
    for kind in dict.fromkeys(kind for kind, _ in kinds):
        print(f"| {kind} | {kinds[kind, 'paretopo']} | {kinds[kind, 'math-verify']} |")
    rounds = 1 + 100_000 // len(pairs)
    started = time.perf_counter()
    subprocess.run([binary, "grade", "-"], input=lines * rounds, capture_output=True, text=True, check=True)
    our_rate = rounds * len(pairs) / (time.perf_counter() - started)
    print(f"\n| gradings a second | paretopo | math-verify | ratio |\n|---|---|---|---|")
    print(f"| {len(pairs)} pairs | {our_rate:,.0f} | {their_rate:,.0f} | {our_rate / their_rate:,.0f} |")

main()
