"""Drift and noise are in units of the data and of the clock."""

from __future__ import annotations

import torch

from am.potentials.neural_sde import NeuralSde
from am.potentials.settings import DiffusionSettings, OTFlowSettings
from am.randomness import generator


def built(rate: float) -> NeuralSde:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NeuralSde(2, OTFlowSettings(width=8), DiffusionSettings(width=8), rate)


X = torch.randn(200, 2, generator=generator("points"))
TIME = torch.linspace(0, 1, 200)


def test_the_drift_goes_down_the_potential_and_keeps_its_graph() -> None:
    network, x = built(1.0), X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network.potential(TIME, x).sum(), x)
    drift = network.drift(TIME, x)
    torch.testing.assert_close(drift, -slope)
    assert drift.requires_grad


def test_both_scale_with_lengths_and_with_the_clock() -> None:
    network = built(1.0)
    network.fit_scale(X)
    drift, sigma = network.drift(TIME, X), network.sigma(TIME, X)
    network.fit_scale(100 * X - 3)
    torch.testing.assert_close(network.drift(TIME, 100 * X - 3), 100 * drift, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(network.sigma(TIME, 100 * X - 3), 100 * sigma, rtol=1e-4, atol=1e-3)
    # A clock of 4 units shows at t / 4 what one of a single unit shows at t, and everything is 4 times as fast.
    faster = built(4.0)
    faster.fit_scale(X)
    torch.testing.assert_close(faster.drift(TIME / 4, X), 4 * drift)
    torch.testing.assert_close(faster.sigma(TIME / 4, X), 2 * sigma)


def test_noise_is_bounded_by_a_spread_per_square_root_of_a_unit_of_time() -> None:
    network = built(4.0)
    network.fit_scale(X)
    with torch.no_grad():
        for parameter in network.diffusion.parameters():
            parameter.mul_(100)
        sigma = network.sigma(TIME, X)
    bound = 2 * float(network.potential.spread)
    assert float(sigma.abs().max()) <= bound * 1.0001
    assert float(sigma.abs().max()) > 0.99 * bound
