"""An MCP server that does what its calls say: answers, hangs, dies, floods, lies.

Arguments: a mode, and a folder in which each start leaves a file of its number. The mode `http` has
it listen, and say its port in the first line of its output; who asks it then needs the token that
is its third argument.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

mode, marks = sys.argv[1], sys.argv[2]
starts = len([name for name in os.listdir(marks) if name.isdigit()])
open(os.path.join(marks, str(os.getpid())), "w").close()


def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def tool(name, kind="string"):
    schema = {"type": "object", "properties": {"a": {"type": kind}}}
    return {"name": name, "description": "Does it.", "inputSchema": schema}


def listed():
    if mode == "endless":
        return {"tools": [tool("say")] * 100, "nextCursor": "more"}
    if mode == "forgets" and starts > 0:
        return {"tools": [tool("other")]}
    if mode == "changes" and starts > 0:
        return {"tools": [tool("say", "integer")]}
    return {"tools": [tool("say"), tool("other")]}


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def called(name, what):
    if what == "error":
        return {**text("it went wrong"), "isError": True}
    if what == "image":
        image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
        return {"content": [{"type": "text", "text": "look"}, image]}
    if what == "structured":
        return {"content": [], "structuredContent": {"b": 1}}
    if what == "environment":
        return text(" ".join(sorted(os.environ)))
    return text(f"{name} {what} {os.getpid()}")


def answered(message):
    """The result of a request; `None` where it gets none."""
    method = message["method"]
    if method == "initialize":
        if mode == "mute":
            time.sleep(60)
        if mode == "dies":
            sys.exit("no licence")
        version = message["params"]["protocolVersion"]
        own = {"name": "hostile", "version": "1"}
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": own}
    if method == "ping":
        return {}
    if method == "tools/list":
        return listed()
    what = message["params"]["arguments"]["a"]
    if what == "hang":
        time.sleep(60)
    if what == "die":
        sys.exit("I am dying")
    if what == "flood":
        for _ in range(20):
            sys.stdout.write("x" * (1 << 20))
        print(flush=True)
        return None
    if what == "junk":
        print("Loading ...", flush=True)
    if what == "lie":
        say(id=7777, result=text("a lie"))
        return None
    if what == "twice":
        say(id=message["id"], result=text("first"))
    return None if what == "silence" else called(message["params"]["name"], what)


def serve_lines():
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            open(os.path.join(marks, "cancelled"), "w").close()
        if "id" not in message or "method" not in message:
            continue
        if message["method"] == "tools/call" and message["params"]["arguments"]["a"] == "refuse":
            say(id=message["id"], error={"code": -32602, "message": "no such argument"})
            continue
        result = answered(message)
        if result is not None:
            say(id=message["id"], result=result)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        message = json.loads(self.rfile.read(length))
        if self.path != "/mcp" or self.headers.get("Authorization") != "Bearer " + sys.argv[3]:
            self.send_error(403)
        elif "id" not in message:
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            result = answered(message)
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_GET(self):
        self.send_error(405)

    def log_message(self, *_):
        pass


if mode == "http":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
else:
    serve_lines()
