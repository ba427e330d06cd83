"""Weighted particles: known growth, and a mixture whose masses change."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from am.dynamics.ode import integrate
from am.dynamics.settings import OdeSettings
from am.dynamics.weighted import effective_sample_size, integrate_weighted, self_normalised
from am.marginals.mixture import GaussianMixture

FINE = OdeSettings(rtol=1e-8, atol=1e-8)
TIMES = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)


def points(n: int = 30) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_known_growth_along_known_motion() -> None:
    """dx = x dt and d log w = x_1 dt: log w = x_1(0) (exp(t) - 1)."""
    start = points()
    path = integrate_weighted(lambda t, x: (x, x[:, 0]), start, TIMES, FINE)
    factor = torch.exp(TIMES)[:, None]
    torch.testing.assert_close(path.x, start * factor[..., None], rtol=1e-6, atol=1e-6)
    assert path.log_weight is not None
    torch.testing.assert_close(path.log_weight, start[:, 0] * (factor - 1), rtol=1e-6, atol=1e-6)


def test_growth_that_depends_on_time_adds_to_the_weights_given() -> None:
    start, first = points(), torch.linspace(-1, 1, 30, dtype=torch.float64)
    path = integrate_weighted(lambda t, x: (0 * x, torch.cos(t)), start, TIMES, FINE, first)
    assert path.log_weight is not None
    torch.testing.assert_close(path.log_weight, first + torch.sin(TIMES)[:, None], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(path.x, start.expand(3, 30, 2))


def test_positions_are_those_of_the_plain_dynamics() -> None:
    start = points()
    weighted = integrate_weighted(lambda t, x: (-x * t[:, None], x[:, 0]), start, TIMES, FINE)
    plain = integrate(lambda t, x: -x * t[:, None], start, TIMES, FINE)
    torch.testing.assert_close(weighted.x, plain.x, rtol=1e-6, atol=1e-6)
    assert weighted.nfe > 6


def test_weighted_particles_follow_a_mixture_whose_masses_change() -> None:
    path = GaussianMixture(
        lambda t: torch.stack([torch.stack([-1 - t, t], -1), torch.stack([1 + t, -t], -1)], 1),
        lambda t: torch.stack([torch.exp(2 * t), 2 * torch.ones_like(t)], -1),
        scale=0.6,
    )
    generator = torch.Generator().manual_seed(0)
    n = 20_000
    start = path.sample(torch.zeros(n, dtype=torch.float64), generator)
    moved = integrate_weighted(lambda t, x: (path.velocity(t, x), path.growth(t, x)), start, TIMES, OdeSettings())
    assert moved.log_weight is not None
    for time, x, log_weight in zip(TIMES, moved.x, moved.log_weight, strict=True):
        weight = self_normalised(log_weight).exp()
        fresh = path.sample(time.expand(n), generator)
        for test in (lambda y: y, lambda y: y.square(), torch.sigmoid):
            ours, theirs = weight[:, None] * test(x), test(fresh)
            error = torch.sqrt((ours.var(0) + theirs.var(0)) / n)
            assert bool(((ours.mean(0) - theirs.mean(0)).abs() < 4 * error).all())
    # The growth is such that weights matter.
    unweighted = moved.x[-1].mean(0) - path.sample(torch.ones(n, dtype=torch.float64), generator).mean(0)
    assert float(unweighted.abs().max()) > 0.2


LOG_WEIGHTS = st.lists(st.floats(-700, 700), min_size=1, max_size=40)


@given(LOG_WEIGHTS)
def test_self_normalised_weights_have_mean_one(log_weights: list[float]) -> None:
    weights = self_normalised(torch.tensor(log_weights, dtype=torch.float64)).exp()
    assert float(weights.mean()) == pytest.approx(1, rel=1e-11)


@given(LOG_WEIGHTS, st.floats(-500, 500))
def test_effective_sample_size_lies_between_one_and_n_and_ignores_scale(log_weights: list[float], shift: float) -> None:
    log_weight = torch.tensor(log_weights, dtype=torch.float64)
    size = float(effective_sample_size(log_weight))
    assert 1 - 1e-9 <= size <= len(log_weights) * (1 + 1e-9)
    assert float(effective_sample_size(log_weight + shift)) == pytest.approx(size, rel=1e-8)


def test_effective_sample_size_of_known_weights() -> None:
    batch = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1e-30, 1e-30, 1e-30], [3.0, 1.0, 1e-30, 1e-30]]).log()
    torch.testing.assert_close(effective_sample_size(batch), torch.tensor([4.0, 1.0, 1.6]))
    normalised = self_normalised(batch)
    assert normalised.shape == batch.shape
    torch.testing.assert_close(normalised.exp().mean(-1), torch.ones(3))


def test_errors_are_clear() -> None:
    with pytest.raises(ValueError, match="at least two increasing numbers"):
        integrate_weighted(lambda t, x: (x, x[:, 0]), points(), TIMES.flip(0), FINE)
    for method in ("dopri5", "rk4"):
        with pytest.raises(ValueError, match="diverges"):
            integrate_weighted(lambda t, x: (0 * x, math.inf * t), points(), TIMES, OdeSettings(method=method))
