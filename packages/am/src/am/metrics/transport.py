"""Optimal transport distances: W1 and W2 are different numbers, and have different names here."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from am.metrics.pairs import check_samples, normalised


def wasserstein1(x: Tensor, y: Tensor, x_log_weight: Tensor | None = None) -> float:
    """W1: exact optimal transport with the (unsquared) Euclidean distance as cost, in units of length."""
    return _transport(x, y, x_log_weight, "euclidean")


def wasserstein2(x: Tensor, y: Tensor, x_log_weight: Tensor | None = None) -> float:
    """W2: square root of exact optimal transport with squared Euclidean cost, in units of length."""
    return math.sqrt(max(0.0, _transport(x, y, x_log_weight, "sqeuclidean")))


def _transport(x: Tensor, y: Tensor, x_log_weight: Tensor | None, cost: str) -> float:
    import ot

    check_samples(x, y)
    a, b = normalised(x_log_weight, len(x)).numpy(), normalised(None, len(y)).numpy()
    matrix = ot.dist(x.double().cpu().numpy(), y.double().cpu().numpy(), metric=cost)
    return float(ot.emd2(a, b, matrix, numItermax=10_000_000))


def sliced_wasserstein(
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
    projections: int = 200,
    order: int = 2,
    x_log_weight: Tensor | None = None,
) -> float:
    """Sliced Wasserstein distance: (mean over random directions of W_order^order on the line)^(1/order).

    Source: Bonneel et al., J. Math. Imaging Vis. 51 (2015).
    """
    check_samples(x, y)
    directions = torch.randn(projections, x.shape[1], generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=1, keepdim=True)
    px, ix = (x.double() @ directions.T).sort(0)
    py, _ = (y.double() @ directions.T).sort(0)
    wx, wy = normalised(x_log_weight, len(x)), normalised(None, len(y))
    if x_log_weight is None and len(x) == len(y):
        return float((px - py).abs().pow(order).mean() ** (1 / order))
    total = px.new_zeros(())
    for column in range(projections):
        cx, cy = wx[ix[:, column]].cumsum(0), wy.cumsum(0)
        levels = torch.cat([cx, cy]).clamp_(max=1).sort().values
        qx = px[torch.searchsorted(cx, levels).clamp_(max=len(x) - 1), column]
        qy = py[torch.searchsorted(cy, levels).clamp_(max=len(y) - 1), column]
        total += (levels.diff(prepend=levels.new_zeros(1)) * (qx - qy).abs().pow(order)).sum()
    return float((total / projections) ** (1 / order))
