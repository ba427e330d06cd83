"""How far particles are from cells that they should have become, and from where such cells are dense."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from am.marginals.snapshots import transport_plan


def transport_loss(x: Tensor, y: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of (n, d) and (m, d) points, W2^2, of which x is told the gradient.

    The plan is exact (POT) and held fixed when the gradient is taken, which is right wherever it is unique.
    """
    i, j, mass = transport_plan(x.detach(), y)
    i, j = i.to(x.device), j.to(x.device)
    return (mass.to(x) * (x[i] - y[j]).square().sum(-1)).sum()


def density_loss(x: Tensor, y: Tensor, neighbours: int, hinge: float) -> Tensor:
    """Mean over (n, d) points of the distances, beyond ``hinge``, to their nearest neighbours among (m, d) cells.

    Source: Huguet et al., NeurIPS 2022, the density loss.
    """
    nearest = torch.cdist(x, y).topk(min(neighbours, len(y)), largest=False).values
    return relu(nearest - hinge).sum(-1).mean()
