#!/usr/bin/env python3
"""Word problems with programs, made from their public sources.

    data.py OUT [--from FOLDER]

| file in OUT | rows | from | licence |
|---|---|---|---|
| train.jsonl | 3,120 | MAWPS and ASDiv-A, as arkilpatel/SVAMP has them | MIT; ASDiv CC BY-NC 4.0 |
| svamp.jsonl | 500 | every other row of arkilpatel/SVAMP | MIT |
| gsm8k.jsonl | 7,001 | openai/grade-school-math, training part | MIT |

A row has `id`, `question`, `answer` and `program`, a Python program that prints the answer; rows
whose program does not are left out and counted. Without `--from` the three files are downloaded at
the commits below; with it they are read from FOLDER under their own names.
"""

import argparse
import ast
import csv
import io
import json
import operator
import pathlib
import re
import sys
import urllib.request

RAW = "https://raw.githubusercontent.com/"
SOURCES = {
    "train.csv": RAW + "arkilpatel/SVAMP/689d7ccac74b9983a2ac7cc3b264f441b99e7c53/data/mawps-asdiv-a_svamp/train.csv",
    "SVAMP.json": RAW + "arkilpatel/SVAMP/689d7ccac74b9983a2ac7cc3b264f441b99e7c53/SVAMP.json",
    "train.jsonl": RAW + "openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data/train.jsonl",
}
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def value(expression):
    """What an expression of numbers and the operations `+ - * / //` is worth; it runs nothing."""

    def of(node):
        match node:
            case ast.Expression(body=body):
                return of(body)
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(left), of(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(operand))
        raise ValueError(f"`{expression}` is not arithmetic")

    return of(ast.parse(expression, mode="eval"))


def written(number):
    """56.0 as 56, 0.5 as 0.5."""
    number = float(number)
    return str(int(number)) if number.is_integer() else repr(number)


def infix(prefix, numbers):
    """`- number0 * number1 number2` as `25000 - (1500 * 8)`."""
    words = iter(prefix.split())

    def part(is_inside):
        word = next(words)
        if word in "+-*/":
            text = f"{part(True)} {word} {part(True)}"
            return f"({text})" if is_inside else text
        found = re.fullmatch(r"number(\d+)", word)
        return numbers[int(found[1])] if found else written(word)

    return part(False)


def detokenised(text):
    """`well . If` as `well. If`, `Tom 's $ 3` as `Tom's $3`."""
    text = re.sub(r"\s+('s\b|[.,?!;:%)])", r"\1", " ".join(text.split()))
    return re.sub(r"([$(])\s+", r"\1", text)


def mawps(text):
    for index, row in enumerate(csv.DictReader(io.StringIO(text))):
        numbers = [written(number) for number in row["Numbers"].split()]
        question = re.sub(r"number(\d+)", lambda found: numbers[int(found[1])], row["Question"])
        yield f"wp-{index}", detokenised(question), row["Answer"], [infix(row["Equation"], numbers)]


def svamp(text):
    # the other half is left for a last test of one's own
    for row in json.loads(text)[::2]:
        question = row["Body"].rstrip(". ") + ". " + row["Question"]
        expression = re.sub(r"\d+\.\d+|\d+", lambda found: written(found[0]), row["Equation"])
        expression = expression.strip().removeprefix("(").removesuffix(")").strip()
        yield f"svamp-{row['ID']}", detokenised(question), row["Answer"], [detokenised(expression)]


def gsm8k(text):
    for index, line in enumerate(text.splitlines()):
        row = json.loads(line)
        answer = row["answer"].rsplit("####", 1)[1].strip().replace(",", "")
        steps = re.findall(r"<<([^=<>]*)=[^<>]*>>", row["answer"])
        yield f"gsm8k-{index}", row["question"], answer, steps


def program(steps):
    if len(steps) == 1:
        return f"print({steps[0]})"
    lines = [f"x{place} = {step}" for place, step in enumerate(steps, 1)]
    return "\n".join([*lines, f"print(x{len(steps)})"])


def rows(problems):
    """The rows of problems whose last step gives the answer; and how many there were."""
    kept, count = [], 0
    for name, question, answer, steps in problems:
        count += 1
        try:
            is_right = steps and abs(value(steps[-1].strip()) - float(answer)) < 1e-6
            for step in steps:
                value(step.strip())
        except (SyntaxError, ValueError, ZeroDivisionError):
            is_right = False
        if is_right:
            steps = [step.strip() for step in steps]
            kept.append({"id": name, "question": question, "answer": written(answer), "program": program(steps)})
    return kept, count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--from", dest="folder", type=pathlib.Path)
    arguments = parser.parse_args()

    def source(name):
        if arguments.folder:
            return (arguments.folder / name).read_text()
        with urllib.request.urlopen(SOURCES[name], timeout=60) as answer:
            return answer.read().decode()

    try:
        texts = {name: source(name) for name in SOURCES}
    except OSError as error:
        sys.exit(f"{error}\nhint: download these files into a folder and give it with `--from`: {', '.join(SOURCES.values())}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, read, text in [
        ("train.jsonl", mawps, texts["train.csv"]),
        ("svamp.jsonl", svamp, texts["SVAMP.json"]),
        ("gsm8k.jsonl", gsm8k, texts["train.jsonl"]),
    ]:
        kept, count = rows(read(text))
        (arguments.out / name).write_text("".join(json.dumps(row) + "\n" for row in kept))
        print(f"{arguments.out / name}: {len(kept)} of {count} problems; of the others the program does not give the answer")


if __name__ == "__main__":
    main()
