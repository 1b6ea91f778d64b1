#!/usr/bin/env python3
"""Whether a server draws as the local engine does: greedy ids, and a test of the sampled ones.

    agreement.py GREEDY_LOCAL GREEDY_SERVED SAMPLED_LOCAL SAMPLED_SERVED [IDS]

Each is the trajectories.jsonl of an evaluation on the same tasks; GREEDY_LOCAL has `rollout.recorded={ alternatives = 2 }`.

Greedy: the ids of an episode are equal up to the first place that differs, where the local engine's two likeliest ids are less than
1e-3 nats apart; a place where they are not counts as a disagreement.

Sampled: for each task, how often each response (its first IDS ids, where that is given: long ones are all different) was drawn by the two (those drawn fewer than RARE times by both together count as
one), as a table of two rows, whose chi-squares are added up:
X = sum over tasks, responses and engines of (count - expected)^2 / expected. Whoever drew a response is shuffled within its task
9,999 times, which is the distribution of X where both draw alike; p is the share of these, and this one, that are no less. They
disagree where p < 0.01.
"""
import collections, json, random, sys

MARGIN, LEVEL, SHUFFLES, RARE = 1e-3, 0.01, 9_999, 10

def episodes(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]

def drawn(episode):
    """The ids of an episode, and at each its two likeliest where the model drew it."""
    for segment in episode["segments"]:
        own = segment.get("alternatives") or [None] * len(segment["ids"])
        yield from zip(segment["ids"], own)

def greedy(local, served):
    equal, close, wrong = 0, 0, []
    for ours, theirs in zip(local, served, strict=True):
        assert ours["task_id"] == theirs["task_id"]
        ids = [number for segment in theirs["segments"] for number in segment["ids"]]
        pairs = list(drawn(ours))
        place = next((at for at, (pair, other) in enumerate(zip(pairs, ids)) if pair[0] != other), None)
        if place is None and len(pairs) == len(ids):
            equal += 1
            continue
        likeliest = pairs[place][1] if place is not None else None
        if likeliest and likeliest[0][1] - likeliest[1][1] < MARGIN:
            close += 1
        else:
            wrong.append((ours["task_id"], place))
    return equal, close, wrong

def statistic(labels, responses):
    total = 0.0
    for who, what in zip(labels, responses):
        counts = {}
        for engine, response in zip(who, what):
            counts.setdefault(response, [0, 0])[engine] += 1
        rows = [who.count(0), who.count(1)]
        for both in counts.values():
            for engine, count in enumerate(both):
                expected = sum(both) * rows[engine] / len(who)
                total += (count - expected) ** 2 / expected
    return total

def pooled(responses):
    counts = collections.Counter(responses)
    return [response if counts[response] >= RARE else None for response in responses]

def sampled(local, served, length):
    tasks = {}
    for engine, found in enumerate((local, served)):
        for episode in found:
            ids = tuple(number for segment in episode["segments"] if segment["author"] == "model" for number in segment["ids"])[:length]
            tasks.setdefault(episode["task_id"], []).append((engine, ids))
    labels = [[engine for engine, _ in drawn] for drawn in tasks.values()]
    responses = [pooled([ids for _, ids in drawn]) for drawn in tasks.values()]
    found = statistic(labels, responses)
    draw, reached = random.Random(1), 1
    for _ in range(SHUFFLES):
        for who in labels:
            draw.shuffle(who)
        reached += statistic(labels, responses) >= found - 1e-9
    return found, reached / (SHUFFLES + 1), sum(map(len, responses)) // 2, len(tasks)

def main():
    local_greedy, served_greedy, local_sampled, served_sampled = map(episodes, sys.argv[1:5])
    length = int(sys.argv[5]) if len(sys.argv) > 5 else None
    equal, close, wrong = greedy(local_greedy, served_greedy)
    print(f"greedy: {equal} of {len(local_greedy)} episodes have equal ids, {close} differ first where two ids are within {MARGIN} nats, {len(wrong)} elsewhere {wrong[:5]}")
    found, p, draws, tasks = sampled(local_sampled, served_sampled, length)
    print(f"sampled: X = {found:.1f} of {draws} draws each on {tasks} tasks, p = {p:.4f}")
    if wrong or p < LEVEL:
        sys.exit("they do not draw alike")

main()
