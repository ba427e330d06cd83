"""Denoising score matching: regression on the score of a known noising kernel."""

from __future__ import annotations

from torch import Tensor

from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.score import Score


def denoising_score_matching(
    network: Score, sample: PathSample, noise: Tensor, scale: Tensor, weight: TimeWeight = WEIGHTS["constant"]
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Denoising score matching for points x = mean + scale * noise, noise standard normal.

    .. math:: \int_0^1 w(t)\, E[ |scale\, f_t(x) + noise|^2 / 2 ] dt

    Its minimiser is the score of the noised marginal. Source: Vincent, Neural Computation 23 (2011),
    equation (11), with the weight scale^2 that makes the target of order one.

    Parameters
    ----------
    noise
        (n, d) the standard normal numbers inside ``sample.x``.
    scale
        (n,) the standard deviation they were multiplied by.
    """
    residual = scale[:, None] * network(sample.time, sample.x) + noise
    error = residual.square().sum(-1) / 2
    return sample.mean(weight.value(sample.time) * error), {"error": sample.mean(error).detach()}
