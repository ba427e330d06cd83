"""The two samples that every distance starts from: checked, weighted, centred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Sample = Tensor | ArrayLike


class MetricError(ValueError):
    """Samples between which there is no such distance; its text is one sentence for the user."""


LARGEST = 1e150
"""Coordinates beyond this have squares that overflow."""


def prepared(x: Sample, y: Sample, x_log_weight: Sample | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both samples in float64 about a common centre, and their weights.

    The centre is a median, which no diverged particle can pull away: distances of the others lose no digits.

    Parameters
    ----------
    x, y
        (n, d) and (m, d) samples, as tensors or arrays.
    x_log_weight
        (n,) logarithms of the weights of ``x``, up to a constant; equal weights when there are none.

    Returns
    -------
    tuple of Tensor
        (n, d), (m, d), and weights (n,) and (m,) that each sum to one.

    Raises
    ------
    MetricError
        A sample is empty, is not (n, d) or holds NaN or infinity; dimensions differ; weights cannot be used.
    """
    a, b = torch.as_tensor(x), torch.as_tensor(y)
    log_weight = None if x_log_weight is None else torch.as_tensor(x_log_weight)
    for name, sample in (("first", a), ("second", b)):
        if sample.ndim != 2:
            raise MetricError(f"the {name} sample must have shape (n, d), got {tuple(sample.shape)}")
        if not sample.numel():
            raise MetricError(f"the {name} sample is empty")
        if wrong := int((~(sample.abs() <= LARGEST)).sum()):
            raise MetricError(f"the {name} sample holds {wrong} numbers that are NaN, infinite or beyond {LARGEST:g}")
    if a.shape[1] != b.shape[1]:
        raise MetricError(f"the samples have different dimensions, {a.shape[1]} and {b.shape[1]}")
    a, b = a.detach().double(), b.detach().double()
    centre = torch.cat([a, b]).median(0).values
    return a - centre, b - centre, _weights(a, log_weight), _weights(b, None)


def _weights(x: Tensor, log_weight: Tensor | None) -> Tensor:
    n = len(x)
    if log_weight is None:
        return x.new_full((n,), 1 / n)
    if log_weight.shape != (n,):
        raise MetricError(f"{n} points need log-weights of shape ({n},), got {tuple(log_weight.shape)}")
    weights = torch.softmax(log_weight.detach().double().to(x.device), 0)
    if not bool(torch.isfinite(weights).all()):
        raise MetricError("log-weights must be numbers below infinity, and one of them above minus infinity")
    return weights
