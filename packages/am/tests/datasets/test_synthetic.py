"""Synthetic data sets against closed forms, and against the equations that they solve, by finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import Tensor

from am import plugins
from am.config import ConfigError
from am.io.snapshots import DataError, read_snapshots
from am.marginals.mixture import GaussianMixture
from am.marginals.ornstein_uhlenbeck import OrnsteinUhlenbeck
from am.marginals.snapshots import SnapshotPath
from am.metrics.settings import Energy
from am.randomness import generator
from am.runs import DataConfig, Evaluation, build_dataset, write_settings
from am.steps.prepare import prepare

MIXTURES = ["petals", "growing_mixture", "bifurcation"]
NAMES = [*MIXTURES, "ornstein_uhlenbeck", "gene_network"]
every_name = pytest.mark.parametrize("name", NAMES)
STEP = 1e-4


def dataset(name: str, **settings: Any) -> Any:
    return build_dataset({"name": name, **settings}, "test")


def drawn(name: str, time: float, n: int = 20_000, **settings: Any) -> np.ndarray:
    return dataset(name, **settings).truth().sample(torch.full((n,), time), generator("draw")).numpy()


def points(path: Any, n: int = 100) -> tuple[Tensor, Tensor]:
    time = torch.linspace(0.05, 0.95, n, dtype=torch.float64)
    return time, path.sample(time, generator("points"))


def in_time(function: Callable[[Tensor, Tensor], Tensor], time: Tensor, x: Tensor) -> Tensor:
    return (function(time + STEP, x) - function(time - STEP, x)) / (2 * STEP)


def divergence(field: Callable[[Tensor, Tensor], Tensor], time: Tensor, x: Tensor) -> Tensor:
    shifts = STEP * torch.eye(x.shape[1], dtype=x.dtype)
    ends = [(field(time, x + s), field(time, x - s)) for s in shifts]
    return sum(((a - b)[:, i] / (2 * STEP) for i, (a, b) in enumerate(ends)), x.new_zeros(len(x)))


# -- equations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"start": (1.0, -2.0, 0.5), "spread": 1.0, "rate": 0.7, "sigma": 0.4}])
def test_ornstein_uhlenbeck_solves_its_fokker_planck_equation(settings: dict[str, Any]) -> None:
    path: OrnsteinUhlenbeck = dataset("ornstein_uhlenbeck", **settings).truth()
    time, x = points(path)
    drift, score = path.drift(time, x), path.score(time, x)
    flux = divergence(path.drift, time, x) + (drift * score).sum(-1)
    spreading = path.sigma**2 / 2 * (divergence(path.score, time, x) + score.square().sum(-1))
    change = in_time(path.log_density, time, x)
    assert float(change.std()) > 0.1
    torch.testing.assert_close(change, spreading - flux, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_solve_the_continuity_equation_with_growth(name: str) -> None:
    path: GaussianMixture = dataset(name).truth()
    time, x = points(path)
    flux = divergence(path.velocity, time, x) + (path.velocity(time, x) * path.score(time, x)).sum(-1)
    growth = path.growth(time, x)
    assert (float(growth.abs().max()) > 0.1) == (name == "growing_mixture")
    torch.testing.assert_close(in_time(path.log_density, time, x), growth - flux, rtol=1e-3, atol=1e-3)


# -- closed forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [0.0, 0.4, 1.0])
def test_moments_of_ornstein_uhlenbeck(time: float) -> None:
    x = drawn("ornstein_uhlenbeck", time, start=(2.0, -1.0), spread=0.4, rate=1.5, sigma=0.8)
    variance = 0.16 * math.exp(-3 * time) + 0.64 / 3 * (1 - math.exp(-3 * time))
    for values, start in zip(x.T, (2.0, -1.0), strict=True):
        exact = stats.norm(start * math.exp(-1.5 * time), math.sqrt(variance))
        assert stats.kstest(values, exact.cdf).pvalue > 1e-3
    assert abs(stats.pearsonr(*x.T).statistic) < 4 / math.sqrt(len(x))


def test_ornstein_uhlenbeck_forgets_its_start() -> None:
    path = OrnsteinUhlenbeck([5.0], 2.0, 30.0, 3.0)
    one = torch.ones(1, dtype=torch.float64)
    assert float(path.mean(one)) == pytest.approx(0, abs=1e-10)
    assert float(path.scale(one)) == pytest.approx(3 / math.sqrt(60))


def test_populations_grow_exponentially_where_they_stand() -> None:
    populations = [
        {"centre": (-5.0, 0.0), "mass": 3.0, "rate": -0.5},
        {"centre": (5.0, 0.0), "mass": 1.0, "rate": 1.5},
    ]
    time = 0.6
    left, right = 3 * math.exp(-0.5 * time), math.exp(1.5 * time)
    share = right / (left + right)
    x = drawn("growing_mixture", time, populations=populations, scale=0.4)
    on_right = x[:, 0] > 0
    assert stats.binomtest(int(on_right.sum()), len(x), share).pvalue > 1e-3
    assert stats.kstest(x[on_right, 0], stats.norm(5, 0.4).cdf).pvalue > 1e-3
    path = dataset("growing_mixture", populations=populations, scale=0.4).truth()
    t, centres = torch.full((2,), time, dtype=torch.float64), torch.tensor([[-5.0, 0], [5, 0]]).double()
    mean = share * 1.5 - (1 - share) * 0.5
    torch.testing.assert_close(path.growth(t, centres), torch.tensor([-0.5 - mean, 1.5 - mean]).double())
    torch.testing.assert_close(path.velocity(t, centres), torch.zeros(2, 2).double())


def test_masses_are_those_of_the_populations() -> None:
    populations = [
        {"centre": (-5.0, 0.0), "mass": 3.0, "rate": -0.5},
        {"centre": (5.0, 0.0), "mass": 1.0, "rate": 1.5},
    ]
    path = dataset("growing_mixture", populations=populations).truth()
    time = torch.tensor([0.0, 0.6, 1.0], dtype=torch.float64)
    torch.testing.assert_close(path.log_mass(time).exp(), (3 * torch.exp(-0.5 * time) + torch.exp(1.5 * time)) / 4)


@pytest.mark.parametrize(("name", "settings"), [("growing_mixture", {}), ("gene_network", {"particles": 4000})])
def test_the_rate_of_growth_is_the_relative_one_and_that_of_the_mass(name: str, settings: dict[str, int]) -> None:
    path = dataset(name, **settings).truth()
    time = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64).repeat_interleave(50)
    x = path.sample(time, generator("points"))
    step = 0.005  # the simulation's
    mean = (path.log_mass(time + step) - path.log_mass(time - step)) / (2 * step)
    torch.testing.assert_close(path.rate(time, x), path.growth(time, x) + mean, rtol=0, atol=0.01)


@pytest.mark.parametrize(("time", "away"), [(0.0, 0.0), (0.2, 0.0), (0.6, 2 * 0.25), (1.0, 2.0)])
def test_branches_part_after_the_split(time: float, away: float) -> None:
    x = drawn("bifurcation", time, split_time=0.2, share=0.6, scale=0.1)
    assert stats.kstest(x[:, 0], stats.norm(4 * time, 0.1).cdf).pvalue > 1e-3
    upper, lower = stats.norm(away, 0.1), stats.norm(-away, 0.1)
    assert stats.kstest(x[:, 1], lambda y: 0.6 * upper.cdf(y) + 0.4 * lower.cdf(y)).pvalue > 1e-3


@pytest.mark.parametrize("time", [0.0, 0.25, 0.5, 1.0])
def test_petals_are_edges_around_their_middle(time: float) -> None:
    x = drawn("petals", time, petals=3, length=5.0, width=0.5, scale=0.05)
    angle = 2 * math.pi * np.arange(3) / 3
    out, aside = 5 * time, 0.5 * math.sin(math.pi * time)
    edges = np.concatenate(
        [
            [[out * math.cos(a) - s * aside * math.sin(a), out * math.sin(a) + s * aside * math.cos(a)] for a in angle]
            for s in (1, -1)
        ]
    )
    distance = np.linalg.norm(x[:, None] - edges, axis=-1)
    assert distance.min(1).max() < 6 * 0.05
    nearest = np.bincount(distance.argmin(1), minlength=6)
    if time in (0.25, 0.5):  # at other times edges meet
        assert stats.chisquare(nearest).pvalue > 1e-3
        gap = x - edges[distance.argmin(1)]
        assert stats.kstest(gap.ravel(), stats.norm(0, 0.05).cdf).pvalue > 1e-3


def test_cells_of_the_network_rest_or_go_where_they_multiply() -> None:
    """In balance, A makes what decays: (a^2 + b) / (1 + a^2 + b) = decay * a, by a root finder, and B the same."""
    basal, decay = 0.05, 0.25
    high = optimize.brentq(lambda a: (a**2 + basal) / (1 + a**2 + basal) - decay * a, 1, 10)
    path = dataset("gene_network", duration=60.0, particles=5000).truth()
    x = path.sample(torch.ones(5000), generator("draw"))
    mostly_a = x[:, 0] > x[:, 1]
    for gene, cells in ((0, x[mostly_a]), (1, x[~mostly_a])):
        assert float(cells[:, gene].median()) == pytest.approx(high, rel=0.02)
        assert float(cells[:, 2].median()) == pytest.approx(0, abs=0.02)
    # There B divides at (division + death) B^2 / (1 + B^2) - death, and A dies: the shares are those of exponentials.
    growth = path.growth(torch.ones(2), torch.tensor([[high, 0.0, 0.0], [0.0, high, 0.0]]))
    assert float(growth[1] - growth[0]) == pytest.approx(60 * 0.1 * high**2 / (1 + high**2), rel=1e-4)
    assert float((~mostly_a).double().mean()) > 0.9


# -- what is learned from --------------------------------------------------------------------------


def prepared(folder: Path, name: str, **settings: Any) -> Path:
    evaluation = Evaluation(times=(1.0,), n_samples=10, metrics=(Energy(),), snapshot_times=3, snapshot_size=25)
    plan = DataConfig(experiment="e", seeds=(0,), dataset={"name": name, **settings}, evaluation=evaluation)
    write_settings(plan, folder / "config.yaml")
    prepare(folder / "config.yaml", folder / "data.h5ad")
    return folder / "data.h5ad"


@every_name
@pytest.mark.parametrize("time_points", [5, 10, 15])
def test_snapshots_stand_at_the_time_points(tmp_path: Path, name: str, time_points: int) -> None:
    data = prepared(tmp_path, name, time_points=time_points)
    points = read_snapshots(data)
    times, counts = np.unique(points.time[points.split == "train"], return_counts=True)
    np.testing.assert_allclose(times, np.arange(time_points) / (time_points - 1))
    assert (counts == 25).all()
    kind = dataset(name, time_points=time_points)
    assert kind.observed == pytest.approx(times.tolist())
    path = kind.marginals(data)
    assert isinstance(path, SnapshotPath)
    for k, time in enumerate(times):
        there = {row.tobytes() for row in points.x[(points.split == "train") & (points.time == time)]}
        assert {row.tobytes() for row in path.points[k].numpy()} == there


@every_name
def test_the_exact_path_is_learned_from_where_that_is_asked_for(tmp_path: Path, name: str) -> None:
    kind = dataset(name, learned_from="path", path={"coupling": "independent", "smoothing": 0.2})
    data = prepared(tmp_path, name, learned_from="path")
    assert kind.observed is None
    assert type(kind.marginals(data)) is type(kind.truth())
    snapshots = kind.snapshots(data)  # for methods that learn from nothing else
    assert isinstance(snapshots, SnapshotPath)
    assert (snapshots.coupling, snapshots.smoothing) == ("independent", 0.2)


@pytest.mark.parametrize(
    ("masses", "expected"),
    [("equal", [1, 1, 1]), ("counts", [1, 1, 1]), ([2, 4, 1], [1, 2, 0.5]), ("known", [1, 0.89640, 1.19642])],
)
def test_masses_of_snapshots_are_those_that_are_asked_for(tmp_path: Path, masses: Any, expected: list[float]) -> None:
    settings = {"time_points": 3, "path": {"masses": masses}}
    path = dataset("growing_mixture", **settings).snapshots(prepared(tmp_path, "growing_mixture", time_points=3))
    time = torch.tensor([0, 0.5, 1])
    exact = torch.tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(path.log_mass(time).exp(), exact, rtol=1e-4, atol=1e-4)


def test_masses_that_the_truth_does_not_tell_are_refused(tmp_path: Path) -> None:
    data = prepared(tmp_path, "ornstein_uhlenbeck")
    with pytest.raises(DataError, match=r"path\.masses: the truth of this data set tells no mass; choose from"):
        dataset("ornstein_uhlenbeck", path={"masses": "known"}).snapshots(data)


@every_name
def test_it_is_found_by_its_name(name: str) -> None:
    assert name in plugins.names("am.datasets")


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("petals", {"time_points": 1}, "time_points"),
        ("petals", {"learned_from": "paths"}, "learned_from"),
        ("bifurcation", {"split_time": 1.0}, "split_time"),
        ("ornstein_uhlenbeck", {"rate": 0.0}, "rate"),
        ("growing_mixture", {"populations": []}, "populations"),
        (
            "growing_mixture",
            {"path": {"masses": [1, 2]}},
            r"path\.masses: 2 numbers for 5 observed times: 0, 0\.25, 0\.5",
        ),
        ("growing_mixture", {"path": {"masses": [1, 2, 0, 1, 1]}}, r"path\.masses"),
        ("growing_mixture", {"populations": [{"centre": [0, 0], "mass": 1, "rat": 1}]}, "did you mean 'rate'?"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        dataset(name, **settings)
