"""Action Matching finds what synthetic data sets are known to be made of, within 5 %."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from am.io.snapshots import Snapshots, write_snapshots
from am.methods.contract import TrainedMethod
from am.metrics.energy import energy_distance
from am.metrics.fields import correlation as correlation_of
from am.metrics.fields import mass_error
from am.randomness import generator
from am.runs import build_dataset, build_method
from am.training.loop import train

pytestmark = pytest.mark.trains

TIMES, POINTS = 21, 2000
TINY = {"width": 32, "depth": 2, "time_features": 1}
TRAINING = {"boundary_batch_size": 256, "learning_rate": 1e-2, "ema": 0.995, "snapshots": 0}


def exact_path(name: str) -> Any:
    return build_dataset({"name": name, "learned_from": "path"}, "test").truth()


def trained(
    method: str, path: Any, folder: Path, settings: dict[str, Any] | None = None, **training: int
) -> tuple[TrainedMethod, Any]:
    settings = {"potential": TINY, "training": {**TRAINING, **training}} | (settings or {})
    learner = build_method(method, settings, "test")
    assert isinstance(learner, TrainedMethod)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = learner.build(path, generator("build"))
    result = train(network, learner.loss, path, learner.settings.training, key="key", state=folder / "state")
    network.load_state_dict(result.weights)
    return learner, network


def points(path: Any) -> tuple[Tensor, Tensor]:
    """Times on a grid with the ends, and points of q_t at each."""
    time = torch.linspace(0, 1, TIMES).repeat_interleave(POINTS)
    return time, path.sample(time, generator("points"))


def relative(found: Tensor, exact: Tensor) -> float:
    """L2 distance under q_t, over the L2 norm of what is exact."""
    return float((found - exact).norm() / exact.norm())


def test_unbalanced_action_matching_finds_the_growth_rate(tmp_path: Path) -> None:
    path = exact_path("growing_mixture")
    learner, network = trained("uam", path, tmp_path, iterations=1500, batch_size=1024)
    time, x = points(path)
    growth = learner.growth_rate(network, time, x)
    assert growth is not None
    growth = growth.view(TIMES, -1)
    log_mass = path.log_mass(torch.linspace(0, 1, TIMES))
    assert float((growth.mean(1) - torch.gradient(log_mass, spacing=1 / (TIMES - 1))[0]).abs().max()) < 0.15
    error = relative((growth - growth.mean(1, keepdim=True)).flatten(), path.growth(time, x))
    assert error < 0.05
    # Nothing moves.
    velocity = learner.velocity(network, time, x)
    assert velocity is not None
    assert float(velocity.square().sum(1).mean().sqrt()) < 0.1


def test_what_grows_as_one_has_its_rate_and_its_mass(tmp_path: Path) -> None:
    """A population that stands still and grows by exp(1.5): no probability knows, masses of snapshots do."""
    alone = {"name": "growing_mixture", "populations": [{"centre": (1.0, 2.0), "mass": 3.0, "rate": 1.5}]}
    dataset = build_dataset({**alone, "time_points": 3, "path": {"masses": "known"}}, "test")
    x = next(iter(dataset.training_points(3, 200, "")))[1]
    data = Snapshots(np.tile(x, (3, 1)), np.repeat([0, 0.5, 1], 200), np.full(600, "train"), np.full(600, -1))
    write_snapshots(data, ("x", "y"), tmp_path / "data.h5ad")
    learner, network = trained(
        "uam", dataset.snapshots(tmp_path / "data.h5ad"), tmp_path, iterations=500, batch_size=256
    )
    start, times = torch.from_numpy(x), torch.linspace(0, 1, 5)
    moved = learner.sample(network, start, times, generator("sample"))
    assert moved.log_weight is not None
    for time, place, log_weight in zip(times.tolist(), moved.x, moved.log_weight, strict=True):
        growth = learner.growth_rate(network, torch.full((200,), time), place)
        assert growth is not None
        assert float(growth.mean()) == pytest.approx(1.5, rel=0.1)
        assert mass_error(log_weight, 1.5 * time) < 0.05
        assert float((place - start).square().sum(1).mean().sqrt()) < 0.1


def test_growth_of_cells_that_move_is_found_where_growing_costs_what_moving_does(tmp_path: Path) -> None:
    """Marginals alone do not tell growth from motion: lambda does, and with 1 the growth is not that of the cells."""
    path = exact_path("gene_network")
    time, x = points(path)
    exact = path.growth(time, x)

    def correlation(growth: float) -> float:
        learner = build_method("uam_closed", {"growth": growth}, "test")
        network = learner.build(path, generator("uam_closed", "build"))
        network.load_state_dict(learner.train(network, path, key="uam_closed", state=tmp_path / f"{growth}").weights)
        found = learner.growth_rate(network, time, x)
        assert found is not None
        centred = found.view(TIMES, -1) - found.view(TIMES, -1).mean(1, keepdim=True)
        return correlation_of(centred.flatten(), exact.flatten())

    assert correlation(0.1) > 0.9
    assert correlation(1.0) < 0.8


def test_entropic_action_matching_finds_the_drift(tmp_path: Path) -> None:
    path = exact_path("ornstein_uhlenbeck")
    learner, network = trained("eam", path, tmp_path, iterations=1000, batch_size=256)
    time, x = points(path)
    drift, exact = learner.velocity(network, time, x), path.drift(time, x)
    assert drift is not None
    error = relative(drift, exact)
    assert error < 0.05
    assert relative(path.velocity(time, x), exact) > 0.3  # what would be found without noise


@pytest.mark.parametrize("name", ["petals", "bifurcation"])
def test_action_matching_moves_the_start_along_the_marginals(tmp_path: Path, name: str) -> None:
    path = exact_path(name)
    learner, network = trained("am", path, tmp_path, iterations=400, batch_size=256)
    start = path.sample(torch.zeros(POINTS), generator("start"))
    moved = learner.sample(network, start, torch.tensor([0.0, 0.5, 1.0]), generator("sample")).x
    for time, x in zip((0.5, 1.0), moved[1:], strict=True):
        truth = path.sample(torch.full((POINTS,), time), generator("truth", time))
        assert energy_distance(x, truth) < 0.05 * energy_distance(start, truth)
