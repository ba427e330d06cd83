"""Maximum mean discrepancy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from am.metrics.pairs import centred, check_samples, mean_between, mean_within, normalised

PUBLISHED_SCALES = (1e-4, 1e-4, 1e-4)
"""Of the hydrogen experiment: three equal bandwidths summed, so three times the plain value."""


def mmd_squared(
    x: Tensor,
    y: Tensor,
    scales: Sequence[float] = PUBLISHED_SCALES,
    x_log_weight: Tensor | None = None,
) -> float:
    r"""Unbiased estimate of MMD^2 with the kernel sum_k exp(-scale_k d^2).

    Pairs of a point with itself are left out, so that the mean over equal laws is zero and the estimate
    may be negative. Source: Gretton et al., JMLR 13 (2012), lemma 6.

    Parameters
    ----------
    x, y
        (n, d) and (m, d) samples; the work is done in float64 blocks of fixed size.
    scales
        Inverse squared lengths.
    x_log_weight
        (n,) log-weights of the points of ``x``, normalised here.

    Raises
    ------
    ValueError
        An empty, non-finite or one-point sample, or samples of different dimensions.
    """
    check_samples(x, y)
    multiplicity = {scale: list(scales).count(scale) for scale in scales}

    def kernel(squared: Tensor) -> Tensor:
        terms = [squared.mul(-scale).exp_().mul_(count) for scale, count in multiplicity.items()]
        return terms[0] if len(terms) == 1 else torch.stack(terms).sum(0)

    x, y = centred(x, y)
    wx, wy = normalised(x_log_weight, len(x)), normalised(None, len(y))
    within = mean_within(x, wx, kernel) + mean_within(y, wy, kernel)
    return float(within - 2 * mean_between(x, y, wx, wy, kernel))
