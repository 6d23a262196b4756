"""Few combinations of many factors, in which every pair of two factors' values occurs."""

import itertools


def cover(**factors):
    """Dicts of one value per factor, chosen greedily; the same ones every time.

    Args:
        **factors: The values of each factor.
    """
    names = list(factors)
    every = [dict(zip(names, row, strict=True)) for row in itertools.product(*factors.values())]
    pairs = [_pairs(row) for row in every]
    missing = set().union(*pairs)
    rows = []
    while missing:
        best = max(range(len(every)), key=lambda i: len(pairs[i] & missing))
        missing -= pairs[best]
        rows.append(every[best])
    return rows


def _pairs(row):
    return set(itertools.combinations(row.items(), 2))
