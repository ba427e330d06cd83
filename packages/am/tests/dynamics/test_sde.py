"""Stochastic dynamics against the Ornstein-Uhlenbeck process, whose law is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from am.dynamics.sde import diffuse, simulate
from am.dynamics.settings import SdeSettings

RATE, SIGMA = 2.0, 0.8
TIMES = torch.tensor([0.0, 1.0], dtype=torch.float64)


def relaxation(time: Tensor, x: Tensor) -> Tensor:
    return -RATE * x


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coupled(method: str, steps: int, n: int = 20_000) -> tuple[Tensor, Tensor]:
    """The scheme and the exact process at t = 1, driven by the same Brownian motion.

    Without a drift the same generator shows the Brownian increments. Given an increment dW over h, the exact
    noise int exp(-RATE (h - s)) dW_s is normal with mean dW (1 - exp(-RATE h)) / (RATE h).
    """
    start = torch.full((n, 1), 1.5, dtype=torch.float64)
    settings, grid = SdeSettings(method=method, steps=steps), torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    scheme = simulate(relaxation, SIGMA, start, TIMES, settings, generator()).x[-1]
    brownian = simulate(lambda t, x: torch.zeros_like(x), 1.0, torch.zeros_like(start), grid, settings, generator()).x
    h, other = 1 / steps, generator(99)
    decay = math.exp(-RATE * h)
    share = (1 - decay) / (RATE * h)
    rest = math.sqrt((1 - decay**2) / (2 * RATE) - share**2 * h)
    exact = start
    for increment in brownian.diff(dim=0):
        fresh = torch.randn(start.shape, generator=other, dtype=torch.float64)
        exact = decay * exact + SIGMA * (share * increment + rest * fresh)
    return scheme, exact


def test_euler_has_strong_order_one_for_additive_noise() -> None:
    errors = []
    for steps in (16, 32, 64, 128):
        scheme, exact = coupled("euler", steps)
        errors.append(float((scheme - exact).abs().mean()))
    rates = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(0.85 < rate < 1.25 for rate in rates)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_weak_order_in_mean_and_variance(method: str, order: int) -> None:
    # Coupling removes most of the sampling error from the differences of moments.
    means, variances = [], []
    for steps in (4, 8, 16):
        scheme, exact = coupled(method, steps, n=200_000)
        means.append(abs(float((scheme - exact).mean())))
        variances.append(abs(float(scheme.var() - exact.var())))
    assert math.log2(means[0] / means[-1]) / 2 == pytest.approx(order, abs=0.4)
    assert math.log2(variances[0] / variances[-1]) / 2 == pytest.approx(order, abs=0.5)


def test_heun_is_closer_than_euler_in_mean_and_variance() -> None:
    mean, variance = 1.5 * math.exp(-RATE), SIGMA**2 / (2 * RATE) * (1 - math.exp(-2 * RATE))
    errors = {}
    for method in ("euler", "heun"):
        start = torch.full((200_000, 1), 1.5, dtype=torch.float64)
        x = simulate(relaxation, SIGMA, start, TIMES, SdeSettings(method=method, steps=10), generator(1)).x[-1]
        errors[method] = abs(float(x.mean()) - mean), abs(float(x.var()) - variance)
    assert errors["heun"][0] < errors["euler"][0] / 3
    assert errors["heun"][1] < errors["euler"][1] / 3


def test_heun_is_of_second_order_in_time_too() -> None:
    start = torch.zeros(1, 1, dtype=torch.float64)
    errors = []
    for steps in (10, 20):
        settings = SdeSettings(method="heun", steps=steps)
        x = simulate(lambda t, x: torch.cos(3 * t)[:, None], 0.0, start, TIMES, settings, generator()).x[-1]
        errors.append(abs(float(x) - math.sin(3) / 3))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_stationary_moments(method: str) -> None:
    # The fixed points of the schemes' recursions x -> a x + b noise: variance b^2 / (1 - a^2).
    h = 1 / 20
    z = RATE * h
    a, b = {
        "euler": (1 - z, SIGMA * math.sqrt(h)),
        "heun": (1 - z + z**2 / 2, SIGMA * math.sqrt(h) * (1 - z / 2)),
    }[method]
    discrete, continuous = b**2 / (1 - a**2), SIGMA**2 / (2 * RATE)
    n = 40_000
    start = math.sqrt(continuous) * torch.randn(n, 2, generator=generator(5), dtype=torch.float64)
    times = torch.linspace(0, 3, 4, dtype=torch.float64)
    path = simulate(relaxation, SIGMA, start, times, SdeSettings(method=method, steps=20), generator(3))
    error = math.sqrt(2 / (2 * n))
    assert float(path.x[-1].square().mean()) == pytest.approx(discrete, rel=4 * error)
    assert abs(float(path.x[-1].mean())) < 4 * math.sqrt(discrete / (2 * n))
    if method == "heun":
        assert discrete == pytest.approx(continuous, rel=4e-3)


def test_brownian_motion_has_independent_increments_of_the_right_size() -> None:
    times = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    start = torch.zeros(50_000, 2, dtype=torch.float64)
    path = simulate(lambda t, x: torch.zeros_like(x), SIGMA, start, times, SdeSettings(steps=8), generator())
    first, second = path.x.diff(dim=0)
    for increment, span in ((first, 0.25), (second, 0.75)):
        assert float(increment.var()) == pytest.approx(SIGMA**2 * span, rel=4 * math.sqrt(2 / 100_000))
    correlation = torch.corrcoef(torch.stack([first[:, 0], second[:, 0], first[:, 1], second[:, 1]]))
    assert float((correlation - torch.eye(4)).abs().max()) < 4 / math.sqrt(50_000)


@pytest.mark.parametrize(("method", "stages"), [("euler", 1), ("heun", 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evaluations_are_counted(method: str, stages: int, dtype: torch.dtype) -> None:
    seen = []

    def watched(time: Tensor, x: Tensor) -> Tensor:
        seen.append(float(time[0]))
        return -x

    times = torch.linspace(0, 1, 11, dtype=dtype)
    path = simulate(
        watched, 1.0, torch.zeros(3, 2, dtype=dtype), times, SdeSettings(method=method, steps=200), generator()
    )
    assert path.nfe == len(seen) == 200 * stages
    assert path.x.shape == (11, 3, 2)
    assert path.x.dtype == dtype
    assert min(seen) == 0
    assert max(seen) == pytest.approx(1 if method == "heun" else 1 - 1 / 200, abs=1e-6)


def test_without_noise_the_noise_draws_do_not_matter_and_with_it_the_generator_decides() -> None:
    start = torch.ones(4, 2)
    times = torch.tensor([0.0, 1.0])
    quiet = [simulate(relaxation, 0.0, start, times, SdeSettings(), generator(seed)).x for seed in (0, 1)]
    assert torch.equal(*quiet)
    loud = [simulate(relaxation, 1.0, start, times, SdeSettings(), generator(seed)).x for seed in (0, 0, 1)]
    assert torch.equal(loud[0], loud[1])
    assert not torch.equal(loud[0], loud[2])


def test_errors_are_clear() -> None:
    start = torch.ones(4, 2)
    with pytest.raises(ValueError, match="at least two increasing numbers"):
        simulate(relaxation, 1.0, start, torch.tensor([1.0, 0.5]), SdeSettings(), generator())
    with pytest.raises(ValueError, match="diverges"):
        simulate(lambda t, x: x**3, 1.0, 10 * start, torch.tensor([0.0, 1.0]), SdeSettings(), generator())


RATES = torch.tensor([2.0, 0.5], dtype=torch.float64)
STRENGTHS = torch.tensor([0.8, -0.3], dtype=torch.float64)


def test_each_coordinate_has_noise_of_its_own_strength() -> None:
    """An Ornstein-Uhlenbeck process in each: mean x exp(-a t), variance s^2 (1 - exp(-2 a t)) / (2 a)."""
    n, start = 40_000, torch.tensor([1.5, -2.0], dtype=torch.float64)
    times = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    path = diffuse(
        lambda t, x: -RATES * x, lambda t, x: STRENGTHS.expand_as(x), start.expand(n, 2), times, 200, generator()
    )
    assert path.nfe == 150
    for time, x in zip((times - times[0])[1:], path.x[1:], strict=True):
        variance = STRENGTHS**2 * (1 - (-2 * RATES * time).exp()) / (2 * RATES)
        bias = 2e-2 * variance  # of the step, and three standard errors of a variance
        assert bool(((x.var(0) - variance).abs() < bias + 3 * variance * math.sqrt(2 / n)).all())
        error = (x.mean(0) - start * (-RATES * time).exp()).abs()
        assert bool((error < 5e-3 * start.abs() + 3 * (variance / n).sqrt()).all())


def test_noise_that_depends_on_the_place_is_taken_in_the_sense_of_ito() -> None:
    """dx = s x dW keeps its mean, (Stratonovich's would grow), and its second moment grows as exp(s^2 t)."""
    n, s = 200_000, 0.5
    start = torch.ones(n, 1, dtype=torch.float64)
    x = diffuse(lambda t, x: 0 * x, lambda t, x: s * x, start, TIMES, 50, generator()).x[-1]
    assert float(x.mean()) == pytest.approx(1, abs=4 * math.sqrt((math.exp(s**2) - 1) / n))
    assert math.exp(s**2 / 2) - 1 > 0.1
    assert float(x.square().mean()) == pytest.approx(math.exp(s**2), rel=0.02)


def test_both_fields_are_asked_when_the_step_begins() -> None:
    asked: dict[str, list[float]] = {"drift": [], "sigma": []}

    def field(name: str, time: Tensor, x: Tensor) -> Tensor:
        assert time.shape == (3,)
        asked[name].append(float(time[0]))
        return torch.ones_like(x)

    diffuse(
        lambda t, x: field("drift", t, x),
        lambda t, x: field("sigma", t, x),
        torch.zeros(3, 2),
        torch.tensor([0.5, 0.75, 1.0]),
        8,
        generator(),
    )
    assert asked["drift"] == asked["sigma"] == [0.5, 0.625, 0.75, 0.875]


def test_constant_noise_is_what_simulate_makes() -> None:
    start, times = torch.randn(5, 2, generator=generator(3)), torch.linspace(0, 1, 3)
    ours = diffuse(relaxation, lambda t, x: torch.full_like(x, SIGMA), start, times, 20, generator())
    theirs = simulate(relaxation, SIGMA, start, times, SdeSettings(steps=20), generator())
    torch.testing.assert_close(ours.x, theirs.x)
    assert ours.nfe == theirs.nfe


def test_the_end_can_be_differentiated_in_start_drift_and_noise() -> None:
    numbers = torch.tensor([2.0, 0.8, 1.5], dtype=torch.float64, requires_grad=True)

    def end(values: Tensor) -> Tensor:
        rate, sigma, start = values
        x = start.expand(20, 1)
        return (
            diffuse(lambda t, x: -rate * x.sin(), lambda t, x: sigma * x.cos(), x, TIMES, 20, generator()).x[-1].sum()
        )

    (gradient,) = torch.autograd.grad(end(numbers), numbers)
    for i, step in enumerate(1e-5 * torch.eye(3, dtype=torch.float64)):
        slope = (end(numbers + step) - end(numbers - step)) / 2e-5
        assert float(gradient[i]) == pytest.approx(float(slope.detach()), rel=1e-6)


def test_errors_of_diffusions_are_clear() -> None:
    start = torch.ones(4, 2)
    with pytest.raises(ValueError, match="at least two increasing numbers"):
        diffuse(relaxation, relaxation, start, torch.tensor([1.0, 0.5]), 10, generator())
    with pytest.raises(ValueError, match="diverges"):
        diffuse(lambda t, x: 1e30 * x**3, relaxation, start, torch.tensor([0.0, 1.0]), 10, generator())
