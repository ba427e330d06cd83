"""Energy distance."""

from __future__ import annotations

from torch import Tensor

from am.metrics.pairs import centred, check_samples, mean_between, mean_within, normalised


def energy_distance(x: Tensor, y: Tensor, x_log_weight: Tensor | None = None) -> float:
    """Unbiased estimate of 2 E|x - y| - E|x - x'| - E|y - y'|, in units of length.

    Zero in expectation for equal laws, so it may be negative. Source: Szekely and Rizzo, J. Stat. Plan.
    Inference 143 (2013). Parameters and errors as in :func:`am.metrics.mmd.mmd_squared`.
    """
    check_samples(x, y)
    x, y = centred(x, y)
    wx, wy = normalised(x_log_weight, len(x)), normalised(None, len(y))
    between = mean_between(x, y, wx, wy, Tensor.sqrt_)
    return float(2 * between - mean_within(x, wx, Tensor.sqrt_) - mean_within(y, wy, Tensor.sqrt_))
