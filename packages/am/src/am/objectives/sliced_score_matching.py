"""Sliced score matching: the divergence estimated along random directions."""

from __future__ import annotations

import torch
from torch import Tensor

from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.score import Score


def sliced_score_matching(
    network: Score, sample: PathSample, probe: Tensor, weight: TimeWeight = WEIGHTS["constant"]
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Sliced score matching with the variance-reduced norm term.

    .. math:: \int_0^1 w(t)\, E_{q_t} E_v[ |f_t|^2 / 2 + v^T \nabla f_t\, v ] dt

    Source: Song et al., UAI 2019, equation (8).

    Parameters
    ----------
    probe
        (n, d) directions v of mean zero and unit covariance.
    """
    x = sample.x.detach().requires_grad_()
    score = network(sample.time, x)
    (product,) = torch.autograd.grad((score * probe).sum(), x, create_graph=True)
    divergence = (product * probe).sum(-1)
    norm = score.square().sum(-1) / 2
    loss = sample.integral(weight.value(sample.time) * (norm + divergence))
    return loss, {"norm": sample.mean(norm).detach(), "divergence": sample.mean(divergence).detach()}
