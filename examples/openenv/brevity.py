"""A reward by command: 1 for no token, 0.5 for 60."""

import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"]}
    if request["type"] == "rewards":
        answer["rewards"] = [1 / (1 + one["sampled_tokens"] / 60) for one in request["rollouts"]]
    print(json.dumps(answer), flush=True)
