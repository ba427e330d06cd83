"""Energy distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from am.metrics.pairs import CHUNK, mean_between, mean_within
from am.metrics.samples import prepared

if TYPE_CHECKING:
    from am.metrics.samples import Sample


def energy_distance(x: Sample, y: Sample, x_log_weight: Sample | None = None, chunk: int = CHUNK) -> float:
    """Unbiased estimate of 2 E|x - y| - E|x - x'| - E|y - y'|, in units of length.

    Zero in expectation for equal laws, so it may be negative. Source: Szekely and Rizzo, J. Stat. Plan.
    Inference 143 (2013). Parameters and errors as in :func:`am.metrics.mmd.mmd_squared`.
    """
    a, b, wa, wb = prepared(x, y, x_log_weight)
    within = mean_within(a, wa, Tensor.sqrt_, chunk) + mean_within(b, wb, Tensor.sqrt_, chunk)
    return 2 * mean_between(a, b, wa, wb, Tensor.sqrt_, chunk) - within
