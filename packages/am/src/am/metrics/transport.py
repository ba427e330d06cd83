"""Optimal transport distances: W1 and W2 are different numbers, and have different names here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from am.metrics.samples import MetricError, prepared

if TYPE_CHECKING:
    from am.metrics.samples import Sample

_PIVOTS = 100_000_000  # of the network simplex: far more than it needs, since an answer short of optimal is refused


def wasserstein1(x: Sample, y: Sample, x_log_weight: Sample | None = None) -> float:
    """W1: exact optimal transport with the (unsquared) Euclidean distance as cost, in units of length.

    The cost matrix of (n, d) and (m, d) samples takes 8 n m bytes. ``x_log_weight`` are (n,) logarithms of
    the weights of ``x``, up to a constant. Computed by POT (Flamary et al., JMLR 22, 2021).

    Raises
    ------
    MetricError
        A sample is empty or holds NaN or infinity; dimensions differ; or the solver found no optimum.
    """
    return _transport_cost(x, y, x_log_weight, 1)


def wasserstein2(x: Sample, y: Sample, x_log_weight: Sample | None = None) -> float:
    """W2: square root of exact optimal transport with squared Euclidean cost, in units of length.

    Memory, weights and errors as in :func:`wasserstein1`.
    """
    return _transport_cost(x, y, x_log_weight, 2) ** 0.5


def _transport_cost(x: Sample, y: Sample, x_log_weight: Sample | None, power: int) -> float:
    import ot

    a, b, wa, wb = (tensor.cpu() for tensor in prepared(x, y, x_log_weight))
    cost = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").pow_(power)
    value, log = ot.emd2(wa.numpy(), wb.numpy(), cost.numpy(), numItermax=_PIVOTS, log=True)
    if log["warning"]:
        raise MetricError(f"optimal transport of {len(a)} to {len(b)} points was not solved: {log['warning']}")
    return max(0.0, float(value))


def sliced_wasserstein(
    x: Sample,
    y: Sample,
    generator: torch.Generator,
    projections: int = 200,
    order: int = 2,
    x_log_weight: Sample | None = None,
) -> float:
    """Sliced Wasserstein distance: (mean over random directions of W_order^order on the line)^(1/order).

    In units of length. Source: Bonneel et al., J. Math. Imaging Vis. 51 (2015).

    Parameters
    ----------
    x, y
        (n, d) and (m, d) samples.
    generator
        Draws the directions.
    projections
        Number of directions.
    order
        1 or more.
    x_log_weight
        (n,) logarithms of the weights of ``x``, up to a constant.

    Raises
    ------
    MetricError
        A sample is empty or holds NaN or infinity; dimensions differ.
    """
    a, b, wa, wb = prepared(x, y, x_log_weight)
    directions = torch.randn(
        projections, a.shape[1], generator=generator, dtype=torch.float64, device=generator.device
    ).to(a.device)
    directions /= directions.norm(dim=1, keepdim=True)
    costs = _costs_on_lines(directions @ a.T, directions @ b.T, wa, wb, order, even=x_log_weight is None)
    return float(costs.mean()) ** (1 / order)


def _costs_on_lines(x: Tensor, y: Tensor, wx: Tensor, wy: Tensor, order: int, even: bool) -> Tensor:
    """W_order^order of points on p lines, (p, n) and (p, m), with the same weights on each: (p,).

    It is the integral over u of |F^-1(u) - G^-1(u)|^order; of ``even`` weights and as many points, a mean.
    """
    x, ix = x.sort()
    y, iy = y.sort()
    if even and x.shape == y.shape:
        return ((x - y).abs() ** order).mean(1)
    fx, fy = wx[ix].cumsum(1), wy[iy].cumsum(1)
    # Between two neighbouring values of either distribution function both quantile functions are constant.
    levels = torch.cat([fx, fy], 1).sort().values
    qx = x.gather(1, torch.searchsorted(fx, levels).clamp_(max=x.shape[1] - 1))
    qy = y.gather(1, torch.searchsorted(fy, levels).clamp_(max=y.shape[1] - 1))
    return (levels.diff(prepend=levels.new_zeros(len(levels), 1)) * (qx - qy).abs() ** order).sum(1)
