"""Gaussian paths whose optimal actions are known, and points that integrate polynomials over them exactly.

A loss is a mean over points of a path. Gauss-Legendre times and Gauss-Hermite points turn that mean into
the exact expectation: each point's quadrature weight is handed over as the inverse of a time density. So the
tests compare numbers to within rounding, not to within a statistical error; ``test_action_matching.py`` adds random
draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn

from am.marginals.gaussian import Gaussian
from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.potential import Potential

Function = Callable[[Tensor, Tensor], Tensor]
FEATURES: tuple[Function, ...] = (
    lambda t, x: x[:, 0],
    lambda t, x: t * x[:, 1],
    lambda t, x: x.square().sum(-1) / 2,
    lambda t, x: (1 + t**2) * x[:, 0] * x[:, 1],
    lambda t, x: torch.cos(3 * t) * x[:, 1].square(),
)


class Action(Potential):
    """A known action plus a combination of quadratic ones, with parameters that are zero at first."""

    def __init__(self, known: Function) -> None:
        super().__init__()
        self.known = known
        self.parameter = nn.Parameter(torch.zeros(len(FEATURES), dtype=torch.float64))

    def change(self, time: Tensor, x: Tensor) -> Tensor:
        return torch.stack([feature(time, x) for feature in FEATURES], -1) @ self.parameter

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        return self.known(time, x) + self.change(time, x)

    def perturbed(self, size: float = 0.5) -> Action:
        other = Action(self.known)
        with torch.no_grad():
            other.parameter.copy_(size * torch.tensor([1.0, -0.6, 0.4, 0.3, -0.2]))
        return other


@dataclass(frozen=True)
class Path:
    """A path, the action that moves it, and the mean square of its velocity, E |grad s|^2, at each t."""

    marginals: Gaussian
    action: Function
    square_velocity: Callable[[float], float]

    def nodes(self, order: int = 6) -> PathSample:
        """Exact for polynomials of x up to degree 2 order - 1; at t = 0 and 1, up to degree 3."""
        (t, wt), (z, wz) = np.polynomial.legendre.leggauss(20), np.polynomial.hermite_e.hermegauss(order)
        grid = [a.reshape(-1) for a in np.meshgrid((1 + t) / 2, z, z, indexing="ij")]
        weight = np.einsum("i,j,k->ijk", wt / 2, wz, wz).reshape(-1) / (2 * np.pi)
        time, noise = torch.from_numpy(grid[0]), torch.from_numpy(np.stack(grid[1:], -1))
        corners = math.sqrt(2) * torch.cat([torch.eye(2), -torch.eye(2)]).double()
        return PathSample(
            time,
            self.at(time, noise),
            self.at(torch.zeros(4).double(), corners),
            self.at(torch.ones(4).double(), corners),
            torch.from_numpy(1 / (len(weight) * weight)),
        )

    def at(self, time: Tensor, noise: Tensor) -> Tensor:
        return self.marginals.mean(time) + self.marginals.scale(time) * noise


PATHS = {
    "translation": Path(
        Gaussian(lambda t: torch.stack([1.5 * t, 1 - 0.5 * t], -1), lambda t: 0.8 * torch.ones_like(t)[:, None]),
        lambda t, x: 1.5 * x[:, 0] - 0.5 * x[:, 1],
        lambda t: 2.5,
    ),
    "scaling": Path(
        Gaussian(lambda t: torch.stack([t, t], -1) * 0, lambda t: (0.5 + t)[:, None]),
        lambda t, x: x.square().sum(-1) / (1 + 2 * t),
        lambda t: 2.0,
    ),
    "both": Path(
        Gaussian(lambda t: torch.stack([torch.cos(t), t**2], -1), lambda t: torch.stack([torch.exp(-t), 1 + t], -1)),
        lambda t, x: (
            (2 * t * x[:, 1] - torch.sin(t) * x[:, 0])
            - (x[:, 0] - torch.cos(t)) ** 2 / 2
            + (x[:, 1] - t**2) ** 2 / (2 + 2 * t)
        ),
        lambda t: math.sin(t) ** 2 + 4 * t**2 + math.exp(-2 * t) + 1,
    ),
}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Path:
    return PATHS[request.param]


@pytest.fixture
def paths() -> dict[str, Path]:
    return PATHS


ANY_WEIGHT = {**WEIGHTS, "rising": TimeWeight(lambda t: 0.5 + t**2, lambda t: 2 * t)}


@pytest.fixture(params=ANY_WEIGHT)
def weight(request: pytest.FixtureRequest) -> TimeWeight:
    return ANY_WEIGHT[request.param]


@pytest.fixture
def action() -> type[Action]:
    return Action


@pytest.fixture
def integral() -> Callable[[TimeWeight, Callable[[float], float]], float]:
    """int_0^1 w(t) f(t) dt."""

    def integrate(weight: TimeWeight, function: Callable[[float], float]) -> float:
        return quad(lambda t: float(weight.value(torch.tensor(t, dtype=torch.float64))) * function(t), 0, 1)[0]

    return integrate


@pytest.fixture
def half_square_gradient() -> Callable[[Function, PathSample, TimeWeight], float]:
    """1/2 int w(t) E |grad f|^2 dt."""

    def mean(function: Function, sample: PathSample, weight: TimeWeight) -> float:
        x = sample.x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(sample.time, x).sum(), x)
        return float(sample.mean(weight.value(sample.time) * gradient.square().sum(-1) / 2))

    return mean
