"""Methods that simulate in training carry Gaussians, spread single points, and move no more than they are asked to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from am.config import ConfigError
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import TrainedMethod
from am.objectives import legs
from am.randomness import generator
from am.runs import build_method
from am.training.loop import train

pytestmark = pytest.mark.trains

NAMES = ("mioflow_like", "neural_sde", "nlsb")
DIFFUSIONS = NAMES[1:]
KNOTS = (0.0, 0.25, 1.0)
CENTRES = torch.tensor([[10.0, 0.0], [14.0, 3.0], [8.0, 6.0]])
SPREAD = 1.0
TRAINING = {"batch_size": 128, "learning_rate": 1e-2, "warmup": 10, "ema": 0.95, "snapshots": 0}


class Fitted(NamedTuple):
    method: TrainedMethod
    network: Any

    def sample(self, start: Tensor, *times: float, seed: int = 0) -> Tensor:
        return self.method.sample(self.network, start, torch.tensor(times), generator("sample", seed)).x


def fit(
    name: str, points: Sequence[Tensor], iterations: int, times: Sequence[float] = KNOTS, **settings: Any
) -> Fitted:
    settings = {"training": {**TRAINING, "iterations": iterations}, **settings}
    if name == "mioflow_like":
        settings["network"] = {"width": 32, "depth": 2}
    else:
        settings["steps"] = 6
    method = build_method(name, settings, "test")
    assert isinstance(method, TrainedMethod)
    path = SnapshotPath(points, times)
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        network = method.build(path, generator("build"))
        trained = train(network, method.loss, path, method.settings.training, key="key", state=Path(folder))
    network.load_state_dict(trained.weights)
    return Fitted(method, network.eval())


def cells(k: int, n: int = 500, name: str = "cells") -> Tensor:
    return SPREAD * torch.randn(n, 2, generator=generator(name, k)) + CENTRES[k]


@cache
def carried(name: str) -> Fitted:
    """Trained on Gaussians that move one way, and then another."""
    return fit(name, [cells(k) for k in range(3)], 400 if name == "mioflow_like" else 200)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [0, 1])
def test_particles_that_it_never_saw_are_carried_to_the_next_snapshot(name: str, k: int) -> None:
    x = carried(name).sample(cells(k, 1000, "test"), KNOTS[k], KNOTS[k + 1])[1]
    moved = float((CENTRES[k + 1] - CENTRES[k]).norm())
    assert float((x.mean(0) - CENTRES[k + 1]).norm()) < 0.1 * moved
    assert float(x.std(0).mean()) == pytest.approx(SPREAD, rel=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_and_on_from_there_to_the_last(name: str) -> None:
    x = carried(name).sample(cells(0, 1000, "test"), *KNOTS)
    for k in (1, 2):
        assert float((x[k].mean(0) - CENTRES[k]).norm()) < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_the_velocity_is_that_of_its_particles(name: str) -> None:
    fitted, n, step = carried(name), 20_000, 2**-8
    start = cells(0, 1, "test").expand(n, 2)
    moved = (fitted.sample(start, 0.25, 0.25 + step)[1] - start).mean(0) / step
    told = fitted.method.velocity(fitted.network, torch.full((1,), 0.25), start[:1])
    assert told is not None
    assert not told.requires_grad
    error = 0.0 if name == "mioflow_like" else 4 * float(fitted.network.potential.spread) * math.sqrt(2 / step / n)
    torch.testing.assert_close(moved, told[0], rtol=0.02, atol=error + 0.05)


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_particles_are_sampled_with_the_steps_of_training(name: str) -> None:
    """Six in a mean interval, which is half of all the time."""
    fitted, start = carried(name), cells(0, 5, "test")
    for times, steps in (((0.0, 1.0), 12), ((0.25, 1.0), 9), ((0.0, 0.25, 1.0), 12)):
        prediction = fitted.method.sample(fitted.network, start, torch.tensor(times), generator("sample"))
        assert prediction.nfe == steps


RATE, SIGMA, AT = 1.0, 2.0, torch.tensor([4.0, -2.0])


def relaxed(time: float, n: int, name: str) -> Tensor:
    """The Ornstein-Uhlenbeck process that starts at a point, at a time."""
    deviation = math.sqrt(SIGMA**2 / (2 * RATE) * (1 - math.exp(-2 * RATE * time)))
    return math.exp(-RATE * time) * AT + deviation * torch.randn(n, 2, generator=generator(name, time))


@cache
def spread_out(name: str) -> Fitted:
    times = (0.0, 0.5, 1.0)
    return fit(name, [relaxed(t, 400, "cells") for t in times], 200, times)


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_noise_spreads_a_point_as_an_ornstein_uhlenbeck_process_does(name: str) -> None:
    """No deterministic dynamics spread particles that start at one point."""
    times = (0.0, 0.5, 1.0)
    x = spread_out(name).sample(AT.expand(2000, 2), *times)
    for time, found in zip(times[1:], x[1:], strict=True):
        torch.testing.assert_close(found.mean(0), math.exp(-RATE * time) * AT, rtol=0, atol=0.25)
        expected = SIGMA * math.sqrt((1 - math.exp(-2 * RATE * time)) / (2 * RATE))
        assert float(found.std(0).mean()) == pytest.approx(expected, rel=0.15)
    other = spread_out(name).sample(AT.expand(2000, 2), *times, seed=1)
    assert not torch.equal(x[-1], other[-1])


def straightness(fitted: Fitted) -> float:
    """Squared length of the mean displacement over the action of particles, at most one: that of a constant drift."""
    times = torch.linspace(0, 1, 41)
    start = cells(0, 500, "test")
    x = fitted.sample(start, *times.tolist())
    drift = torch.stack([fitted.network.drift(t.expand(500), at) for t, at in zip(times, x, strict=True)])
    displacement = (x[-1] - x[0]).mean(0)
    return float((displacement.square().sum() / drift.square().sum(-1).mean()).detach())


@cache
def bridged(alpha_action: float, alpha_residual: float) -> Fitted:
    points = [cells(0), cells(0, name="end") + torch.tensor([4.0, 3.0])]
    alphas = {"alpha_action": [alpha_action], "alpha_residual": [alpha_residual]}
    return fit("nlsb", points, 120, (0.0, 1.0), **alphas)


def test_a_larger_weight_of_the_action_makes_paths_straighter() -> None:
    found = [straightness(bridged(alpha, 0.0)) for alpha in (0.0, 0.1)]
    assert found[0] + 0.05 < found[1] < 1.001
    x = bridged(0.1, 0.0).sample(cells(0, 500, "test"), 0.0, 1.0)
    torch.testing.assert_close((x[1] - x[0]).mean(0), torch.tensor([4.0, 3.0]), rtol=0.15, atol=0)


def test_a_larger_weight_of_the_equation_solves_it_better() -> None:
    from am.objectives.least_action import action_and_residual

    found = []
    for alpha in (0.0, 0.1):
        network = bridged(0.0, alpha).network
        time = torch.full((500,), 0.5)
        x = bridged(0.0, alpha).sample(cells(0, 500, "test"), 0.0, 0.5)[1]
        action, residual = action_and_residual(network, time, x)
        found.append(float((residual.mean() / action.mean()).detach()))
    assert found[1] < 0.5 * found[0]


def test_the_energy_of_motion_is_paid_for() -> None:
    free, dear = (fit("mioflow_like", [cells(0), cells(1)], 100, (0.0, 1.0), energy=weight) for weight in (0.0, 10.0))
    start = cells(0, 500, "test")
    moved = [float((trained.sample(start, 0.0, 1.0)[1] - start).norm(dim=1).mean()) for trained in (free, dear)]
    # Least of (5 - v)^2 + 10 v^2 is at v = 5 / 11.
    assert moved[0] == pytest.approx(5, rel=0.1)
    assert moved[1] == pytest.approx(5 / 11, rel=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_each_step_moves_true_cells_and_all_are_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[legs.Legs] = []

    class Recorded(legs.Legs):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            seen.append(self)

    monkeypatch.setattr(legs, "Legs", Recorded)
    points = [cells(k, 100) for k in range(3)]
    fit(name, points, 20)
    assert len(seen) == 20
    for k in range(2):
        starts = torch.cat([each.start.split(each.sizes)[k] for each in seen])
        ends = torch.cat([each.cells[k] for each in seen])
        for found, given in ((starts, points[k]), (ends, points[k + 1])):
            assert len(found) == 20 * 64
            assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in given.tolist()}


def test_as_many_weights_as_intervals_or_one() -> None:
    with pytest.raises(ConfigError, match="alpha_residual: 3 numbers for 2 intervals"):
        fit("nlsb", [cells(k) for k in range(3)], 1, alpha_residual=[0.1, 0.1, 0.1])
    fit("nlsb", [cells(k) for k in range(3)], 1, alpha_residual=[0.1, 0.1])
