"""Distances against closed forms and independent implementations."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from am.metrics.energy import energy_distance
from am.metrics.evaluate import evaluate
from am.metrics.mmd import PUBLISHED_SCALES, mmd_squared
from am.metrics.samples import MetricError
from am.metrics.settings import Energy, Mmd, Sinkhorn, SlicedWasserstein, Wasserstein1, Wasserstein2
from am.metrics.sinkhorn import sinkhorn_divergence
from am.metrics.transport import sliced_wasserstein, wasserstein1, wasserstein2


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=rng(seed), dtype=dtype)


def naive(x: Tensor, y: Tensor, kernel: Callable[[float], float]) -> float:
    """Unbiased E k(x, x') + E k(y, y') - 2 E k(x, y), pair by pair in Python."""
    a, b = x.double().tolist(), y.double().tolist()

    def within(points: list[list[float]]) -> float:
        n = len(points)
        return sum(kernel(math.dist(p, q)) for i, p in enumerate(points) for j, q in enumerate(points) if i != j) / (
            n * (n - 1)
        )

    return within(a) + within(b) - 2 * sum(kernel(math.dist(p, q)) for p in a for q in b) / (len(a) * len(b))


DISTANCES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "mmd": lambda x, y: mmd_squared(x, y, (0.3, 1.0)),
    "energy": energy_distance,
    "wasserstein1": wasserstein1,
    "wasserstein2": wasserstein2,
    "sliced": lambda x, y: sliced_wasserstein(x, y, rng(5)),
    "sinkhorn": lambda x, y: sinkhorn_divergence(x, y, blur=0.5),
}
all_distances = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)


@all_distances
def test_symmetric_and_blind_to_order(distance: Callable[[Tensor, Tensor], float]) -> None:
    x, y = normal(40, 3, 1), normal(40, 3, 2) + 0.5
    value = distance(x, y)
    assert distance(y, x) == pytest.approx(value, rel=1e-6)
    assert distance(x[torch.randperm(40, generator=rng())], y) == pytest.approx(value, rel=1e-6)


@all_distances
def test_bad_samples_are_refused_in_words(distance: Callable[[Tensor, Tensor], float]) -> None:
    x = normal(5, 3)
    for bad, message in (
        (x[:0], "empty"),
        (normal(5, 2), "different dimensions"),
        (x * math.nan, "NaN"),
        (x * math.inf, "infinite"),
        (x[:, 0], r"\(n, d\)"),
    ):
        with pytest.raises(MetricError, match=message):
            distance(x, bad)


def test_mmd_and_energy_are_what_they_say_pair_by_pair() -> None:
    x, y = normal(17, 3, 1, torch.float32), normal(23, 3, 2, torch.float32) * 1.5
    assert mmd_squared(x, y, (0.2, 0.9)) == pytest.approx(
        naive(x, y, lambda d: math.exp(-0.2 * d * d) + math.exp(-0.9 * d * d)), rel=1e-9
    )
    assert energy_distance(x, y) == pytest.approx(naive(x, y, lambda d: -d), rel=1e-9)


def test_mmd_of_gaussians_has_its_closed_form() -> None:
    """E exp(-a |u|^2) = (1 + 2 a v)^(-d/2) exp(-a |m|^2 / (1 + 2 a v)) for u ~ N(m, v I)."""
    a, shift, d, n = 0.4, 1.5, 3, 4000
    x, y = normal(n, d, 1), normal(n, d, 2)
    y[:, 0] += shift
    expected = 2 * (1 + 4 * a) ** (-d / 2) * (1 - math.exp(-a * shift**2 / (1 + 4 * a)))
    assert mmd_squared(x, y, (a,)) == pytest.approx(expected, rel=0.05)


def test_the_published_metric_is_three_times_the_plain_one() -> None:
    x, y = 60 * normal(200, 3, 1), 60 * normal(200, 3, 2)
    assert mmd_squared(x, y, PUBLISHED_SCALES) == pytest.approx(3 * mmd_squared(x, y, (1e-4,)), rel=1e-9)


@pytest.mark.parametrize("distance", [lambda x, y: mmd_squared(x, y, (0.5,)), energy_distance], ids=["mmd", "energy"])
def test_unbiased(distance: Callable[[Tensor, Tensor], float]) -> None:
    values = [distance(normal(10, 2, 2 * i), normal(10, 2, 2 * i + 1)) for i in range(400)]
    assert abs(np.mean(values)) < 4 * stats.sem(values)
    assert min(values) < 0 < max(values)


def test_blocks_change_nothing() -> None:
    x, y = normal(50, 3, 1), normal(31, 3, 2)
    whole = mmd_squared(x, y), energy_distance(x, y)
    assert (mmd_squared(x, y, chunk=7), energy_distance(x, y, chunk=7)) == pytest.approx(whole, rel=1e-9)


def test_distance_from_the_origin_costs_no_digits() -> None:
    x, y = normal(50, 3, 1), normal(50, 3, 2) + 0.3
    far = torch.tensor([1e6, -1e6, 1e6], dtype=torch.float64)
    assert mmd_squared(x + far, y + far, (0.5,)) == pytest.approx(mmd_squared(x, y, (0.5,)), rel=1e-6)
    assert energy_distance(x + far, y + far) == pytest.approx(energy_distance(x, y), rel=1e-6)


def test_energy_distance_of_two_gaussians_on_a_line() -> None:
    """E|u| = sqrt(2 v / pi) exp(-m^2 / 2v) + m erf(m / sqrt(2v)) for u ~ N(m, v), here v = 2."""
    m, n = 1.0, 4000
    apart = math.sqrt(4 / math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)
    expected = 2 * apart - 2 * math.sqrt(4 / math.pi)
    assert energy_distance(normal(n, 1, 1), normal(n, 1, 2) + m) == pytest.approx(expected, rel=0.1)


def test_w1_and_w2_are_told_apart() -> None:
    """Half of the mass moves by 1, half by 3: W1 = 2, W2 = sqrt(5)."""
    x = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    y = torch.tensor([[0.0, 1.0], [100.0, 3.0]])
    assert wasserstein1(x, y) == pytest.approx(2)
    assert wasserstein2(x, y) == pytest.approx(math.sqrt(5))
    assert evaluate(Wasserstein1(), x, y, rng()) == pytest.approx(2)
    assert evaluate(Wasserstein2(), x, y, rng()) == pytest.approx(math.sqrt(5))


def test_a_translation_costs_its_length() -> None:
    x, shift = normal(60, 3), torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    assert wasserstein1(x, x + shift) == pytest.approx(3)
    assert wasserstein2(x, x + shift) == pytest.approx(3)
    assert sliced_wasserstein(x, x + shift, rng(), 4000) == pytest.approx(math.sqrt(3), rel=0.05)


def test_transport_against_the_assignment_problem() -> None:
    x, y = normal(30, 2, 1), 2 * normal(30, 2, 2)
    costs = torch.cdist(x, y).numpy()
    rows, columns = linear_sum_assignment(costs)
    assert wasserstein1(x, y) == pytest.approx(costs[rows, columns].mean())
    rows, columns = linear_sum_assignment(costs**2)
    assert wasserstein2(x, y) == pytest.approx(math.sqrt((costs[rows, columns] ** 2).mean()))


@pytest.mark.parametrize("order", [1, 2])
def test_on_a_line_sliced_is_exact_also_for_other_sizes_and_weights(order: int) -> None:
    x, y, weight = normal(30, 1, 1), normal(20, 1, 2) + 1, torch.rand(30, generator=rng(), dtype=torch.float64)
    exact = wasserstein1 if order == 1 else wasserstein2
    assert sliced_wasserstein(x, y, rng(), 3, order) == pytest.approx(exact(x, y), rel=1e-6)
    assert sliced_wasserstein(x, y, rng(), 3, order, weight.log()) == pytest.approx(exact(x, y, weight.log()), rel=1e-6)
    as_many = x[:20]  # of equal weights, said or not
    assert sliced_wasserstein(as_many, y, rng(), 3, order) == pytest.approx(exact(as_many, y), rel=1e-6)
    assert sliced_wasserstein(as_many, y, rng(), 3, order, torch.zeros(20)) == pytest.approx(
        exact(as_many, y), rel=1e-6
    )
    if order == 1:
        scipys = stats.wasserstein_distance(x[:, 0], y[:, 0], weight, None)
        assert wasserstein1(x, y, weight.log()) == pytest.approx(scipys, rel=1e-6)


def test_sinkhorn_tends_to_half_of_w2_squared() -> None:
    x, y = normal(40, 2, 1), normal(40, 2, 2) + 2
    assert sinkhorn_divergence(x, y, blur=0.01) == pytest.approx(wasserstein2(x, y) ** 2 / 2, rel=0.02)
    assert sinkhorn_divergence(x, x, blur=0.3) == pytest.approx(0, abs=1e-9)


WEIGHTED = {
    "mmd": lambda x, y, w: mmd_squared(x, y, (0.3,), w),
    "energy": energy_distance,
    "wasserstein1": wasserstein1,
    "wasserstein2": wasserstein2,
    "sliced": lambda x, y, w: sliced_wasserstein(x, y, rng(5), x_log_weight=w),
    "sinkhorn": lambda x, y, w: sinkhorn_divergence(x, y, blur=0.5, x_log_weight=w),
}


@pytest.mark.parametrize("distance", WEIGHTED.values(), ids=WEIGHTED)
def test_log_weights(distance: Callable[[Tensor, Tensor, Tensor | None], float]) -> None:
    x, y = normal(30, 2, 1), normal(30, 2, 2) + 0.5
    plain = distance(x, y, None)
    assert distance(x, y, torch.full((30,), 7.0)) == pytest.approx(plain, rel=1e-6)
    weight = torch.randn(30, generator=rng(3), dtype=torch.float64)
    value = distance(x, y, weight)
    assert value != pytest.approx(plain, rel=1e-3)
    assert distance(x, y, weight + 100) == pytest.approx(value, rel=1e-6)
    # Points of no weight might as well not be there.
    silent = torch.cat([weight, torch.full((5,), -math.inf, dtype=torch.float64)])
    # (Sinkhorn anneals from the diameter, which they change.)
    assert distance(torch.cat([x, x[:5] + 9]), y, silent) == pytest.approx(value, rel=1e-4)
    with pytest.raises(MetricError, match="log-weights"):
        distance(x, y, weight[:3])


def test_weighted_mmd_and_energy_are_what_they_say_pair_by_pair() -> None:
    x, y, log_weight = normal(17, 3, 1), normal(23, 3, 2) * 1.5, normal(17, 1, 3)[:, 0]
    w = [float(value) for value in log_weight.exp() / log_weight.exp().sum()]
    u = [1 / len(y)] * len(y)

    def mean(kernel: Callable[[Tensor], float], a: Tensor, b: Tensor, wa: list[float], wb: list[float]) -> float:
        """Over all pairs, or within one sample over those of different points."""
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if a is not b or i != j]
        mass = sum(wa[i] * wb[j] for i, j in pairs)
        return sum(wa[i] * wb[j] * kernel(a[i] - b[j]) for i, j in pairs) / mass

    def distance(kernel: Callable[[Tensor], float]) -> float:
        return 2 * mean(kernel, x, y, w, u) - mean(kernel, x, x, w, w) - mean(kernel, y, y, u, u)

    assert energy_distance(x, y, log_weight) == pytest.approx(distance(lambda d: float(d.norm())))
    assert mmd_squared(x, y, (0.4,), log_weight) == pytest.approx(-distance(lambda d: math.exp(-0.4 * float(d @ d))))


def test_one_point_alone() -> None:
    point, others = torch.tensor([[3.0, 4.0]]), torch.zeros(5, 2)
    with pytest.raises(MetricError, match="no pairs"):
        mmd_squared(point, others)
    assert wasserstein1(point, others) == pytest.approx(5)
    assert wasserstein2(point, others) == pytest.approx(5)
    assert sinkhorn_divergence(point, others, 0.05, 1) == pytest.approx(5, rel=1e-3)
    assert sinkhorn_divergence(point, others, 0.05, 2) == pytest.approx(12.5, rel=1e-3)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0), (math.nan,), (math.inf,)])
def test_mmd_refuses_bandwidths_that_are_none(scales: tuple[float, ...]) -> None:
    with pytest.raises(MetricError, match="positive scales"):
        mmd_squared(normal(4, 2), normal(4, 2), scales)


def test_settings_reach_the_metric() -> None:
    x, y = normal(50, 3, 1), normal(50, 3, 2)
    signed = mmd_squared(x, y, (0.5,))
    assert evaluate(Mmd(scales=(0.5,), absolute=False), x, y, rng()) == signed
    assert evaluate(Mmd(scales=(0.5,)), x, y, rng()) == abs(signed)
    assert evaluate(Energy(max_points=9), x, y, rng()) == energy_distance(x[:9], y[:9])
    sliced = SlicedWasserstein(order=1, projections=7)
    assert evaluate(sliced, x, y, rng(4)) == sliced_wasserstein(x, y, rng(4), 7, 1)
    assert evaluate(Sinkhorn(blur=0.7), x, y, rng()) == sinkhorn_divergence(x, y, 0.7)


MEMORY = """
import sys, torch
from am.metrics.mmd import mmd_squared
from am.io.provenance import peak_memory
torch.set_num_threads(1)
n = int(sys.argv[1])
x, y = torch.randn(n, 3), torch.randn(n, 3)
mmd_squared(x[:2000], y[:2000])
before = peak_memory()
mmd_squared(x, y)
print(peak_memory() - before, before)
"""


@pytest.mark.parametrize("n", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_pairs(n: int) -> None:
    run = subprocess.run([sys.executable, "-c", MEMORY, str(n)], capture_output=True, text=True, check=True)
    growth, before = map(int, run.stdout.split())
    assert growth < 100e6
    assert before + growth < 2e9
