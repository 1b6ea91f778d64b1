"""What is said about numbers that runs of several seeds left: intervals, paired tests, their correction.

The formulas are those of docs/results.md; `python3 -m doctest experiments/over_seeds.py` holds the examples.
"""

import math
import random


def mean(values):
    """
    >>> mean([1, 2, 6])
    3.0
    """
    return sum(values) / len(values)


def iqm(values):
    """The mean of a sorted sample without floor(n / 4) values at each end.

    >>> iqm([9, 1, 2, 6])
    4.0
    """
    cut = len(values) // 4
    return mean(sorted(values)[cut:len(values) - cut])


def better(own, others):
    """The share of all pairs of one of `own` and one of `others` in which the first is larger, ties half.

    >>> better([2, 3], [1, 3])
    0.625
    """
    return mean([(a > b) + (a == b) / 2 for a in own for b in others])


def interval(values, draws=10_000, of=mean):
    """The 95% percentile bootstrap interval of the mean, or of what `of` makes of a sample.

    >>> interval([0.5, 0.5, 0.5])
    (0.5, 0.5)
    """
    generator = random.Random(1)
    means = sorted(of(generator.choices(values, k=len(values))) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def sign_flips(differences):
    """The share of all signs whose sum is as far from 0 as the observed one: two-sided and exact.

    Of the eight signs of 1, 2, 3 only +++ and --- reach 6.

    >>> sign_flips([1, 2, 3])
    0.25
    >>> sign_flips([1, -1])
    1.0
    """
    sums = [0.0]
    for difference in differences:
        sums = [s + difference for s in sums] + [s - difference for s in sums]
    observed = abs(sum(differences)) - 1e-12
    return sum(abs(s) >= observed for s in sums) / len(sums)


def holm(p_values):
    """Holm's correction, in the order of the input.

    Sorted: 0.01 * 3, 0.02 * 2, 0.5 * 1, none below the one before.

    >>> holm([0.02, 0.5, 0.01])
    [0.04, 0.5, 0.03]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        corrected[place] = min(largest, 1.0)
    return corrected


def visible(differences):
    """The mean difference that these pairs show with a power of 80%: 2.80 d / sqrt(n - 1.92).

    The deviation of -1, 0, 1, 0 is sqrt(2 / 3).

    >>> round(visible([-1, 0, 1, 0]), 4) == round(2.80 * math.sqrt(2 / 3) / math.sqrt(4 - 1.92), 4)
    True
    """
    centre = mean(differences)
    deviation = math.sqrt(sum((one - centre) ** 2 for one in differences) / (len(differences) - 1))
    return 2.80 * deviation / math.sqrt(len(differences) - 1.92)


def against_first(found):
    """The first method beside each other one, over the seeds of both, from {method: {seed: value}}.

    By the other's name: the differences (first minus other), p, and p with Holm's correction over all of them.
    A method with fewer than two seeds in common is left out.

    >>> against_first({"a": {1: 3, 2: 5}, "b": {1: 2, 2: 3, 9: 0}, "c": {1: 0}})
    {'b': ([1, 2], 0.5, 0.5)}
    """
    lead, *others = found
    differences = {}
    for other in others:
        seeds = sorted(found[lead].keys() & found[other].keys())
        if len(seeds) > 1:
            differences[other] = [found[lead][seed] - found[other][seed] for seed in seeds]
    p_values = [sign_flips(values) for values in differences.values()]
    return {other: (differences[other], p, corrected) for other, p, corrected in zip(differences, p_values, holm(p_values))}
