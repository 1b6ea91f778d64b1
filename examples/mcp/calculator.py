"""A calculator as an MCP server, over standard streams, with Python's own library alone.

Its one tool is called `python` and takes `code`, as the shipped policy's code fence calls it. It
computes `print(EXPRESSION)` of numbers with + - * / // % and runs nothing else.
"""

import ast
import json
import operator
import sys

OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

TOOL = {
    "name": "python",
    "description": "Computes an expression of numbers.",
    "inputSchema": {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "such as print(12 * 34)"}},
        "required": ["code"],
    },
}


def value(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](value(node.left), value(node.right))
    raise ValueError("only numbers and + - * / // % are computed")


def called(arguments):
    code = arguments["code"].strip()
    if code.startswith("print(") and code.endswith(")"):
        code = code[len("print(") : -1]
    try:
        result = str(value(ast.parse(code, mode="eval").body))
        return {"content": [{"type": "text", "text": result}]}
    except Exception as error:  # whatever it is, the policy shall read it
        words = f"{type(error).__name__}: {error}"
        return {"content": [{"type": "text", "text": words}], "isError": True}


def answer(method, params):
    if method == "initialize":
        own = {"name": "calculator", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": own}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return called(params["arguments"])
    return {}


for line in sys.stdin:
    message = json.loads(line)
    # what has no id is a notification, which is not answered
    if "id" in message and "method" in message:
        result = answer(message["method"], message.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
