"""Maximum mean discrepancy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from am.metrics.pairs import CHUNK, mean_between, mean_within
from am.metrics.samples import MetricError, prepared

if TYPE_CHECKING:
    from am.metrics.samples import Sample

PUBLISHED_SCALES = (1e-4, 1e-4, 1e-4)
"""Of the hydrogen experiment: three equal bandwidths summed, so three times the plain value."""


def mmd_squared(
    x: Sample,
    y: Sample,
    scales: Sequence[float] = PUBLISHED_SCALES,
    x_log_weight: Sample | None = None,
    chunk: int = CHUNK,
) -> float:
    r"""Unbiased estimate of MMD^2 with the kernel sum_k exp(-scale_k d^2).

    Pairs of a point with itself are left out, so that the mean over equal laws is zero and the estimate
    may be negative. Source: Gretton et al., JMLR 13 (2012), lemma 6. With weights, which are normalised,
    it is consistent only.

    Parameters
    ----------
    x, y
        (n, d) and (m, d) samples, on one device; the work is done in float64.
    scales
        Inverse squared lengths; equal ones count as often as they are given.
    x_log_weight
        (n,) logarithms of the weights of ``x``, up to a constant.
    chunk
        Points on a side of the blocks of pairs; memory is 8 chunk^2 bytes.

    Raises
    ------
    MetricError
        A sample is empty, has one point, or holds NaN or infinity; dimensions differ; a scale is not positive.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise MetricError(f"MMD needs positive scales, got {tuple(scales)}")
    a, b, wa, wb = prepared(x, y, x_log_weight)

    def plain(scale: float) -> float:
        def kernel(squared: Tensor) -> Tensor:
            return squared.mul_(-scale).exp_()

        within = mean_within(a, wa, kernel, chunk) + mean_within(b, wb, kernel, chunk)
        return within - 2 * mean_between(a, b, wa, wb, kernel, chunk)

    return sum(count * plain(scale) for scale, count in Counter(scales).items())
