"""A reward by a judge model behind an OpenAI-compatible endpoint.

paretopo starts this program and keeps it running. Each line of standard input is a request, each
line of standard output its answer (docs/outside.md). Nothing but Python's own library is needed.

    JUDGE_URL    such as http://127.0.0.1:8000/v1
    JUDGE_MODEL  the model's name there
    JUDGE_KEY    sent as a bearer token, if it is set
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

URL = os.environ.get("JUDGE_URL", "http://127.0.0.1:8000/v1").rstrip("/") + "/chat/completions"
MODEL = os.environ.get("JUDGE_MODEL", "judge")
KEY = os.environ.get("JUDGE_KEY")

PROMPT = """Question:
{question}

Response:
{response}

How clear is the response to somebody who wants to follow it? Ignore whether it is right.
Answer with one whole number from 0 (not at all) to 10 (entirely), and nothing else."""


def completion(prompt, deadline):
    """The judge model's words; tries again while it is busy or away and time is left."""
    body = {"model": MODEL, "temperature": 0, "max_tokens": 16}
    body["messages"] = [{"role": "user", "content": prompt}]
    headers = {"Content-Type": "application/json"}
    if KEY:
        headers["Authorization"] = "Bearer " + KEY
    request = urllib.request.Request(URL, json.dumps(body).encode(), headers)
    pause = 0.5
    while True:
        left = max(deadline - time.monotonic(), 0.1)
        try:
            with urllib.request.urlopen(request, timeout=left) as response:
                return json.load(response)["choices"][0]["message"]["content"]
        except (urllib.error.URLError, TimeoutError) as error:
            is_final = getattr(error, "code", 503) not in (408, 429, 500, 502, 503, 504)
            if is_final or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause *= 2


def reward(task, rollout, deadline):
    """A number in [0, 1]."""
    prompt = PROMPT.format(question=task["question"], response=rollout["response"])
    said = completion(prompt, deadline)
    number = re.search(r"\d+", said)
    if number is None or int(number[0]) > 10:
        raise ValueError(f"the judge said {said[:80]!r}")
    return int(number[0]) / 10


def answer(request, pool):
    if request["type"] == "hello":
        return {}
    # a second is for what is not the judge model's
    deadline = time.monotonic() + request["seconds"] - 1
    one = lambda rollout: reward(request["task"], rollout, deadline)
    return {"rewards": list(pool.map(one, request["rollouts"]))}


def main():
    with ThreadPoolExecutor(8) as pool:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                said = answer(request, pool)
            except Exception as error:  # whatever it is, the run shall hear of it
                said = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps({"id": request["id"], **said}), flush=True)


main()
