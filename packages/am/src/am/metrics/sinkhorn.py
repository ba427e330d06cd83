"""Sinkhorn divergence."""

from __future__ import annotations

from torch import Tensor

from am.metrics.pairs import check_samples, normalised


def sinkhorn_divergence(
    x: Tensor, y: Tensor, blur: float = 0.05, p: int = 2, x_log_weight: Tensor | None = None
) -> float:
    """Debiased Sinkhorn divergence of cost |x - y|^p / p, in units of length^p.

    Source: Feydy et al., AISTATS 2019; computed by geomloss. ``blur`` is in units of length.
    """
    from geomloss import SamplesLoss

    check_samples(x, y)
    loss = SamplesLoss("sinkhorn", p=p, blur=blur, scaling=0.9, debias=True, backend="tensorized")
    a, b = normalised(x_log_weight, len(x)), normalised(None, len(y))
    return float(loss(a, x.double(), b, y.double()))
