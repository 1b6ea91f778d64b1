#!/usr/bin/env python3
"""Word problems with programs as conversations with a Python tool, in the call format that `evaluate.toml` reads.

    conversations.py PROBLEMS.jsonl OUT.jsonl

A line of PROBLEMS has `question`, `answer` and `program`. Of a problem's solutions one is drawn (seed 1): 40% answer at once, 45% run the program
first, 15% run it twice, so that a policy that learns from them is neither sure of itself nor sparing.
"""
import json, random, sys

SYSTEM = (
    "Solve the problem and end with \\boxed{result}. To compute, you may write\n"
    '<tool_call>\n{"name": "python", "arguments": {"code": "print(6 * 7)"}}\n</tool_call>\n'
    "and you will be told what it prints."
)

def call(code):
    text = json.dumps({"name": "python", "arguments": {"code": code}})
    return {"role": "assistant", "content": f"<tool_call>\n{text}\n</tool_call>"}

def main():
    source, out = sys.argv[1:]
    draw = random.Random(1)
    with open(source) as lines, open(out, "w") as rows:
        for line in lines:
            problem = json.loads(line)
            calls = draw.choices([0, 1, 2], [40, 45, 15])[0]
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": problem["question"]}]
            for _ in range(calls):
                messages += [call(problem["program"]), {"role": "tool", "content": problem["answer"]}]
            messages.append({"role": "assistant", "content": f"\\boxed{{{problem['answer']}}}"})
            rows.write(json.dumps({"messages": messages}) + "\n")

main()
