"""Energy distance."""

from __future__ import annotations

from torch import Tensor

from am.metrics.pairs import CHUNK, mean_between, mean_within
from am.metrics.samples import prepared


def energy_distance(x: Tensor, y: Tensor, x_log_weight: Tensor | None = None, chunk: int = CHUNK) -> float:
    """Unbiased estimate of 2 E|x - y| - E|x - x'| - E|y - y'|, in units of length.

    Zero in expectation for equal laws, so it may be negative. Source: Szekely and Rizzo, J. Stat. Plan.
    Inference 143 (2013). Parameters and errors as in :func:`am.metrics.mmd.mmd_squared`.
    """
    x, y, wx, wy = prepared(x, y, x_log_weight)
    within = mean_within(x, wx, Tensor.sqrt_, chunk) + mean_within(y, wy, Tensor.sqrt_, chunk)
    return 2 * mean_between(x, y, wx, wy, Tensor.sqrt_, chunk) - within
