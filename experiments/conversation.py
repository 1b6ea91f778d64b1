"""Conversations with a tool as `paretopo sft` reads them, calls written as Hermes writes them."""

import json


def call(tool, arguments):
    """
    >>> call("python", {"code": "print(6 * 7)"})["content"]
    '<tool_call>\\n{"name": "python", "arguments": {"code": "print(6 * 7)"}}\\n</tool_call>'
    """
    text = json.dumps({"name": tool, "arguments": arguments}, ensure_ascii=False)
    return {"role": "assistant", "content": f"<tool_call>\n{text}\n</tool_call>"}


def conversation(system, question, calls, answer):
    """`calls` are [(tool, arguments, what it tells)].

    >>> [message["role"] for message in conversation("Solve.", "6 * 7?", [("python", {}, "42")], "42")["messages"]]
    ['system', 'user', 'assistant', 'tool', 'assistant']
    """
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    for tool, arguments, told in calls:
        messages += [call(tool, arguments), {"role": "tool", "content": told}]
    messages.append({"role": "assistant", "content": answer})
    return {"messages": messages}
