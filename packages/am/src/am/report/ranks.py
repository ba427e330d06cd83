"""Ranks of methods, and how far they could be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.metrics.direction import Better, ahead

if TYPE_CHECKING:
    import pandas as pd


def ranks(pairs: pd.DataFrame, better: Better, told: str = "ranked") -> pd.DataFrame:
    """Rank of each method by its mean, 1 for the best, and the interval of ranks that comparisons in pairs leave open.

    A method told to be farther from the truth than k others cannot be above rank k + 1, and one told to be nearer than
    k of n cannot be below n - k: ``low`` and ``high``. An interval is as sure as the comparisons are together. Where
    each of the n - 1 that a method takes part in errs with probability 0.05 / (n - 1) at most (:func:`together`), the
    rank that endless seeds and cells would give it lies in its interval with 95 %, by Bonferroni's inequality. Two
    methods that nothing tells apart hold each other's ranks. Source: Mogstad, Romano, Shaikh and Wilhelm, Inference for
    Ranks, Review of Economic Studies 91 (2024), with Student's intervals for their bootstrap.

    Parameters
    ----------
    pairs
        As from :func:`am.report.pairs.compare_pairs`, for one metric.
    told
        Column that names the nearer of two: ``ranked``, or ``nearer``, whose comparisons err with 5 % each.

    Returns
    -------
    A row a method, in the order of the pairs: method, rank, low, high.
    """
    import pandas as pd

    methods = list(dict.fromkeys([*pairs["method"], *pairs["other"]]))
    rank, low, high = (dict.fromkeys(methods, start) for start in (1, 1, len(methods)))
    for row in pairs.to_dict("records"):
        both = (row["method"], row["other"])
        by = row["difference"]
        first = ahead(by, by, 0, 0, better)
        if first or ahead(0, 0, by, by, better):
            rank[both[first]] += 1
        if row[told] in both:
            low[both[row[told] == row["method"]]] += 1
            high[row[told]] -= 1
    return pd.DataFrame([(m, rank[m], low[m], high[m]) for m in methods], columns=["method", "rank", "low", "high"])


def together(methods: int) -> float:
    """The level of each comparison with which all that one of so many methods takes part in hold at 95 % together."""
    return 1 - 0.05 / max(methods - 1, 1)
