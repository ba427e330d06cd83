"""A Gaussian that moves and changes its size: a path on which every answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Path = Callable[[Tensor], Tensor]
"""A differentiable function of time: (n,) -> (n, ...)."""


def time_derivative(path: Path, time: Tensor) -> Tensor:
    """Slope of ``path`` at each entry of ``time``, row by row: (n,) -> (n, ...), detached."""
    with torch.enable_grad():
        time = time.detach().clone().requires_grad_()
        value = path(time)
        if not value.requires_grad:
            return torch.zeros_like(value)
        # A vector-Jacobian product is linear in its vector; its own gradient there is the product wanted.
        vector = torch.zeros_like(value, requires_grad=True)
        (product,) = torch.autograd.grad(value, time, vector, create_graph=True)
        return torch.autograd.grad(product.sum(), vector)[0]


class Gaussian:
    r"""q_t = N(m(t), diag s(t)^2).

    The gradient field that moves it, which Action Matching looks for, is m'(t) + s'(t) / s(t) (x - m(t)):
    constant in x for a translation, linear for a scaling. It is the field of least kinetic energy (Benamou
    and Brenier 2000).

    Parameters
    ----------
    mean
        (n,) -> (n, d).
    scale
        (n,) -> (n, d) standard deviations of the coordinates, or (n, 1) for one of all.
    """

    def __init__(self, mean: Path, scale: Path) -> None:
        self.mean, self.scale = mean, scale
        self.dimension = int(mean(torch.zeros(1)).shape[-1])

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One point of q_t for each entry of ``time``: (n,) -> (n, d)."""
        shape = (len(time), self.dimension)
        noise = torch.randn(shape, generator=generator, dtype=time.dtype, device=time.device)
        return self.mean(time) + self.scale(time) * noise

    def _standardised(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.scale(time).expand_as(x)
        return (x - self.mean(time)) / scale, scale

    def log_density(self, time: Tensor, x: Tensor) -> Tensor:
        """Log q_t(x): (n,), (n, d) -> (n,)."""
        z, scale = self._standardised(time, x)
        return -(z.square() / 2 + torch.log(scale) + math.log(2 * math.pi) / 2).sum(-1)

    def score(self, time: Tensor, x: Tensor) -> Tensor:
        """Gradient of log q_t at x: (n,), (n, d) -> (n, d)."""
        z, scale = self._standardised(time, x)
        return -z / scale

    def velocity(self, time: Tensor, x: Tensor) -> Tensor:
        """The gradient field that moves q_t, per unit of t: (n,), (n, d) -> (n, d)."""
        z, _ = self._standardised(time, x)
        return time_derivative(self.mean, time) + time_derivative(self.scale, time) * z
