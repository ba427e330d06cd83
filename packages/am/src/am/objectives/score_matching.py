"""Score matching along a path of marginals: exact, sliced and denoising."""

from __future__ import annotations

import torch
from torch import Tensor

from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.score import ScoreNetwork


def score_matching(
    network: ScoreNetwork, sample: PathSample, weight: TimeWeight = WEIGHTS["constant"]
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Score matching with the exact divergence.

    .. math:: \int_0^1 w(t)\, E_{q_t}[ |f_t|^2 / 2 + \nabla \cdot f_t ] dt

    Its minimiser is grad log q_t. Source: Hyvarinen, JMLR 6 (2005), theorem 1.
    """
    score, jacobian = network.with_pullback(sample.time, sample.x)
    divergence = torch.stack([row[:, i] for i, row in enumerate(jacobian)]).sum(0)
    norm = score.square().sum(-1) / 2
    loss = sample.integral(weight.value(sample.time) * (norm + divergence))
    return loss, {"norm": sample.mean(norm).detach(), "divergence": sample.mean(divergence).detach()}
