"""Deterministic dynamics against the matrix exponential and other closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from am.dynamics.ode import integrate, spread
from am.dynamics.settings import OdeSettings
from am.dynamics.trajectory import Field

MATRIX = torch.tensor([[-0.4, 2.0, 0.0], [-2.0, -0.1, 0.3], [0.5, 0.0, 0.2]], dtype=torch.float64)
TIMES = torch.tensor([0.0, 0.15, 0.5, 0.85, 1.0], dtype=torch.float64)
START = 2 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear(time: Tensor, x: Tensor) -> Tensor:
    return x @ MATRIX.to(x).T


def exact_linear(times: Tensor) -> Tensor:
    return torch.stack([START @ torch.matrix_exp(MATRIX * t).T for t in times - times[0]])


def turning(time: Tensor, x: Tensor) -> Tensor:
    """dx/dt = x cos(3 t): x(t) = x(0) exp(sin(3 t) / 3)."""
    return x * torch.cos(3 * time)[:, None]


def quickening(time: Tensor, x: Tensor) -> Tensor:
    """dx/dt = x (1 + t): x(t) = x(0) exp(t + t^2 / 2)."""
    return x * (1 + time)[:, None]


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "adaptive_heun"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_adaptive_methods_keep_their_tolerance(method: str, tolerance: float) -> None:
    settings = OdeSettings(method=method, rtol=tolerance, atol=tolerance)
    path = integrate(linear, START, TIMES, settings)
    error = (path.x - exact_linear(TIMES)).square().mean((1, 2)).sqrt().max()
    # Tolerance is asked of each step, in proportion to positions too; the errors of steps add up.
    assert float(error) < 6 * tolerance * spread(START)


def test_a_finer_tolerance_costs_more_and_errs_less() -> None:
    errors, costs = [], []
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-8):
        path = integrate(linear, START, TIMES, OdeSettings(rtol=tolerance, atol=tolerance))
        errors.append(float((path.x - exact_linear(TIMES)).abs().max()))
        costs.append(path.nfe)
    assert sorted(errors, reverse=True) == errors
    assert sorted(costs) == costs
    assert errors[0] / errors[-1] > 1e4


def test_absolute_tolerance_is_in_units_of_the_spread() -> None:
    """The same problem in other units costs the same and errs the same."""
    settings = OdeSettings(rtol=1e-12, atol=1e-4)
    one = integrate(linear, START, TIMES, settings)
    other = integrate(linear, 1e3 * START, TIMES, settings)
    assert one.nfe == other.nfe
    torch.testing.assert_close(other.x, 1e3 * one.x)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
@pytest.mark.parametrize("field", [linear, quickening])
def test_fixed_step_methods_converge_at_their_order(method: str, order: int, field: Field) -> None:
    # At all output times, of which 0.15, 0.5 and 0.85 are no multiple of a step.
    exact = exact_linear(TIMES) if field is linear else START * torch.exp(TIMES + TIMES**2 / 2)[:, None, None]
    errors = []
    for steps in (25, 50, 200):
        path = integrate(field, START, TIMES, OdeSettings(method=method, steps=steps))
        errors.append((path.x - exact).abs().amax((1, 2))[1:])
    # Steps per interval are rounded up, which blurs the rate of the first, short one.
    rate = torch.log2(errors[0] / errors[2]) / 3
    torch.testing.assert_close(rate, torch.full_like(rate, order), atol=0.1 * order, rtol=0)
    assert float(torch.log2(errors[0] / errors[1])[-1]) == pytest.approx(order, abs=0.1 * order)


@pytest.mark.parametrize(("method", "stages"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evaluations_are_counted(method: str, stages: int, dtype: torch.dtype) -> None:
    calls = []

    def watched(time: Tensor, x: Tensor) -> Tensor:
        calls.append(time.clone())
        return linear(time, x)

    times = torch.linspace(0, 1, 11, dtype=dtype)
    path = integrate(watched, START.to(dtype), times, OdeSettings(method=method, steps=100))
    assert path.nfe == len(calls) == 100 * stages
    assert all(t.shape == (20,) and bool((t == t[0]).all()) for t in calls)
    assert max(float(t[0]) for t in calls) <= 1
    calls.clear()
    assert integrate(watched, START.to(dtype), times, OdeSettings()).nfe == len(calls) > 6


def test_the_start_is_the_first_row_and_need_not_be_at_time_zero() -> None:
    times = torch.tensor([0.3, 0.9], dtype=torch.float64)
    path = integrate(turning, START, times, OdeSettings(rtol=1e-9, atol=1e-9))
    assert torch.equal(path.x[0], START)
    torch.testing.assert_close(path.x[1], START * math.exp((math.sin(2.7) - math.sin(0.9)) / 3), rtol=1e-7, atol=1e-7)
    assert path.log_weight is None


def test_single_precision_stays_single() -> None:
    path = integrate(linear, START.float(), TIMES, OdeSettings())
    assert path.x.dtype == torch.float32
    torch.testing.assert_close(path.x.double(), exact_linear(TIMES), atol=5e-3, rtol=0)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "adaptive_heun", "rk4", "midpoint", "euler"])
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_the_field_is_asked_at_no_time_outside_the_span(method: str, far: float) -> None:
    # Far away from the origin the first step's size is badly guessed.
    seen = []

    def watched(time: Tensor, x: Tensor) -> Tensor:
        seen.append(float(time[0]))
        return torch.ones_like(x) * time[:, None]

    times = torch.tensor([0.2, 0.7], dtype=torch.float64)
    path = integrate(watched, START + far, times, OdeSettings(method=method))
    torch.testing.assert_close(path.x[-1], START + far + (0.49 - 0.04) / 2, rtol=1e-4, atol=1e-2)
    assert min(seen) >= 0.2
    assert max(seen) <= 0.7


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.5, 0.5], [1.0, 0.0], [[0.0, 1.0]], [0.0, math.nan]])
def test_times_must_increase(times: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two increasing numbers"):
        integrate(linear, START, torch.tensor(times), OdeSettings())


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "adaptive_heun", "rk4", "midpoint", "euler"])
def test_a_field_that_diverges_is_one_clear_error(method: str) -> None:
    # dx/dt = x^4 leaves the finite numbers at t = 1 / (3 x(0)^3).
    settings = OdeSettings(method=method, steps=50)
    with pytest.raises(ValueError, match="diverges"):
        integrate(lambda t, x: x**4, 1 + START.abs(), torch.tensor([0.0, 1.0]), settings)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_a_start_or_field_that_is_not_a_number_is_one_clear_error(method: str) -> None:
    broken = START.clone()
    broken[3, 1] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        integrate(linear, broken, torch.tensor([0.0, 1.0]), OdeSettings(method=method))
    with pytest.raises(ValueError, match="not finite"):
        integrate(lambda t, x: x * math.nan, START, torch.tensor([0.0, 1.0]), OdeSettings(method=method))


def test_spread_is_the_standard_deviation_over_coordinates() -> None:
    assert spread(torch.tensor([[0.0, 0.0], [2.0, 4.0]])) == pytest.approx(math.sqrt(2.5))
    assert spread(torch.ones(5, 3)) == 1.0  # all in one place: any unit will do
