"""Flows trained by likelihood learn the densities of Gaussians that move, and move no more than they are asked to."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from am.config import ConfigError
from am.dynamics.likelihood import log_likelihood
from am.dynamics.settings import OdeSettings
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import TrainedMethod
from am.objectives import legs
from am.randomness import generator
from am.runs import build_method
from am.training.loop import train
from am.training.stream import Stream

pytestmark = pytest.mark.trains

NAMES = ("trajectorynet", "ot_flow")
KNOTS = (0.0, 0.4, 1.0)
CENTRES = torch.tensor([[10.0, 0.0], [12.0, 1.0], [9.0, 2.0]])
BASE = -0.5  # two intervals: their mean is half of the time
every_flow = pytest.mark.parametrize("name", NAMES)


def cells(k: int, n: int = 1000, name: str = "cells") -> Tensor:
    """Of a Gaussian with standard deviation one."""
    return torch.randn(n, 2, generator=generator(name, k)) + CENTRES[k]


class Fitted(NamedTuple):
    method: TrainedMethod
    network: Any

    def sample(self, start: Tensor, *times: float) -> Tensor:
        return self.method.sample(self.network, start, torch.tensor(times), generator("sample")).x


def fit(name: str, iterations: int, path: SnapshotPath | None = None, **settings: Any) -> Fitted:
    training = {"iterations": iterations, "batch_size": 150, "learning_rate": 3e-2, "warmup": 5, "ema": 0.9}
    solver = {"method": "rk4", "steps": 2}
    method = build_method(name, {"training": training, "solver": solver, **settings}, "test")
    assert isinstance(method, TrainedMethod)
    path = SnapshotPath([cells(k) for k in range(3)], KNOTS) if path is None else path
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        network = method.build(path, generator("build"))
        trained = train(network, method.loss, path, method.settings.training, key="key", state=Path(folder))
    network.load_state_dict(trained.weights)
    return Fitted(method, network.eval())


@cache
def trained(name: str) -> Fitted:
    return fit(name, 150 if name == "trajectorynet" else 300)


@every_flow
def test_a_gap_between_snapshots_is_crossed_with_blur_and_not_without(name: str) -> None:
    """Without, each snapshot is as likely as in the mixture of both that stands still: log 2 is lost, at both times."""
    ends = [torch.randn(300, 2, generator=generator("gap", k)) * 0.3 + place for k, place in enumerate((-1, 1))]
    left = {}
    for blur in (0.0, 1.5):
        fitted = fit(name, 150, SnapshotPath(ends, (0.0, 1.0)), blur=blur)
        left[blur] = float((fitted.sample(ends[0], 0.0, 1.0)[1].mean(0) - ends[1].mean(0)).norm())
    moved = float((ends[1].mean(0) - ends[0].mean(0)).norm())
    assert left[0.0] > 0.9 * moved
    assert left[1.5] < 0.1 * moved


@every_flow
@pytest.mark.parametrize("k", [0, 1])
def test_particles_that_it_never_saw_are_carried_to_the_next_snapshot(name: str, k: int) -> None:
    x = trained(name).sample(cells(k, name="test"), KNOTS[k], KNOTS[k + 1])[1]
    moved = float((CENTRES[k + 1] - CENTRES[k]).norm())
    assert float((x.mean(0) - CENTRES[k + 1]).norm()) < 0.25 * moved
    assert float(x.std(0).mean()) == pytest.approx(1, rel=0.2)


@every_flow
def test_the_density_of_new_cells_is_as_high_as_any_can_be(name: str) -> None:
    """No density is higher on average than the true one, whose logarithm is minus the entropy of a Gaussian there.

    Asked of the velocity alone, by the integrator of another module: the training's own sums are not trusted.
    """
    method, network = trained(name)

    def velocity(time: Tensor, x: Tensor) -> Tensor:
        return method.rates(network, time, x)[0]  # type: ignore[attr-defined]

    def gaussian(x: Tensor) -> Tensor:
        z = (x - network.centre) / network.spread
        return -(z.square() / 2 + math.log(2 * math.pi) / 2 + network.spread.log()).sum(-1)

    entropy = math.log(2 * math.pi * math.e)
    for k, time in enumerate(KNOTS):
        told, _, _ = log_likelihood(velocity, cells(k, 400, "test"), gaussian, OdeSettings(), BASE, time)
        assert -0.15 < float(told.mean()) + entropy < 0.1


@every_flow
def test_the_loss_is_the_negative_log_likelihood_of_the_cells_and_the_weighed_energy(name: str) -> None:
    settings = {"alpha_energy": [0.5, 0.25], "solver": {"rtol": 1e-6, "atol": 1e-6}}
    method = build_method(name, settings | ({"alpha_residual": [0.0]} if name == "ot_flow" else {}), "test")
    assert isinstance(method, TrainedMethod)
    path = SnapshotPath([cells(k, 30) for k in range(3)], KNOTS)
    network: Any = trained(name).network
    loss, parts = method.loss(network, path, Stream("test", 0, 90, 1))

    def velocity(time: Tensor, x: Tensor) -> Tensor:
        return method.rates(network, time, x)[0]  # type: ignore[attr-defined]

    def gaussian(x: Tensor) -> Tensor:
        return -(((x - network.centre) / network.spread).square() / 2 + math.log(2 * math.pi) / 2).sum(-1)

    fine = OdeSettings(rtol=1e-6, atol=1e-6)
    told = (log_likelihood(velocity, x, gaussian, fine, BASE, t)[0] for x, t in zip(path.points, KNOTS, strict=True))
    nll = -float(torch.stack([of_cells.mean() for of_cells in told]).mean())
    assert float(parts["nll"]) == pytest.approx(nll, abs=1e-4)

    def energy(x: Tensor, begin: float, end: float) -> tuple[Tensor, Tensor]:
        """Of points at ``end``, on the way from ``begin``, in spreads and intervals; and where they were."""
        steps, total = 200, torch.zeros(len(x))
        dt = (end - begin) / steps
        for i in range(steps):  # the midpoint rule
            time = torch.full((len(x),), end - i * dt)
            middle = velocity(time - dt / 2, x - dt / 2 * velocity(time, x)).detach()
            total += dt / 0.5 * (0.5 * middle / network.spread).square().sum(-1) / 2
            x = x - dt * middle
        return total, x

    late, x = energy(path.points[2], 0.4, 1.0)
    early, _ = energy(torch.cat([x, path.points[1]]), 0.0, 0.4)
    expected = nll + (0.25 * float(late.mean()) + 0.5 * float(early.mean())) / 2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-3)


def motion(fitted: Fitted) -> float:
    """Mean square of the way that particles go, from snapshot to snapshot."""
    x = fitted.sample(cells(0, name="test"), *KNOTS)
    return float(x.diff(dim=0).square().sum(-1).mean())


@every_flow
def test_what_moves_at_a_price_moves_less(name: str) -> None:
    assert motion(fit(name, 40, alpha_energy=[10.0])) < 0.25 * motion(trained(name))


def test_a_larger_weight_of_the_equation_solves_it_better() -> None:
    found = []
    for alpha in (0.0, 3.0):
        fitted = fit("ot_flow", 60, alpha_residual=[alpha])
        energy, residual = fitted.method.rates(fitted.network, torch.full((500,), 0.2), cells(0, 500))[2].unbind(-1)  # type: ignore[attr-defined]
        found.append(float((residual.mean() / energy.mean()).detach()))
    assert found[1] < 0.5 * found[0]


@every_flow
def test_all_cells_are_seen_and_none_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def recorded(x: Tensor, n: int, rng: torch.Generator) -> Tensor:
        seen.append(original(x, n, rng))
        return seen[-1]

    original = legs.some
    monkeypatch.setattr(legs, "some", recorded)
    fit(name, 20)
    assert len(seen) == 20 * 3
    for k in range(3):
        drawn, given = torch.cat(seen[k::3]), cells(k)
        assert len(drawn) == 20 * 50
        rows = {tuple(row) for row in drawn.tolist()}
        assert rows <= {tuple(row) for row in given.tolist()}
        assert len(rows) > 0.5 * len(given)


@every_flow
def test_as_many_weights_as_intervals_or_one(name: str) -> None:
    with pytest.raises(ConfigError, match="alpha_energy: 3 numbers for 2 intervals"):
        fit(name, 1, alpha_energy=[0.1, 0.1, 0.1])
    fit(name, 1, alpha_energy=[0.1, 0.2])
