"""The line between never and always calling, and the oracle router, from the levels of a controls.json (docs/results.md)."""


def ends(levels):
    """Never and always calling as (calls, EM).

    Half of the tasks are right in 0.5 by head, in 1.0 by two calls; the others in 0.1 and 0.4, by one.

    >>> ends([{"share": 0.5, "head_skill": 0.5, "tool_skill": 1.0, "calls": 2}, {"share": 0.5, "head_skill": 0.1, "tool_skill": 0.4, "calls": 1}])
    ((0.0, 0.3), (1.5, 0.7))
    """
    of = lambda key: sum(level["share"] * level[key] for level in levels)
    return (0.0, of("head_skill")), (of("calls"), of("tool_skill"))


def height(levels):
    """How far a run is above the line: EM - (never + slope * calls), slope = (always - never) / its calls.

    From (0, 0.2) to (1, 0.8) one rises by 0.6 a call: 0.6 - (0.2 + 0.6 * 0.5).

    >>> above = height([{"share": 1.0, "head_skill": 0.2, "tool_skill": 0.8, "calls": 1}])
    >>> round(above({"em": 0.6, "calls": 0.5}), 9)
    0.1
    """
    (_, never), (calls, always) = ends(levels)
    slope = (always - never) / calls
    return lambda run: run["em"] - never - slope * run["calls"]


def oracle(levels):
    """The places of the router that sends level by level to the tool, first those that gain most for a call.

    The level that gains 0.5 for one call goes before the one that gains 0.2 for one.

    >>> two = [{"share": 0.5, "head_skill": 0.8, "tool_skill": 1.0, "calls": 1}, {"share": 0.5, "head_skill": 0.5, "tool_skill": 1.0, "calls": 1}]
    >>> [(calls, round(em, 9)) for calls, em in oracle(two)]
    [(0.0, 0.65), (0.5, 0.9), (1.0, 1.0)]
    """
    gain = lambda level: level["tool_skill"] - level["head_skill"]
    rate = lambda level: gain(level) / level["calls"] if level["calls"] else float("inf")
    sent = sorted((level for level in levels if gain(level) > 0), key=rate, reverse=True)
    places = [ends(levels)[0]]
    for level in sent:
        calls, em = places[-1]
        places.append((calls + level["share"] * level["calls"], em + level["share"] * gain(level)))
    return places


def em_at(corners, calls):
    """EM along the corners of a hull, level beyond the last.

    >>> em_at([(0, 0.5), (1, 0.9)], 0.5), em_at([(0, 0.5), (1, 0.9)], 2)
    (0.7, 0.9)
    """
    for (left, low), (right, high) in zip(corners, corners[1:]):
        if calls <= right:
            return low + (high - low) * (calls - left) / (right - left)
    return corners[-1][1]


def calls_at(corners, em):
    """The fewest calls with that EM along the corners of a hull; None beyond the last.

    >>> calls_at([(0, 0.5), (1, 1.0)], 0.75), calls_at([(0, 0.5), (1, 1.0)], 0.4), calls_at([(0, 0.5), (1, 0.9)], 0.95)
    (0.5, 0, None)
    """
    if em <= corners[0][1]:
        return corners[0][0]
    for (left, low), (right, high) in zip(corners, corners[1:]):
        if low < em <= high:
            return left + (right - left) * (em - low) / (high - low)
    return None


def hypervolume(corners, call_limit):
    """The union of the boxes between (0, 0) and each point (EM, 1 - calls / call_limit).

    At most 4 calls: boxes of 0.5 by 1 and 0.75 by 0.5, of which the second adds 0.25 by 0.5.

    >>> hypervolume([(0, 0.5), (2, 0.75)], 4)
    0.625
    """
    volume = reached = 0.0
    for calls, em in sorted(corners):
        volume += max(0.0, em - reached) * (1 - calls / call_limit)
        reached = max(reached, em)
    return volume
