"""The debiased Sinkhorn divergence as a loss: what particles are told by cells that they should have become."""

from __future__ import annotations

from torch import Tensor


def sinkhorn_loss(x: Tensor, y: Tensor, blur: float) -> Tensor:
    """Debiased Sinkhorn divergence of cost |x - y|^2 / 2, a scalar that can be differentiated in both samples.

    Source: Feydy et al., AISTATS 2019; computed by geomloss, in the dtype of the points and not as far as
    :func:`am.metrics.sinkhorn.sinkhorn_divergence` does: it is taken at every step of training.

    Parameters
    ----------
    x, y
        (n, d) and (m, d) points, of order one.
    blur
        Length below which points are not told apart; the entropic temperature is blur^2.
    """
    from geomloss import SamplesLoss

    return SamplesLoss("sinkhorn", p=2, blur=blur, scaling=0.7, backend="tensorized")(x, y)
