"""Denoising score matching: regression on the score of a known noising kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from am.marginals.marginals import Marginals
from am.marginals.vp import VarianceSchedule
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
    return sample.integral(weight.value(sample.time) * error), {"error": sample.mean(error).detach()}


class NoisedData:
    """Points of q_1, noised by a diffusion of age 1 - t.

    A "point" of this path is a row of 2 d numbers: the noised point, and the standard normal noise in it.
    """

    def __init__(self, marginals: Marginals, schedule: VarianceSchedule, youngest: float) -> None:
        self.marginals, self.schedule, self.youngest = marginals, schedule, youngest
        self.dimension = 2 * marginals.dimension

    def age(self, time: Tensor) -> Tensor:
        """1 - t, and no less than ``youngest``."""
        return (1 - time).clamp(min=self.youngest)

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """Noised point and noise for each entry of ``time``: (n,) in [0, 1] -> (n, 2 d)."""
        data, age = self.marginals.sample(torch.ones_like(time), generator), self.age(time)[:, None]
        noise = torch.randn(data.shape, generator=generator, dtype=data.dtype, device=data.device)
        return torch.cat([self.schedule.mean(age) * data + self.schedule.scale(age) * noise, noise], 1)
