#!/usr/bin/env python3
"""Word problems with programs as conversations with a Python tool, in the call format that `evaluate.toml` reads.

    conversations.py PROBLEMS.jsonl OUT.jsonl [--shares 40 45 15] [--practice 0] [--rounds 1] [--worked]

A line of PROBLEMS has `question`, `answer` and `program`. Of a problem's solutions one is drawn (seed 1) in each round: by the shares, which are
those of answering at once, of running the program first and of running it twice. So a policy that learns from them is neither sure of itself nor
sparing. `--practice` adds so many sums without a story, answered at once: what a policy that does without calls has to have in its head. With `--worked` an
answer without a call has its sums before it, one operation a line, since a small model cannot both choose a formula and compute it in one token.
"""
import argparse, ast, json, operator, pathlib, random, sys
from fractions import Fraction

sys.path += [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parents[1] / "word-problems")]
from conversation import conversation
from data import value

SYSTEM = (
    "Solve the problem and end with \\boxed{result}. To compute, you may write\n"
    '<tool_call>\n{"name": "python", "arguments": {"code": "print(6 * 7)"}}\n</tool_call>\n'
    "and you will be told what it prints."
)

SIGNS = {ast.Add: ("+", operator.add), ast.Sub: ("-", operator.sub), ast.Mult: ("*", operator.mul), ast.Div: ("/", operator.truediv)}

def shown(number):
    """As a decimal that is exact, or an error.

    >>> shown(Fraction(7)), shown(Fraction("2.50"))
    ('7', '2.5')
    """
    text = f"{float(number):.6f}".rstrip("0").rstrip(".")
    if Fraction(text) != number:
        raise ValueError(f"{number} is no short decimal")
    return text

def worked(program, answer):
    """The sums of `print(expression)`, innermost first; none where they are not exact, do not end with the answer or are more than `+ - * /`.

    >>> worked("print((4 * 7) + 2)", "30")
    '4 * 7 = 28\\n28 + 2 = 30\\n'
    >>> worked("print(1 / 3)", "0.333333"), worked("print(0.5 + 0.1)", "0.61"), worked("print(max(1, 2))", "2"), worked("print(1 / 0)", "0")
    ('', '', '', '')
    """
    lines = []
    def of(node):
        match node:
            case ast.Constant(value=int() | float() as number):
                return Fraction(str(number))
            case ast.BinOp(left=left, op=op, right=right):
                left, right, (sign, apply) = of(left), of(right), SIGNS[type(op)]
                result = apply(left, right)
                lines.append(f"{shown(left)} {sign} {shown(right)} = {shown(result)}\n")
                return result
        raise ValueError
    try:
        ends_right = shown(of(ast.parse(program.removeprefix("print"), mode="eval").body)) == answer
    except (ValueError, KeyError, ZeroDivisionError, SyntaxError):
        return ""
    return "".join(lines) if ends_right else ""

def printed(program, answer):
    """What the tool says of `print(expression)`; of another program the answer.

    >>> printed("print(14 / 2)", "7"), printed("print(3 * 4)", "12"), printed("x = 2\\nprint(x)", "2")
    ('7.0', '12', '2')
    """
    try:
        return str(value(program.removeprefix("print")))
    except (ValueError, SyntaxError, ZeroDivisionError):
        return answer

def solved(question, answer, program="", calls=0, sums=""):
    return conversation(SYSTEM, question, [("python", {"code": program}, printed(program, answer))] * calls, f"{sums}\\boxed{{{answer}}}")

def practised(draw, write_sums):
    """A sum that people do in their heads: up to 99 + 99, 99 - 99, 12 * 12, 144 / 12."""
    small, large = draw.randint(2, 12), draw.randint(2, 12)
    first, second = sorted((draw.randint(1, 99), draw.randint(1, 99)), reverse=True)
    left, sign, right, result = draw.choice([
        (first, "+", second, first + second),
        (first, "-", second, first - second),
        (small, "*", large, small * large),
        (small * large, "/", small, large),
    ])
    sums = f"{left} {sign} {right} = {result}\n" if write_sums else ""
    return solved(f"What is {left} {sign} {right}?", str(result), sums=sums)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("problems")
    parser.add_argument("out")
    parser.add_argument("--shares", nargs=3, type=int, default=[40, 45, 15])
    parser.add_argument("--practice", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--worked", action="store_true")
    given = parser.parse_args()
    draw = random.Random(1)
    with open(given.problems) as lines:
        problems = [json.loads(line) for line in lines]
    rows = []
    for problem in problems * given.rounds:
        calls = draw.choices([0, 1, 2], given.shares)[0]
        sums = worked(problem["program"], problem["answer"]) if given.worked and not calls else ""
        rows.append(solved(problem["question"], problem["answer"], problem["program"], calls, sums))
    rows += [practised(draw, given.worked) for _ in range(given.practice)]
    if given.practice:
        draw.shuffle(rows)
    with open(given.out, "w") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)

if __name__ == "__main__":
    main()
