"""Sinkhorn divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from am.extras import brought_by
from am.metrics.samples import prepared

if TYPE_CHECKING:
    from am.metrics.samples import Sample


def sinkhorn_divergence(
    x: Sample, y: Sample, blur: float = 0.05, p: int = 2, x_log_weight: Sample | None = None
) -> float:
    """Debiased Sinkhorn divergence of cost |x - y|^p / p, in units of length^p.

    It tends to W_p^p / p as ``blur`` goes to zero. Source: Feydy et al., AISTATS 2019; computed by geomloss.

    Parameters
    ----------
    x, y
        (n, d) and (m, d) samples; memory is some 50 (n + m)^2 bytes.
    blur
        Length below which points are not told apart; the entropic temperature is blur^p.
    p
        1 or 2.
    x_log_weight
        (n,) logarithms of the weights of ``x``, up to a constant.

    Raises
    ------
    MetricError
        A sample is empty or holds NaN or infinity; dimensions differ.
    MissingExtraError
        Geomloss is not installed.
    """
    with brought_by("rivals", "a Sinkhorn divergence"):
        from geomloss import SamplesLoss

    a, b, wa, wb = prepared(x, y, x_log_weight)

    # Geomloss' own distances for p = 1 are never below 1e-4.
    def cost(a: Tensor, b: Tensor) -> Tensor:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").pow_(p).div_(p)

    loss = SamplesLoss("sinkhorn", p=p, blur=blur, scaling=0.9, cost=cost, backend="tensorized")
    with torch.no_grad():  # geomloss switches gradients off and on; this leaves them as they were
        return float(loss(wa, a, wb, b))
