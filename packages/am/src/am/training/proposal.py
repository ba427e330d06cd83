"""Times drawn where the loss is noisiest: a proposal that is learned while training."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 64
"""Equal parts of [0, 1] on each of which the density is constant."""
UNIFORM = 0.01
"""Share of the uniform density in the mixture."""
MEMORY = 0.95
"""What a step leaves of the moments before it."""


class TimeProposal:
    r"""A density p(t) proportional to the standard deviation of the integrand of a loss, as it runs along.

    .. math:: p(t) = 0.99\, \sigma_t / \int_0^1 \sigma_u du + 0.01

    An integral over time is estimated by the mean of the integrand over p at times from p, without bias for every
    p > 0; where p follows the spread of the integrand, that mean spreads least. Moments are kept for each bin, over the
    steps that had points there. Source: the proposal of the draft version of Neklyudov et al. (arXiv 2210.06662v1).
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.moments = torch.zeros(3, BINS, dtype=torch.float64, device=device)
        """(3, bins): steps that had points there, mean, mean square."""
        self.seen = torch.zeros_like(self.moments)
        """(3, bins): number, sum and sum of squares of what this step has shown so far."""

    def density(self) -> Tensor:
        """(bins,) p on each bin; 1 until every bin has been seen."""
        steps, mean, square = self.moments
        spread = (square - mean.square()).clamp(min=0).sqrt()
        if not bool(steps.all()) or not bool(spread.any()):
            return torch.ones_like(spread)
        return UNIFORM + (1 - UNIFORM) * spread / spread.mean()

    def times(self, even: Tensor) -> tuple[Tensor, Tensor]:
        """Times, and p at them, from values in [0, 1) of the distribution function: (n,) -> (n,), (n,)."""
        density = self.density()
        reached = torch.cat([density.new_zeros(1), density.cumsum(0) / BINS])
        even = even.to(density) * reached[-1]
        which = (torch.searchsorted(reached, even, right=True) - 1).clamp(max=BINS - 1)
        time = (which + (even - reached[which]) / (reached[which + 1] - reached[which])) / BINS
        return time.clamp(max=1.0), density[which]

    def observe(self, time: Tensor, integrand: Tensor) -> None:
        """Count (n,) values of the integrand at (n,) times in."""
        value = integrand.detach().to(self.seen)
        which = (time.detach().to(self.seen) * BINS).long().clamp(max=BINS - 1)
        self.seen.index_add_(1, which, torch.stack([torch.ones_like(value), value, value.square()]))

    def learn(self) -> None:
        """Take what was seen since the last call into the moments."""
        number, sums = self.seen[0], self.seen[1:]
        steps = self.moments[0] + (number > 0)
        # The first steps are averaged as if all of them were remembered.
        keep = torch.where(number > 0, torch.clamp(1 - 1 / steps.clamp(min=1), max=MEMORY), torch.ones_like(steps))
        self.moments[1:] = keep * self.moments[1:] + (1 - keep) * sums / number.clamp(min=1e-9)
        self.moments[0] = steps
        self.seen.zero_()
