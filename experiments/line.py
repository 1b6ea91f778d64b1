"""The line between never and always calling, from the levels of a controls.json (docs/results.md)."""


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
