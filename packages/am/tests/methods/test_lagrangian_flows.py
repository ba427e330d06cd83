"""Lagrangian flows find paths that nobody gave them, where these are known in closed form."""

from __future__ import annotations

import math
import signal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor

from am.config import ConfigError
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import TrainedMethod
from am.randomness import generator
from am.runs import build_method
from am.training.loop import TrainingError, train

pytestmark = pytest.mark.trains

NAMES = ("wlf_ot", "wlf_sb", "wlf_uot")
TRAINING = {"batch_size": 256, "boundary_batch_size": 256, "learning_rate": 5e-3, "ema": 0.98, "snapshots": 0}
SHIFT = torch.tensor([3.0, 0.0])


def normal(name: str, n: int = 2000) -> Tensor:
    return torch.randn(n, 2, generator=generator(name))


class Fitted:
    def __init__(self, name: str, points: list[Tensor], iterations: int, **settings: Any) -> None:
        small = {"width": 32, "depth": 2}
        settings |= {"interpolant": {**small, "time_features": 4}} if name in NAMES else {}
        training = {**TRAINING, "iterations": iterations, **settings.pop("training", {})}
        method = build_method(name, {"training": training, "potential": small, **settings}, "test")
        assert isinstance(method, TrainedMethod)
        path = SnapshotPath(points, [k / (len(points) - 1) for k in range(len(points))], coupling="independent")
        with torch.random.fork_rng(devices=[]), TemporaryDirectory() as folder:
            torch.manual_seed(0)
            self.network: Any = method.build(path, generator("build"))
            trained = train(self.network, method.loss, path, method.settings.training, key="key", state=Path(folder))
        self.network.load_state_dict(trained.weights)
        self.method, self.path = method, path

    def sample(self, start: Tensor, *times: float) -> Any:
        return self.method.sample(self.network, start, torch.tensor(times), generator("sample"))


@cache
def translated(name: str, **settings: Any) -> Fitted:
    return Fitted(name, [normal("start"), normal("end") + SHIFT], 600, **settings)


def spread_at_half(fitted: Fitted) -> float:
    """Variance of a coordinate of the particles, half-way; one at the ends."""
    return float(fitted.sample(normal("test"), 0.0, 0.5).x[1].var(0).mean())


def test_a_translated_gaussian_moves_as_a_whole_though_any_points_are_joined() -> None:
    """The geodesic of optimal transport; lines between any points meet in the middle, where the variance is 1/2."""
    fitted, start = translated("wlf_ot"), normal("test")
    x = fitted.sample(start, 0.0, 0.5, 1.0).x
    assert spread_at_half(translated("am")) == pytest.approx(0.5, abs=0.1)
    assert spread_at_half(fitted) == pytest.approx(1, abs=0.15)
    torch.testing.assert_close((x[2] - x[0]).mean(0), SHIFT, atol=0.2, rtol=0)
    for time in (0.1, 0.5, 0.9):
        velocity = fitted.method.velocity(fitted.network, torch.full((2000,), time), start + time * SHIFT)
        assert velocity is not None
        assert float((velocity - SHIFT).square().sum(1).mean()) < 0.1 * float(SHIFT.square().sum())


def test_a_bridge_between_gaussians_mixes_as_much_as_its_noise_does() -> None:
    """The covariance of the ends is (sqrt(4 + sigma^4) - sigma^2) / 2: 1 for optimal transport, 0 for any pairs."""
    sigma = 1.0
    fitted, start = translated("wlf_sb", sigma=sigma), normal("test")
    x = fitted.sample(start, 0.0, 0.5, 1.0).x
    covariance = (math.sqrt(4 + sigma**4) - sigma**2) / 2
    found = ((x[0] - x[0].mean(0)) * (x[2] - x[2].mean(0))).mean()
    assert float(found) == pytest.approx(covariance, abs=0.15)
    assert float(x[1].var(0).mean()) == pytest.approx((1 + covariance) / 2 + sigma**2 / 4, rel=0.15)
    torch.testing.assert_close((x[2] - x[0]).mean(0), SHIFT, atol=0.2, rtol=0)


def populations(share: float, name: str, n: int = 2000) -> Tensor:
    """Two, too far from each other to move for lambda = 1."""
    right = torch.arange(n) < share * n
    return 0.3 * normal(name, n) + torch.where(right, 3.0, -3.0)[:, None] * torch.tensor([1.0, 0.0])


def test_populations_too_far_apart_to_move_grow_and_shrink_where_they_are() -> None:
    """Then roots of masses are lines, the geodesic of Hellinger; along lines between any points they would move."""
    shares = torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    points = [populations(float(share[1]), str(k)) for k, share in enumerate(shares)]
    fitted = Fitted("wlf_uot", points, 800, training={"learning_rate": 2e-3})
    start = populations(0.2, "test")
    found = fitted.sample(start, 0.0, 0.5, 1.0)
    assert float((found.x[2] - start).norm(dim=1).mean()) < 0.3
    weight = found.log_weight.exp()
    right = (weight * (start[:, 0] > 0)).mean(1) / weight.mean(1)
    roots = shares.sqrt()
    masses = ((roots[0] + roots[1]) / 2) ** 2
    assert float(right[2]) == pytest.approx(0.7, abs=0.1)
    assert float(right[1]) == pytest.approx(float(masses[1] / masses.sum()), abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_both_sides_are_trained_and_continue_where_they_were_stopped(name: str, tmp_path: Path) -> None:
    training = {"iterations": 12, "batch_size": 16, "boundary_batch_size": 16, "snapshots": 0, "warmup": 0}
    small = {"width": 8, "depth": 2}
    method = build_method(name, {"training": training, "potential": small, "interpolant": small}, "test")
    assert isinstance(method, TrainedMethod)
    path = SnapshotPath([normal("start", 20), normal("end", 20) + SHIFT], (0.0, 1.0))

    def fresh() -> Any:
        torch.manual_seed(0)
        return method.build(path, generator("build"))

    def fit(network: Any, state: Path, stop: int = -1) -> dict[str, Tensor]:
        def loss(*arguments: Any) -> Any:
            if arguments[2].step == stop:
                signal.raise_signal(signal.SIGTERM)
            return method.loss(*arguments)

        return train(network, loss, path, method.settings.training, key="key", state=state).weights

    with torch.random.fork_rng(devices=[]):
        whole = fit(fresh(), tmp_path / "whole")
        with pytest.raises(TrainingError, match="step 6 is saved"):
            fit(fresh(), tmp_path / "cut", stop=5)
        resumed = fit(fresh(), tmp_path / "cut")
        before = dict(fresh().named_parameters())
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key
        assert key not in before or key.endswith("action.network.last.bias") or not torch.equal(value, before[key]), key


def test_the_estimate_that_needs_curves_that_stay_is_refused() -> None:
    method = build_method("wlf_ot", {"estimator": "conditional"}, "test")
    assert isinstance(method, TrainedMethod)
    with pytest.raises(ConfigError, match="use 'marginal'"):
        method.build(SnapshotPath([normal("start"), normal("end")], (0.0, 1.0)), generator("build"))
