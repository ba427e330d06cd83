"""The path through snapshots: the snapshots themselves at their times, coupled points between them."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from torch import Tensor

from am.marginals import snapshots
from am.marginals.snapshots import SnapshotPath, relaxed_potentials, transport_plan, unbalanced_plan
from am.randomness import generator

KNOTS = [0.0, 1 / 7, 1 / 3, 1.0]  # single precision rounds some of them up and some down


def cloud(n: int, name: str, d: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, d, generator=generator(name), dtype=dtype)


def clouds(*sizes: int) -> list[Tensor]:
    return [cloud(n, f"{i}") + 10 * i for i, n in enumerate(sizes)]


def rows(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}


def indices(drawn: Tensor, cells: Tensor) -> Tensor:
    """Which of ``cells`` each row is; it must be one of them."""
    distance, index = torch.cdist(drawn.double(), cells.double()).min(1)
    assert float(distance.max()) < 1e-4
    return index


def chi_squared(index: Tensor, cells: int) -> float:
    expected = len(index) / cells
    return float(((torch.bincount(index, minlength=cells) - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("coupling", ["optimal", "unbalanced", "independent"])
@pytest.mark.parametrize("snapshot", range(4))
def test_at_observed_times_it_is_the_snapshot(coupling: Any, snapshot: int) -> None:
    points = clouds(8, 10, 6, 9)
    path = SnapshotPath(points, KNOTS, coupling, smoothing=0.0)
    x = path.sample(torch.full((4000,), KNOTS[snapshot]), generator("draw"))
    index = indices(x, points[snapshot])
    assert chi_squared(index, len(points[snapshot])) < 27.9  # 99.9 % quantile at 9 degrees of freedom


def test_smoothing_leaves_the_snapshots_alone() -> None:
    points = clouds(8, 10, 6)
    path = SnapshotPath(points, [0, 0.25, 1], smoothing=3.0)
    for time, cells in zip((0, 0.25, 1), points, strict=True):
        indices(path.sample(torch.full((200,), float(time)), generator("draw")), cells)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_points", [torch.float32, torch.float64])
def test_between_single_points_it_is_the_line(dtype: torch.dtype, of_points: torch.dtype) -> None:
    corners = cloud(4, "corners", dtype=of_points)
    path = SnapshotPath(list(corners.split(1)), KNOTS)
    time = torch.rand(200, generator=generator("time"), dtype=dtype)
    x = path.sample(time, generator("draw"))
    assert x.dtype == dtype
    expected = np.stack([np.interp(time.numpy(), KNOTS, corners[:, i].numpy()) for i in range(2)], -1)
    np.testing.assert_allclose(x.numpy(), expected, rtol=0, atol=2e-6)


def test_noise_is_that_of_a_bridge_whatever_the_interval_lasts() -> None:
    path = SnapshotPath([torch.zeros(1, 1)] * 3, [0, 0.2, 1], smoothing=2.0)
    for time, u in ((0.05, 0.25), (0.1, 0.5), (0.4, 0.25), (0.6, 0.5)):
        x = path.sample(torch.full((20_000,), time), generator("draw", time))
        # The variance of 20000 normal numbers is known to 1 %.
        assert float(x.var()) == pytest.approx(4 * u * (1 - u), rel=0.05)
        assert abs(float(x.mean())) < 0.04


@pytest.mark.parametrize("coupling", ["optimal", "independent"])
@pytest.mark.parametrize("smoothing", [0.0, 2.0])
def test_velocities_are_differences_of_what_is_drawn_alike(coupling: Any, smoothing: float) -> None:
    points = [x.double() for x in clouds(8, 10, 6, 9)]
    path, h = SnapshotPath(points, KNOTS, coupling, smoothing), 1e-7
    time = torch.rand(200, generator=generator("times"), dtype=torch.float64)
    x, velocity = path.moving(time, generator("same"))
    early, late = (path.sample(time + shift, generator("same")) for shift in (-h, h))
    assert torch.equal(x, path.sample(time, generator("same")))
    torch.testing.assert_close(velocity, (late - early) / (2 * h), rtol=1e-3, atol=1e-3)


def test_velocities_stay_finite_at_snapshots() -> None:
    path = SnapshotPath(clouds(8, 10), [0, 1], smoothing=1.0)
    assert bool(torch.isfinite(path.moving(torch.tensor([0.0, 1.0]), generator("ends"))[1]).all())


def test_mass_that_comes_and_goes_has_no_velocity() -> None:
    path = SnapshotPath(clouds(8, 10), [0, 1], "unbalanced")
    with pytest.raises(ValueError, match=r"'estimator: conditional' needs the coupling 'optimal' or 'independent'"):
        path.moving(torch.tensor([0.5]), generator("any"))


def test_times_find_their_interval() -> None:
    path = SnapshotPath(clouds(1, 1, 1), [0, 0.25, 1])
    interval, u = path.locate(torch.tensor([0.0, 0.1, 0.25, 0.625, 1.0]))
    assert interval.tolist() == [0, 0, 1, 1, 1]
    torch.testing.assert_close(u, torch.tensor([0.0, 0.4, 0.0, 0.5, 1.0]))


def test_equal_numbers_are_coupled_one_to_one_as_cheaply_as_can_be() -> None:
    x, y = cloud(12, "x"), cloud(12, "y") + 1
    start, end = SnapshotPath([x, y], [0, 1]).pairs(0, 2000, generator("draw"))
    partner = linear_sum_assignment(cdist(x.numpy(), y.numpy(), "sqeuclidean"))[1]
    i, j = indices(start, x), indices(end, y)
    assert j.tolist() == partner[i.numpy()].tolist()
    assert chi_squared(i, 12) < 31.3  # 99.9 % quantile at 11 degrees of freedom


def test_plans_between_unequal_numbers_are_those_of_a_linear_programme() -> None:
    x, y = cloud(5, "x"), cloud(7, "y")
    i, j, mass = transport_plan(x, y)
    plan = np.zeros((5, 7))
    plan[i, j] = mass
    cost = cdist(x.numpy(), y.numpy(), "sqeuclidean")
    sums = [np.kron(np.eye(5), np.ones(7)), np.kron(np.ones(5), np.eye(7))]
    solution = linprog(cost.ravel(), A_eq=np.vstack(sums), b_eq=np.r_[np.full(5, 1 / 5), np.full(7, 1 / 7)])
    np.testing.assert_allclose(plan, solution.x.reshape(5, 7), rtol=0, atol=1e-7)
    assert len(mass) <= 5 + 7 - 1

    start, end = SnapshotPath([x, y], [0, 1]).pairs(0, 40_000, generator("draw"))
    pair = indices(start, x) * 7 + indices(end, y)
    drawn = torch.bincount(pair, minlength=35).double().numpy().reshape(5, 7) / 40_000
    np.testing.assert_allclose(drawn, plan, rtol=0, atol=0.01)  # five standard deviations of a share of 1/5


def test_independent_pairs_are_all_equally_likely() -> None:
    x, y = cloud(4, "x"), cloud(5, "y")
    start, end = SnapshotPath([x, y], [0, 1], "independent").pairs(0, 10_000, generator("draw"))
    pair = indices(start, x) * 5 + indices(end, y)
    assert chi_squared(pair, 20) < 43.8  # 99.9 % quantile at 19 degrees of freedom


def test_above_the_largest_plan_minibatches_are_coupled(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a line, an optimal plan keeps the order."""
    monkeypatch.setattr(snapshots, "FULL_PLAN", 100)
    x, y = cloud(300, "x", 1), cloud(200, "y", 1) + 5
    start, end = SnapshotPath([x, y], [0, 1]).pairs(0, 64, generator("draw"))
    assert rows(start) <= rows(x)
    assert rows(end) <= rows(y)
    pairs = sorted(torch.cat([start, end], 1).tolist())
    assert [b for _, b in pairs] == sorted(end[:, 0].tolist())
    assert not bool((start[:, 0].diff() >= 0).all())
    ends = [SnapshotPath([x, y], [0, 1]).pairs(0, 100, generator("draw", i))[1] for i in range(40)]
    assert chi_squared(indices(torch.cat(ends), y), 200) < 267  # 99.9 % quantile at 199 degrees of freedom


def test_unbalanced_plans_are_stationary() -> None:
    """Where mass is joined, cost and the logarithms of how far both marginals are from theirs add up to nothing."""
    x, y, relaxation = cloud(6, "x", dtype=torch.float64), cloud(8, "y", dtype=torch.float64) + 0.5, 2.0
    i, j, first, _ = unbalanced_plan(x, y, relaxation)
    shares = torch.zeros(6, 8, dtype=torch.float64)
    shares[i, j] = first
    cost = torch.cdist(x, y).square()
    # From the shares of each row to the plan: its rows' masses follow from stationarity along one pair of each row.
    log_row = torch.zeros(6, dtype=torch.float64)
    for _ in range(2000):
        column = (log_row.exp()[:, None] / 6 * shares).sum(0)
        best = shares.argmax(1)
        log_row = 0.5 * log_row - 0.5 * (cost[range(6), best] / relaxation + torch.log(8 * column[best]))
    column = (log_row.exp()[:, None] / 6 * shares).sum(0)
    slack = cost / relaxation + log_row[:, None] + torch.log(8 * column)
    np.testing.assert_allclose(slack[shares > 0.01].numpy(), 0, atol=2e-2)
    assert float(slack.min()) > -2e-2


@pytest.mark.parametrize("relaxation", [0.05, 1.0, 30.0])
def test_unbalanced_plans_are_those_of_another_algorithm(relaxation: float) -> None:
    """POT's, which is slow to find its end: cost and masses of the plan, and how much each point keeps."""
    x, y = cloud(40, "x", dtype=torch.float64), cloud(30, "y", dtype=torch.float64) / 2 + 1
    cost = snapshots.squared_distances(x, y)
    known = torch.from_numpy(
        ot.unbalanced.mm_unbalanced([], [], cost.numpy(), relaxation, numItermax=100_000, stopThr=1e-12)
    )
    kept = known.sum(1) * 40, known.sum(0) * 30
    for potential, mass in zip(relaxed_potentials(cost, relaxation), kept, strict=True):
        there = mass > 1e-8  # what that algorithm computes
        torch.testing.assert_close((-potential / relaxation)[there], mass.log()[there], rtol=1e-2, atol=3e-2)
    i, j, first, second = unbalanced_plan(x, y, relaxation)
    row, column = (known / known.sum(axis, keepdim=True) for axis in (1, 0))
    moved = row @ y, column.T @ x
    found = torch.zeros_like(moved[0]), torch.zeros_like(moved[1])
    found[0].index_add_(0, i, first[:, None] * y[j])
    found[1].index_add_(0, j, second[:, None] * x[i])
    for mine, theirs, mass in zip(found, moved, kept, strict=True):
        off = (mine - theirs)[mass > 1e-3].norm(dim=1)
        assert float(off.mean()) < 0.02


def test_two_pairs_of_points_keep_what_their_distances_leave() -> None:
    """Far from one another, each pair keeps its mass times e^(-distance^2 / (2 relaxation))."""
    x, y = torch.tensor([[0.0], [100.0]]).double(), torch.tensor([[0.5], [102.0]]).double()
    for potential in relaxed_potentials(snapshots.squared_distances(x, y), 1.5):
        torch.testing.assert_close(potential, torch.tensor([0.125, 2.0]).double(), rtol=0, atol=0.01)
    i, j, first, second = unbalanced_plan(x, y, 1.5)
    assert i.tolist() == j.tolist() == [0, 1]
    assert first.tolist() == second.tolist() == [1.0, 1.0]


def test_unbalanced_gaussians_grow_as_their_closed_form() -> None:
    r"""Between N(0, a) and N(0, b) potentials are quadratic, and the map is linear.

    With slope tau, f'(x) = 2 (1 - tau) x; marginals are N(0, a') with 1 / a' = 1 / a + 2 (1 - tau) / rho, and
    likewise 1 / b' = 1 / b + 2 (1 - 1 / tau) / rho. From b' = tau^2 a' follows
    tau^2 = (1 / a + 2 / rho) / (1 / b + 2 / rho).
    """
    a, b, rho = 1.0, 3.0, 2.0
    level = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    z = math.sqrt(2) * torch.erfinv(2 * level - 1)[:, None]
    x, y = a**0.5 * z, b**0.5 * z
    slope = math.sqrt((1 / a + 2 / rho) / (1 / b + 2 / rho))
    f, g = relaxed_potentials(snapshots.squared_distances(x, y), rho)
    inner = (z.abs() < 1.5)[:, 0]
    for potential, at, bend in ((f, x[:, 0], 1 - slope), (g, y[:, 0], 1 - 1 / slope)):
        expected = bend * at**2
        off = (potential - expected)[inner]
        assert float(off.std()) < 0.05 * float(expected[inner].std())
    i, j, first, _ = unbalanced_plan(x, y, rho)
    moved = torch.zeros(400, dtype=torch.float64).index_add_(0, i, first * y[j, 0])
    torch.testing.assert_close(moved[inner], slope * x[inner, 0], rtol=0, atol=0.05)


def test_points_beyond_all_reach_and_points_in_one_place_are_joined() -> None:
    x = torch.zeros(3, 2).double()
    for y in (x[:2], x[:2] + 1e3, torch.tensor([[0.0, 0.0], [1e4, 0.0]]).double()):
        i, j, first, second = unbalanced_plan(x, y, 1e-3)
        assert set(i.tolist()) == {0, 1, 2}
        assert set(j.tolist()) == {0, 1}
        assert bool((torch.cat([first, second]) >= 0).all())
        torch.testing.assert_close(torch.zeros(3).double().index_add_(0, i, first), torch.ones(3).double())


@pytest.mark.parametrize("full", [10**6, 1])
@pytest.mark.parametrize("time", [0.25, 0.5, 0.75])
def test_mass_that_is_far_from_any_partner_grows_where_it_is(
    time: float, full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups far apart, of which one grows from a fifth to four fifths: nothing lies between them."""
    monkeypatch.setattr(snapshots, "FULL_PLAN", full)

    def groups(few: int, many: int, name: str) -> Tensor:
        return torch.cat([cloud(few, name) / 10, cloud(many, name) / 10 + 20])

    points = [groups(40, 160, "first"), groups(160, 40, "second")]
    x = SnapshotPath(points, [0, 1], "unbalanced").sample(torch.full((500,), time), generator("draw"))
    near = (x < 10).all(1)
    assert bool(((x.abs() < 1).all(1) | ((x - 20).abs() < 1).all(1)).all())
    assert float(near.double().mean()) == pytest.approx(0.2 + 0.6 * time, abs=0.1)
    moved = SnapshotPath(points, [0, 1]).sample(torch.full((500,), time), generator("draw"))
    assert float(((moved > 1) & (moved < 19)).all(1).double().mean()) > 0.4


def test_mass_grows_exponentially_from_one_snapshot_to_the_next() -> None:
    path = SnapshotPath(clouds(8, 10, 6, 9), KNOTS, masses=[2.0, 6.0, 6.0, 1.0])
    time = torch.tensor([*KNOTS, KNOTS[1] / 2, (KNOTS[2] + KNOTS[3]) / 2], dtype=torch.float64)
    expected = torch.tensor([1, 3, 3, 1 / 2, 3**0.5, (3 / 2) ** 0.5], dtype=torch.float64)
    torch.testing.assert_close(path.log_mass(time).exp(), expected)
    assert not SnapshotPath(clouds(8, 10), [0, 1]).log_mass(time).any()


@pytest.mark.parametrize("coupling", ["optimal", "unbalanced", "independent"])
def test_masses_change_no_marginal(coupling: Any) -> None:
    points, time = clouds(8, 10, 6, 9), torch.rand(200, generator=generator("time"))
    one, other = (
        SnapshotPath(points, KNOTS, coupling, masses=masses).sample(time, generator("draw"))
        for masses in (None, [1.0, 5.0, 2.0, 9.0])
    )
    assert torch.equal(one, other)


def test_plans_for_other_masses_are_multiples_of_one_another() -> None:
    """By POT itself, given the masses: what a path draws from, shares of rows and columns, is the same."""
    x, y = cloud(6, "x", dtype=torch.float64), cloud(8, "y", dtype=torch.float64) + 0.5
    cost = cdist(x.numpy(), y.numpy(), "sqeuclidean")
    plans = [
        ot.unbalanced.mm_unbalanced(np.full(6, 1 / 6), np.full(8, mass / 8), cost, 2.0, numItermax=5000, stopThr=1e-14)
        for mass in (1.0, 9.0)
    ]
    np.testing.assert_allclose(plans[1], 3 * plans[0], rtol=1e-6, atol=1e-9)


def test_particles_of_a_snapshot_come_back() -> None:
    path = SnapshotPath(clouds(6, 4), [0, 1])
    index = indices(path.draw(1, 4000, generator("draw")), path.points[1])
    assert chi_squared(index, 4) < 16.3  # 99.9 % quantile at 3 degrees of freedom


@pytest.mark.parametrize(("coupling", "full"), list(product(["optimal", "unbalanced", "independent"], [10**6, 1])))
def test_the_generator_is_the_only_randomness(coupling: Any, full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "FULL_PLAN", full)
    time = torch.rand(50, generator=generator("time"))
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, same, other = (
        SnapshotPath(clouds(9, 9, 7), [0, 0.5, 1], coupling, 0.5).sample(time, generator(name))
        for name in ("a", "a", "b")
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("points", "times", "sentence"),
    [
        (clouds(3), [0], "a path needs two snapshots or more, each with its time; got 1, 1"),
        (clouds(3, 3), [0, 0.5, 1], "a path needs two snapshots or more, each with its time; got 2, 3"),
        (clouds(3, 3), [0, 0.9], "times of snapshots must increase from 0 to 1"),
        (clouds(3, 3), [0.1, 1], "times of snapshots must increase from 0 to 1"),
        (clouds(3, 3, 3), [0, 0, 1], "times of snapshots must increase from 0 to 1"),
        ([torch.zeros(2, 2), torch.zeros(0, 2)], [0, 1], "the snapshot at time 1 is empty"),
        ([torch.full((2, 2), torch.nan), torch.zeros(2, 2)], [0, 1], "the snapshot at time 0 is empty or holds"),
        ([torch.zeros(2, 2), torch.zeros(2, 3)], [0, 1], r"with one d: \(2, 3\) at time 1, \(2, 2\) at time 0"),
        ([torch.zeros(2), torch.zeros(2)], [0, 1], r"must be \(n, d\)"),
    ],
)
def test_what_makes_no_path_is_refused_in_a_sentence(points: Any, times: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SnapshotPath(points, times)


@pytest.mark.parametrize("masses", [[1.0], [1.0, 0.0], [1.0, -2.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_masses_that_are_none_are_refused(masses: list[float]) -> None:
    with pytest.raises(ValueError, match="masses must be one positive number for each of 2 times, got"):
        SnapshotPath(clouds(3, 3), [0, 1], masses=masses)
