"""How near fields are, and what weights cost, in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from am.metrics.fields import correlation, cosines, mass_error, mean_cosine, relative_error, sample_size_lost
from am.metrics.samples import MetricError


def test_the_relative_error_does_not_depend_on_the_unit() -> None:
    exact = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert relative_error(exact, exact) == 0
    assert relative_error(0 * exact, exact) == 1
    for unit in (1e-3, 1.0, 1e3):
        assert relative_error(1.1 * unit * exact, unit * exact) == pytest.approx(0.1, rel=1e-5)


def test_fields_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(MetricError, match=r"shape \(3,\), the true one \(2,\)"):
        relative_error(torch.ones(3), torch.ones(2))
    with pytest.raises(MetricError, match=r"shape \(3, 2\), the true one \(2, 2\)"):
        mean_cosine(torch.ones(3, 2), torch.ones(2, 2))
    for measure in (relative_error, mean_cosine):
        with pytest.raises(MetricError, match="the true field is zero"):
            measure(torch.ones(3, 2), torch.zeros(3, 2))


def test_the_cosine_is_that_of_the_angle_whatever_the_lengths() -> None:
    angle, length = torch.rand(50, 1, dtype=torch.float64) * 3, torch.rand(50, 1, dtype=torch.float64) + 0.1
    exact = torch.tensor([[0.3, 0.4]], dtype=torch.float64).expand(50, 2)
    across = torch.stack([-exact[:, 1], exact[:, 0]], 1)
    turned = length * (angle.cos() * exact + angle.sin() * across)
    assert mean_cosine(turned, exact) == pytest.approx(float(angle.cos().mean()))
    assert mean_cosine(exact, exact) == pytest.approx(1)
    assert mean_cosine(-exact, exact) == pytest.approx(-1)


def test_what_stands_still_has_no_direction() -> None:
    exact = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    assert mean_cosine(torch.tensor([[2.0, 0.0], [5.0, 5.0], [0.0, 0.0]]), exact) == pytest.approx(0.5)


def test_what_is_not_known_has_no_direction() -> None:
    exact = torch.tensor([[1.0, 0.0], [math.nan, 0.0], [0.0, math.inf]])
    assert cosines(torch.ones(3, 2), exact).tolist() == pytest.approx([math.sqrt(0.5), math.nan, math.nan], nan_ok=True)


def test_correlation_is_that_of_scipy_and_knows_no_unit() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 50, generator=generator)
    assert correlation(x, x + y) == pytest.approx(stats.pearsonr(x, x + y).statistic)
    assert correlation(3 * x - 2, x) == pytest.approx(1)
    assert correlation(-x, x) == pytest.approx(-1)
    assert correlation(torch.ones(50), x) == 0
    with pytest.raises(MetricError, match="the true field is the same everywhere"):
        correlation(x, torch.ones(50))
    with pytest.raises(MetricError, match=r"shape \(49,\), the true one \(50,\)"):
        correlation(x[1:], x)


def test_the_mass_is_the_mean_of_the_weights() -> None:
    weights = torch.tensor([1.0, 2.0, 6.0])
    assert mass_error(weights.log(), math.log(3)) == pytest.approx(0, abs=1e-7)
    assert mass_error(weights.log(), math.log(2)) == pytest.approx(0.5)
    assert mass_error(weights.log(), math.log(6)) == pytest.approx(0.5)
    assert mass_error(weights.log() + 900, 900 + math.log(2.5)) == pytest.approx(0.2, rel=1e-4)


def test_k_of_n_equal_weights_lose_all_others() -> None:
    weights = torch.tensor([1.0] * 3 + [0.0] * 9)
    assert sample_size_lost(weights.log()) == pytest.approx(0.75)
    assert sample_size_lost(torch.full((12,), 700.0)) == pytest.approx(0, abs=1e-12)
    # Log-normal weights: E[w]^2 / E[w^2] = exp(-variance).
    generator = torch.Generator().manual_seed(0)
    drawn = 0.5 * torch.randn(200_000, generator=generator)
    assert sample_size_lost(drawn) == pytest.approx(1 - math.exp(-0.25), abs=5e-3)
