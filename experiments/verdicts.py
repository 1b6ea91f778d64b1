"""Claims with their verdicts, as rows of a table; `claims.py` of each experiment says which.

A claim of several comparisons is corrected over these (Holm), and holds if each of them does: p < 0.05 and the
difference as claimed, above 0. It fails if one has p < 0.05 the other way round. Else it is open.
"""

from over_seeds import holm


def routing_gains(results, others):
    """[(other, pairs, difference, p, visible)] of the first method's front against the others', from a results.json.

    Nothing while one of them has no two seeds in common with the first.

    >>> row = {"other": "b", "pairs": 2, "difference": 0.1, "p_value": 0.5, "visible_effect": 0.3}
    >>> routing_gains({"lead": {"against": [row]}}, ["b"])
    [('b', 2, 0.1, 0.5, 0.3)]
    >>> routing_gains({"lead": {"against": [row]}}, ["b", "c"])
    []
    """
    rows = {row["other"]: row for row in results["lead"]["against"]}
    if not rows.keys() >= set(others):
        return []
    keys = ("pairs", "difference", "p_value", "visible_effect")
    return [(other, *(rows[other][key] for key in keys)) for other in others]


def verdict(differences, corrected):
    """
    >>> verdict([0.1, 0.2], [0.01, 0.04])
    'holds'
    >>> verdict([0.1, 0.2], [0.01, 0.06])
    'open'
    >>> verdict([0.1, -0.2], [0.01, 0.04])
    'fails'
    """
    if any(p < 0.05 and difference < 0 for difference, p in zip(differences, corrected)):
        return "fails"
    return "holds" if all(p < 0.05 for p in corrected) else "open"


def show(claims):
    """Prints the table of [(claim, rows as `routing_gains` gives them)]."""
    print("| claim (it: ParetoPO) | against | pairs | better by | p (Holm) | visible at 80% | verdict |")
    print("|---|---|---|---|---|---|---|")
    for claim, rows in claims:
        if not rows:
            print(f"| {claim} | | | | | | not run yet |")
            continue
        corrected = holm([row[3] for row in rows])
        said = f"**{verdict([row[2] for row in rows], corrected)}**"
        for (other, pairs, difference, _, seen), p in zip(rows, corrected):
            print(f"| {claim} | {other} | {pairs} | {difference:+.3f} | {p:.3f} | {seen:.3f} | {said} |")
            claim = said = ""
