#!/usr/bin/env python3
"""Gradings a second of the grader and of math-verify (`pip install math-verify`), round by round.

    speed.py GRADING_SPEED_BINARY ROUNDS FILE...

A file holds JSON lines of `gold` and `pred` or `response`. Both judge the same pairs on one thread
of the same core, turn and turn about, in a process of its own for each round. A figure is that of
the median pass over all pairs, of at least three passes and `SECONDS` seconds. Passes before that
are not timed: math-verify fills the tables of its parser (ANTLR) and the caches of sympy, and its
first pass takes twice the time of its third. It has no time limits here, which would cost signals.
"""
import json, logging, os, statistics, subprocess, sys, time

SECONDS = 8
WARM_UP = 2
FEWEST_PASSES = 3

def pairs(path):
    rows = [json.loads(line) for line in open(path)]
    return [(row["gold"], row.get("pred", row.get("response"))) for row in rows]

def peer(path):
    """math-verify's rate, printed."""
    from math_verify import parse, verify
    logging.disable(logging.CRITICAL)
    rows = pairs(path)
    passes, started = [], None
    for number in range(1_000_000):
        begun = time.perf_counter()
        started = begun if number == WARM_UP else started
        for gold, answer in rows:
            verify(parse(gold, parsing_timeout=None), parse(answer, parsing_timeout=None), timeout_seconds=None)
        now = time.perf_counter()
        if number >= WARM_UP:
            passes.append(now - begun)
            if len(passes) >= FEWEST_PASSES and now - started >= SECONDS:
                break
    print(len(rows) / statistics.median(passes))

def main():
    binary, rounds, *files = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for path in files:
        one_line = lambda text: text.replace("\n", "\x02").replace("\t", " ").replace("\r", " ")
        rows = pairs(path)
        lines = "".join(f"{one_line(gold)}\t{one_line(answer)}\n" for gold, answer in rows)
        run = lambda command, text: subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
        ours = lambda: float(run([binary, str(SECONDS)], lines).splitlines()[0])
        theirs = lambda: float(run([sys.executable, __file__, "--peer", path], ""))
        print(f"{len(rows)} pairs of {path}\n\n| round | paretopo, gradings a second | math-verify | ratio |\n|---|---|---|---|", flush=True)
        figures = []
        for number in range(int(rounds)):
            # who comes first takes turns, too
            if number % 2 == 0:
                a, b = ours(), theirs()
            else:
                b, a = theirs(), ours()
            figures.append((a, b, a / b))
            print(f"| {number + 1} | {a:,.0f} | {b:,.1f} | {a / b:,.0f} |", flush=True)
        a, b, ratio = (statistics.median(column) for column in zip(*figures))
        print(f"| median | {a:,.0f} | {b:,.1f} | {ratio:,.0f} |")
        print(f"| lowest ratio | | | {min(figure[2] for figure in figures):,.0f} |\n", flush=True)

if __name__ == "__main__":
    peer(sys.argv[2]) if sys.argv[1] == "--peer" else main()
