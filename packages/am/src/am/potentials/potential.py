"""What an action s_t(x) is: a scalar network with its derivatives in time and space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Derivatives(NamedTuple):
    """An action and its first derivatives at n points."""

    value: Tensor
    """(n,) s_t(x)."""
    time: Tensor
    """(n,) ds/dt."""
    space: Tensor
    """(n, d) grad_x s."""


class Potential(nn.Module, ABC):
    """An action s_t(x), defined up to a function of time."""

    @abstractmethod
    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients, themselves differentiable (when gradients are enabled).

        This form works for every network; a potential that knows its own pullback overrides it.
        """
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            time = time if time.requires_grad else time.detach().requires_grad_()
            x = x if x.requires_grad else x.detach().requires_grad_()
            value = self(time, x)
            ds_dt, ds_dx = torch.autograd.grad(
                value.sum(), (time, x), create_graph=differentiable, materialize_grads=True
            )
        return Derivatives(value if differentiable else value.detach(), ds_dt, ds_dx)

    def space(self, time: Tensor, x: Tensor) -> Tensor:
        """Velocity field grad s_t(x), differentiable in the weights: (n,), (n, d) -> (n, d)."""
        return self.derivatives(time, x).space

    def gradient(self, time: Tensor, x: Tensor) -> Tensor:
        """Velocity field grad s_t(x), detached: (n,), (n, d) -> (n, d)."""
        with torch.no_grad():
            return self.space(time, x)

    def reversed(self) -> Potential:
        """The action of the path run backwards, where there is no noise."""
        return ReversedPotential(self)


class ReversedPotential(Potential):
    """The action of the path run backwards, -s_{1 - t}(x), for velocities and growth rates without noise."""

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """-s_{1 - t}(x): (n,), (n, d) -> (n,)."""
        return -self.potential(1 - time, x)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients through those of the action."""
        value, ds_dt, ds_dx = self.potential.derivatives(1 - time, x)
        return Derivatives(-value, ds_dt, -ds_dx)
