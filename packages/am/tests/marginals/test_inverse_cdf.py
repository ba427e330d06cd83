"""The quantile function against SciPy's exact ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from am.marginals.inverse_cdf import InverseCdf

PROBABILITIES = torch.cat(
    [torch.linspace(1e-5, 1 - 1e-5, 5001, dtype=torch.float64), torch.logspace(-5, -1, 101, dtype=torch.float64)]
)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 1), (3, 1), (5, 5), (2, 8), (7, 1), (1, 4)])
def test_matches_the_exact_quantiles_of_a_beta_distribution(a: int, b: int) -> None:
    quantile = InverseCdf(lambda v: v ** (a - 1) * (1 - v) ** (b - 1), 0.0, 1.0)
    exact = stats.beta(a, b).ppf(PROBABILITIES.numpy())
    np.testing.assert_allclose(quantile(PROBABILITIES).numpy(), exact, atol=1e-8, rtol=0)


@pytest.mark.parametrize("shape", [1, 3, 5, 7, 11])
def test_matches_the_exact_quantiles_of_a_gamma_distribution(shape: int) -> None:
    quantile = InverseCdf(lambda v: v ** (shape - 1) * np.exp(-v), 0.0, 60.0 + 4 * shape)
    exact = stats.gamma(shape).ppf(PROBABILITIES.numpy())
    np.testing.assert_allclose(quantile(PROBABILITIES).numpy(), exact, atol=1e-8, rtol=0)


def test_a_zero_of_the_density_inside_the_interval_is_no_obstacle() -> None:
    zero = 0.1001  # inside a bin
    quantile = InverseCdf(lambda v: (v - zero) ** 2, -1.0, 1.0)
    low, high = (-1 - zero) ** 3, (1 - zero) ** 3
    exact = zero + torch.sign(low + (high - low) * PROBABILITIES) * (low + (high - low) * PROBABILITIES).abs() ** (
        1 / 3
    )
    error = (quantile(PROBABILITIES) - exact).abs()
    assert error.max() < 1e-8
    at_the_zero = torch.tensor([-low / (high - low)], dtype=torch.float64)
    # There the inverse is a cube root: rounding of 1e-16 in the probability is 1e-5 in the quantile.
    assert abs(float(quantile(at_the_zero)) - zero) < 1e-4


def test_the_density_need_not_be_normalised() -> None:
    one = InverseCdf(lambda v: v, 0.0, 1.0)(PROBABILITIES)
    million = InverseCdf(lambda v: 1e6 * v, 0.0, 1.0)(PROBABILITIES)
    torch.testing.assert_close(one, million, atol=1e-14, rtol=0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=50))
def test_is_monotone_and_stays_in_the_interval(probabilities: list[float]) -> None:
    u = torch.tensor(sorted(probabilities), dtype=torch.float64)
    x = NODAL(u)
    assert bool((x >= 0).all())
    assert bool((x <= 50).all())
    assert bool((x.diff() >= -1e-9).all())


NODAL = InverseCdf(lambda v: (v * (2 - v) * (7 - v)) ** 2 * np.exp(-v), 0.0, 50.0)


def test_shape_is_kept_and_single_precision_is_taken_as_it_is() -> None:
    u = torch.tensor([[0.25, 0.5], [0.75, 0.125]])
    x = InverseCdf(np.ones_like, 2.0, 6.0)(u)
    assert x.dtype == torch.float64
    torch.testing.assert_close(x, 2 + 4 * u.double(), atol=1e-12, rtol=0)
