"""Particles that multiply, against what is known of Brownian motion under a linear rate."""

from __future__ import annotations

import pytest
import torch

from am.marginals.branching import BranchingDiffusion
from am.randomness import generator

RATE, SPREAD, SIGMA = 1.5, 0.5, 1.0


@pytest.fixture(scope="module")
def path() -> BranchingDiffusion:
    """dx = sigma dW, multiplying at a x: Gaussian, tilted towards large x."""
    return BranchingDiffusion(
        torch.zeros_like,
        lambda x: RATE * x[:, 0],
        SIGMA,
        lambda n, rng: SPREAD * torch.randn(n, 1, generator=rng),
        particles=20_000,
        steps=100,
        generator=generator("particles"),
    )


def mean(time: float) -> float:
    return RATE * (SPREAD**2 * time + SIGMA**2 * time**2 / 2)


@pytest.mark.parametrize("time", [0.0, 0.005, 0.3, 0.995, 1.0])
def test_marginals_are_tilted_gaussians(path: BranchingDiffusion, time: float) -> None:
    x = path.sample(torch.full((40_000,), time), generator("draw"))[:, 0]
    assert float(x.mean()) == pytest.approx(mean(time), abs=0.04)  # of 20,000 weighted particles
    assert float(x.var()) == pytest.approx(SPREAD**2 + SIGMA**2 * time, rel=0.06)


@pytest.mark.parametrize("time", [0.0, 0.5, 1.0])
def test_mass_and_growth_are_known(path: BranchingDiffusion, time: float) -> None:
    t = torch.full((3,), time)
    log_mass = RATE**2 * (SPREAD**2 * time**2 / 2 + SIGMA**2 * time**3 / 6)
    assert float(path.log_mass(t)[0]) == pytest.approx(log_mass, abs=0.03)
    x = torch.tensor([[-1.0], [0.0], [2.0]])
    torch.testing.assert_close(path.growth(t, x), RATE * (x[:, 0] - mean(time)), rtol=0, atol=0.06)


def test_no_two_points_are_equal_and_each_has_its_own_time(path: BranchingDiffusion) -> None:
    time = torch.tensor([0.0, 1.0]).repeat(5000)
    x = path.sample(time, generator("mixed"))
    assert len(x.unique()) == len(x)
    assert float(x[::2].mean()) == pytest.approx(0, abs=0.03)
    assert float(x[1::2].mean()) == pytest.approx(mean(1), abs=0.06)
