"""Log-densities of a chain are those of closed forms, and of scipy's integrator; costs are counted where they arise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from am.dynamics.ode import solve
from am.dynamics.settings import OdeSettings
from am.objectives.likelihood_chain import Carry, likelihood_chain
from am.randomness import generator

FINE = OdeSettings(rtol=1e-9, atol=1e-9)
TIMES, BASE = [0.0, 0.7, 1.9], -1.0
SIZES = (4, 7, 5)

Rates = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Scalar time, (n, d) points -> velocity (n, d), divergence and costs (n, 1 + k)."""


def cells(dimension: int = 2) -> list[Tensor]:
    return [torch.randn(n, dimension, generator=generator("cells", n), dtype=torch.float64) + 0.3 for n in SIZES]


def carried(rates: Rates, width: int) -> Carry:
    def carry(x: Tensor, end: float, begin: float) -> tuple[Tensor, Tensor]:
        state, times = (x, x.new_zeros(len(x), width)), x.new_tensor([end, begin])
        x, integrals = (part[-1] for part in solve(lambda t, s: rates(t, s[0]), state, times, FINE))
        return x, -integrals

    return carry


MATRIX = torch.tensor([[-0.4, 1.0], [-0.7, 0.3]], dtype=torch.float64)
DRIFT = torch.tensor([0.5, -1.0], dtype=torch.float64)


def linear(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    v = x @ MATRIX.T + DRIFT
    return v, torch.stack([MATRIX.trace().expand(len(x)), v.square().sum(-1) / 2], -1)


def test_a_linear_flow_gives_each_snapshot_the_density_of_its_gaussian() -> None:
    told = likelihood_chain(cells(), TIMES, BASE, carried(linear, 2))
    for time, x, found in zip(TIMES, cells(), told.log_likelihood, strict=True):
        flow = torch.matrix_exp(MATRIX * (time - BASE))
        mean = torch.linalg.solve(MATRIX, (flow - torch.eye(2)) @ DRIFT)
        known = torch.distributions.MultivariateNormal(mean, flow @ flow.T)
        assert float(found) == pytest.approx(float(known.log_prob(x).mean()), abs=1e-6)
    assert float(told.log_likelihood.std()) > 0.1


def test_the_kinetic_energy_of_a_translation_is_that_of_its_speed_for_as_long_as_it_lasts() -> None:
    def translation(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return DRIFT.expand_as(x), torch.stack([x.new_zeros(len(x)), DRIFT.square().sum().expand(len(x)) / 2], -1)

    told = likelihood_chain(cells(), TIMES, BASE, carried(translation, 2))
    torch.testing.assert_close(told.costs[:, 0], torch.tensor([0.625 * 0.7, 0.625 * 1.2], dtype=torch.float64))


def test_costs_are_those_of_all_points_that_pass_an_interval() -> None:
    """Each cell is counted in each interval before it, and none in the way to the Gaussian."""

    def named(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x), torch.stack([x.new_zeros(len(x)), x[:, 0]], -1)

    first, second, third = cells()
    told = likelihood_chain([first, second, third], TIMES, BASE, carried(named, 2))
    late = 1.2 * third[:, 0].mean()
    early = 0.7 * torch.cat([second, third])[:, 0].mean()
    torch.testing.assert_close(told.costs[:, 0], torch.stack([early, late]))


def wavy(time: float, x: np.ndarray) -> np.ndarray:
    """Nonlinear, and no gradient."""
    second = 0.5 * np.cos(x[0]) * np.cos(3 * time) - 0.2 * x[1] ** 2 * np.tanh(x[1])
    return np.array([np.sin(1.5 * x[1] + time), second])


def test_a_nonlinear_flow_gives_the_density_that_scipy_finds_from_the_map_itself() -> None:
    """|det| of the slope of the map back, by differences between neighbouring starts: no divergence is asked for."""

    def rates(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        y, t = x[:, 1], torch.tanh(x[:, 1])
        v = torch.stack(
            [torch.sin(1.5 * y + time), 0.5 * torch.cos(x[:, 0]) * torch.cos(3 * time) - 0.2 * y**2 * t], -1
        )
        return v, (-0.2 * (2 * y * t + y**2 * (1 - t**2)))[:, None]

    def back(x: np.ndarray, time: float) -> np.ndarray:
        return solve_ivp(wavy, (time, BASE), x, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]

    told, h = likelihood_chain(cells(), TIMES, BASE, carried(rates, 1)), 1e-4
    for time, x, found in zip(TIMES, cells(), told.log_likelihood, strict=True):
        known = []
        for point in x.numpy():
            z = back(point, time)
            slope = np.stack([(back(point + e, time) - back(point - e, time)) / (2 * h) for e in h * np.eye(2)])
            known.append(-(z @ z) / 2 - math.log(2 * math.pi) + np.linalg.slogdet(slope)[1])
        assert float(found) == pytest.approx(np.mean(known), abs=1e-5)
    assert told.costs.shape == (2, 0)


def test_the_gradient_of_the_likelihood_comes_back_through_the_solver() -> None:
    """Of N(0, exp(2 a s)) with s since the base, d/da of the mean log-density is s (mean x^2 exp(-2 a s) - 1)."""
    rate = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x = [part[:, :1] for part in cells()]
    told = likelihood_chain(x, TIMES, BASE, carried(lambda t, y: (rate * y, rate.expand(len(y), 1)), 1))
    (gradient,) = torch.autograd.grad(told.log_likelihood.sum(), rate)
    since = [time - BASE for time in TIMES]
    known = sum(s * (part.square().mean() * math.exp(-0.6 * s) - 1) for s, part in zip(since, x, strict=True))
    assert float(gradient) == pytest.approx(float(known), abs=1e-6)
