"""A Gaussian mixture whose components move and whose masses change."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from am.marginals.gaussian import Path, time_derivative


class GaussianMixture:
    r"""q_t = sum_k p_k(t) N(m_k(t), scale^2 I), with p the normalised masses.

    With r_k(x) the share of component k in the density at x, it solves

    .. math:: \partial_t q = -\nabla \cdot (q v) + q g, \quad v = \sum_k r_k m_k', \quad g = \sum_k r_k (\log p_k)'

    Where all components move as one and masses are constant, g = 0 and v is the gradient field that
    Action Matching looks for. Where components stand still and far apart, v = 0 and g / lambda is the
    action of its unbalanced form.

    Parameters
    ----------
    means
        (n,) -> (n, K, d).
    masses
        (n,) -> (n, K), positive; their sum is divided out.
    scale
        Standard deviation of every component, in each coordinate.
    """

    def __init__(self, means: Path, masses: Path, scale: float) -> None:
        self.means, self.masses, self.scale = means, masses, scale
        self.dimension = int(means(torch.zeros(1)).shape[-1])

    def log_share(self, time: Tensor) -> Tensor:
        """Logarithms of the normalised masses: (n,) -> (n, K)."""
        return torch.log_softmax(torch.log(self.masses(time)), -1)

    def log_mass(self, time: Tensor) -> Tensor:
        """Logarithm of the sum of the masses, 0 at t = 0: (n,) -> (n,)."""
        return torch.log(self.masses(time).sum(-1) / self.masses(torch.zeros_like(time)).sum(-1))

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One point of q_t for each entry of ``time``: (n,) -> (n, d)."""
        choice = torch.multinomial(self.log_share(time).exp(), 1, generator=generator)[:, 0]
        shape = (len(time), self.dimension)
        noise = torch.randn(shape, generator=generator, dtype=time.dtype, device=time.device)
        centre = self.means(time)[torch.arange(len(time), device=time.device), choice]
        return centre + self.scale * noise

    def _log_parts(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density of each component times its share, (n, K), and (m_k - x) / scale, (n, K, d)."""
        z = (self.means(time) - x[:, None]) / self.scale
        constant = self.dimension * math.log(self.scale * math.sqrt(2 * math.pi))
        return self.log_share(time) - z.square().sum(-1) / 2 - constant, z

    def log_density(self, time: Tensor, x: Tensor) -> Tensor:
        """Log q_t(x): (n,), (n, d) -> (n,)."""
        return torch.logsumexp(self._log_parts(time, x)[0], -1)

    def responsibilities(self, time: Tensor, x: Tensor) -> Tensor:
        """Share of each component in the density at x: (n,), (n, d) -> (n, K)."""
        return torch.softmax(self._log_parts(time, x)[0], -1)

    def score(self, time: Tensor, x: Tensor) -> Tensor:
        """Gradient of log q_t at x: (n,), (n, d) -> (n, d)."""
        parts, z = self._log_parts(time, x)
        return (torch.softmax(parts, -1)[..., None] * z).sum(1) / self.scale

    def velocity(self, time: Tensor, x: Tensor) -> Tensor:
        """Mean velocity of the components at x: (n,), (n, d) -> (n, d)."""
        return (self.responsibilities(time, x)[..., None] * time_derivative(self.means, time)).sum(1)

    def rate(self, time: Tensor, x: Tensor) -> Tensor:
        """Rate at which mass grows at x, per unit of t: (n,), (n, d) -> (n,)."""
        return (self.responsibilities(time, x) * time_derivative(lambda t: self.masses(t).log(), time)).sum(-1)

    def growth(self, time: Tensor, x: Tensor) -> Tensor:
        """The same, relative to the whole: (n,), (n, d) -> (n,)."""
        return (self.responsibilities(time, x) * time_derivative(self.log_share, time)).sum(-1)
