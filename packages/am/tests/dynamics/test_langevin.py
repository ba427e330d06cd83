"""Annealed Langevin dynamics against the recursion that it is for Gaussians."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from am.dynamics.langevin import anneal
from am.dynamics.settings import LangevinSettings
from am.marginals.gaussian import Gaussian

TIMES = torch.tensor([0.0, 1.0], dtype=torch.float64)
SCALE = 1.5


def static_score(time: Tensor, x: Tensor) -> Tensor:
    return -x / SCALE**2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_a_static_gaussian_is_sampled_up_to_the_known_bias(epsilon: float) -> None:
    n = 20_000
    settings = LangevinSettings(time_steps=int(30 / epsilon) + 10, langevin_steps=2, step_size=epsilon)
    start = SCALE * torch.randn(n, 2, generator=generator(7), dtype=torch.float64)
    x = anneal(static_score, start, TIMES, settings, generator()).x[-1]
    variance = SCALE**2 / (1 - epsilon / (4 * SCALE**2))
    assert float(x.square().mean()) == pytest.approx(variance, rel=4 * math.sqrt(2 / (2 * n)))
    assert stats.kstest(x.reshape(-1).numpy() / math.sqrt(variance), "norm").pvalue > 1e-3
    if epsilon > 0.5:  # the bias is real, and seen
        assert abs(float(x.square().mean()) - SCALE**2) > 8 * SCALE**2 * math.sqrt(2 / (2 * n))


def test_each_step_is_the_stated_recursion() -> None:
    # x -> (1 - epsilon / 2 s^2) x + sqrt(epsilon) noise from a point: mean and variance after k steps.
    epsilon, steps, n = 0.5, 6, 100_000
    settings = LangevinSettings(time_steps=3, langevin_steps=2, step_size=epsilon)
    x = anneal(static_score, torch.full((n, 1), 4.0, dtype=torch.float64), TIMES, settings, generator()).x[-1]
    a = 1 - epsilon / (2 * SCALE**2)
    variance = epsilon * (1 - a ** (2 * steps)) / (1 - a**2)
    assert float(x.mean()) == pytest.approx(4 * a**steps, abs=4 * math.sqrt(variance / n))
    assert float(x.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / n))


def test_particles_follow_a_moving_gaussian() -> None:
    """After many steps at each time they lag by the recursion's own, known, amount."""
    path = Gaussian(lambda t: 3 * t[:, None], lambda t: torch.ones_like(t)[:, None])
    settings = LangevinSettings(time_steps=200, langevin_steps=10, step_size=0.2)
    n = 20_000
    start = path.sample(torch.zeros(n, dtype=torch.float64), generator(3))
    x = anneal(path.score, start, TIMES, settings, generator()).x[-1]
    a = (1 - 0.1) ** 10
    # m <- a m + (1 - a) target, targets 3 i / 200: the lag tends to 3 / 200 a / (1 - a).
    lag = 3 / 200 * a / (1 - a) * (1 - a**200)
    variance = 1 / (1 - 0.05)
    assert float(x.mean()) == pytest.approx(3 - lag, abs=4 * math.sqrt(variance / n))
    assert float(x.var()) == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outputs", [2, 11])
def test_evaluations_are_time_steps_times_langevin_steps(outputs: int, dtype: torch.dtype) -> None:
    seen = []

    def watched(time: Tensor, x: Tensor) -> Tensor:
        seen.append(float(time[0]))
        return -x

    settings = LangevinSettings(time_steps=1000, langevin_steps=5, step_size=0.1)
    times = torch.linspace(0, 1, outputs, dtype=dtype)
    path = anneal(watched, torch.zeros(3, 2, dtype=dtype), times, settings, generator())
    assert path.nfe == len(seen) == 5000
    assert path.x.shape == (outputs, 3, 2)
    assert path.x.dtype == dtype
    # Time moves on first: five evaluations at each of 1/1000, 2/1000 ... 1.
    grid = torch.tensor(seen).reshape(1000, 5)
    torch.testing.assert_close(grid, (torch.arange(1, 1001) / 1000)[:, None].expand(1000, 5))


def test_a_quarter_of_the_time_takes_a_quarter_of_the_steps() -> None:
    settings = LangevinSettings(time_steps=100, langevin_steps=3)
    path = anneal(static_score, torch.zeros(3, 2), torch.tensor([0.0, 0.25]), settings, generator())
    assert path.nfe == 75


def test_the_generator_decides() -> None:
    settings = LangevinSettings(time_steps=4)
    runs = [
        anneal(static_score, torch.zeros(3, 2), torch.tensor([0.0, 1.0]), settings, generator(s)).x for s in (0, 0, 1)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0][-1], runs[2][-1])
    assert torch.equal(runs[0][0], torch.zeros(3, 2))


def test_errors_are_clear() -> None:
    with pytest.raises(ValueError, match="at least two increasing numbers"):
        anneal(static_score, torch.zeros(3, 2), torch.tensor([0.5]), LangevinSettings(), generator())
    with pytest.raises(ValueError, match="diverges"):
        # The step is unstable above epsilon = 4 s^2.
        anneal(
            static_score,
            torch.ones(3, 2),
            torch.tensor([0.0, 1.0]),
            LangevinSettings(time_steps=500, step_size=30.0),
            generator(),
        )


def test_many_particles_are_asked_about_in_parts_and_counted_once() -> None:
    """Parts change neither the positions nor the count of evaluations, which is over all particles."""
    parts = []

    def watched(time: Tensor, x: Tensor) -> Tensor:
        parts.append(len(x))
        assert time.shape == (len(x),)
        return -x

    settings = LangevinSettings(time_steps=2, langevin_steps=3, step_size=0.1)
    start = torch.randn(2300, 2, generator=generator(1), dtype=torch.float64)
    path = anneal(watched, start, TIMES, settings, generator())
    assert path.nfe == 6
    assert max(parts) <= 1000 < sum(parts) == 6 * 2300
    x, noise = start, generator()
    for _ in range(6):
        x = 0.95 * x + math.sqrt(0.1) * torch.randn(x.shape, generator=noise, dtype=x.dtype)
    torch.testing.assert_close(path.x[-1], x)
