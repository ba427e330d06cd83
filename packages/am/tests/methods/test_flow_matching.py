"""Flow matching carries Gaussians that are shifted by the shift, as wide on the way as closed forms say."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torchcfm import ConditionalFlowMatcher

from am.marginals.snapshots import SnapshotPath
from am.methods.contract import TrainedMethod
from am.objectives.metric_flow_matching import LandMetric
from am.randomness import generator
from am.runs import DataConfig, Evaluation, build_dataset, build_method, write_settings
from am.steps.prepare import prepare
from am.training.loop import train

pytestmark = pytest.mark.trains

NAMES = ("icfm", "otcfm", "sbcfm", "sf2m")
BRIDGES = NAMES[2:]
KNOTS = (0.0, 0.25, 1.0)
VELOCITY = torch.tensor([6.0, -3.0])
SPREAD = 1.0
SIGMA = {"icfm": 0.1, "otcfm": 0.1, "sbcfm": 2.0, "sf2m": 2.0}


def cells(time: float, n: int = 2000, name: str = "cells") -> Tensor:
    """N(v t, s^2 I)."""
    return SPREAD * torch.randn(n, 2, generator=generator(name, time)) + VELOCITY * time


def variance(name: str, time: float) -> float:
    """Of each coordinate on the way, which is that of the cells at both ends of an interval."""
    begin, end = KNOTS[time >= KNOTS[1] :][:2]
    u, sigma = (time - begin) / (end - begin), SIGMA[name]
    if name == "icfm":
        return SPREAD**2 * (u**2 + (1 - u) ** 2)
    return SPREAD**2 + (sigma**2 * (end - begin) * u * (1 - u) if name in BRIDGES else 0)


class Fitted(NamedTuple):
    method: TrainedMethod
    network: Any

    def sample(self, start: Tensor, *times: float) -> Tensor:
        return self.method.sample(self.network, start, torch.tensor(times), generator("sample")).x


@cache
def fitted(name: str) -> Fitted:
    training = {"iterations": 400, "batch_size": 256, "learning_rate": 1e-2, "ema": 0.98, "snapshots": 0}
    settings = {"sigma": SIGMA[name], "network": {"width": 32, "depth": 2, "time_features": 8}, "training": training}
    method = build_method(name, settings, "test")
    assert isinstance(method, TrainedMethod)
    path = SnapshotPath([cells(time) for time in KNOTS], KNOTS)
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        network = method.build(path, generator("build"))
        result = train(network, method.loss, path, method.settings.training, key="key", state=Path(folder))
    network.load_state_dict(result.weights)
    return Fitted(method, network.eval())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("begin", "end"), [KNOTS[:2], KNOTS[1:], (KNOTS[0], KNOTS[2])])
def test_particles_that_it_never_saw_are_shifted(name: str, begin: float, end: float) -> None:
    x = fitted(name).sample(cells(begin, 1000, "test"), begin, end)[1]
    expected = VELOCITY * end
    assert float((x.mean(0) - expected).norm()) < 0.1 * float((VELOCITY * (end - begin)).norm())
    assert float(x.std(0).mean()) == pytest.approx(SPREAD, rel=0.15)


@pytest.mark.parametrize("name", NAMES)
def test_on_the_way_they_are_as_wide_as_their_lines_or_bridges(name: str) -> None:
    """Independent lines cross and draw near each other, coupled ones do not, bridges spread."""
    half = (KNOTS[1] + KNOTS[2]) / 2
    x = fitted(name).sample(cells(KNOTS[1], 1000, "test"), KNOTS[1], half)[1]
    assert float(x.std(0).mean()) == pytest.approx(math.sqrt(variance(name, half)), rel=0.15)
    widths = {other: math.sqrt(variance(other, half)) for other in ("icfm", "otcfm", "sbcfm")}
    assert widths["icfm"] < 0.75 * widths["otcfm"] < 0.75 * 0.8 * widths["sbcfm"]  # so that the test tells them apart


def test_coupled_lines_are_followed_straight() -> None:
    times = torch.linspace(0, 1, 9).tolist()
    x = fitted("otcfm").sample(cells(0, 500, "test"), *times)
    line = x[0] + VELOCITY * torch.tensor(times)[:, None, None]
    assert float((x - line).square().mean().sqrt()) < 0.1 * float(VELOCITY.norm())


@pytest.mark.parametrize("time", [0.4, 0.6, 0.8])
def test_the_drift_of_the_diffusion_is_that_of_the_bridge_between_gaussians(time: float) -> None:
    """v - sigma^2 u (x - m_t) / var_t, where a fraction u of the interval has passed, and -(x - m_t) / var_t."""
    u, spread = (time - KNOTS[1]) / (KNOTS[2] - KNOTS[1]), variance("sf2m", time)
    offset = math.sqrt(spread) * torch.randn(2000, 2, generator=generator("offset"))
    network, at = fitted("sf2m").network, torch.full((2000,), time)
    x = VELOCITY * time + offset
    with torch.no_grad():
        drift, score = network(at, x), network.score(at, x)
    sigma = SIGMA["sf2m"]
    expected = VELOCITY - sigma**2 * u * offset / spread
    assert float((drift - expected).square().mean().sqrt()) < 0.15 * float(expected.square().mean().sqrt())
    expected = -(sigma**2) / 2 * offset / spread
    assert float((score - expected).square().mean().sqrt()) < 0.25 * float(expected.square().mean().sqrt())


def test_the_flow_of_the_diffusion_has_its_marginals_without_noise() -> None:
    trained = fitted("sf2m")
    settings = trained.method.settings.model_dump() | {"sampling": {"noise": False}}
    flow = Fitted(build_method("sf2m", settings, "test"), trained.network)  # type: ignore[arg-type]
    start, times = cells(KNOTS[1], 1000, "test"), (KNOTS[1], (KNOTS[1] + KNOTS[2]) / 2, KNOTS[2])
    x = flow.sample(start, *times)
    assert torch.equal(x, flow.method.sample(flow.network, start, torch.tensor(times), generator("other")).x)
    for time, found in zip(times[1:], x[1:], strict=True):
        torch.testing.assert_close(found.mean(0), VELOCITY * time, rtol=0, atol=0.2)
        assert float(found.std(0).mean()) == pytest.approx(math.sqrt(variance("sf2m", time)), rel=0.15)
    step = 2**-10
    moved = (flow.sample(start, KNOTS[1], KNOTS[1] + step)[1] - start) / step
    told = flow.method.velocity(flow.network, torch.full((1000,), KNOTS[1]), start)
    torch.testing.assert_close(moved, told, rtol=0, atol=0.01)
    # Where nothing is random, each keeps its place among the others.
    offset, end = (points - points.mean(0) for points in (x[0], x[-1]))
    assert float(torch.nn.functional.cosine_similarity(offset, end).mean()) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_each_step_sees_cells_of_the_file_and_all_are_seen(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairs that torchcfm draws points between; the time held out is not in the file."""
    seen: list[tuple[Tensor, Tensor]] = []
    sample: Callable[..., Tensor] = ConditionalFlowMatcher.sample_xt

    def recorded(self: Any, x0: Tensor, x1: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        seen.append((x0, x1))
        return sample(self, x0, x1, t, epsilon)

    monkeypatch.setattr(ConditionalFlowMatcher, "sample_xt", recorded)
    data, config = tmp_path / "data.h5ad", tmp_path / "config.yaml"
    about = {"name": "myoblast", "held_out": 1 / 3}
    evaluation = Evaluation(times=(1.0,), n_samples=5, metrics=({"kind": "energy"},))
    write_settings(DataConfig(experiment="e", seeds=(0,), dataset=about, evaluation=evaluation), config)
    prepare(config, data, ())
    path = build_dataset(about, "test").snapshots(data)
    assert path.times.tolist() == pytest.approx([0, 2 / 3, 1])

    steps = 25
    training = {"iterations": steps, "batch_size": 96, "snapshots": 0}
    method = build_method(name, {"network": {"width": 8, "depth": 1}, "training": training}, "test")
    assert isinstance(method, TrainedMethod)
    network = method.build(path, generator("build"))
    train(network, method.loss, path, method.settings.training, key="key", state=tmp_path / "state")

    assert len(seen) == 2 * steps  # intervals
    assert sum(len(start) for start, _ in seen) == 96 * steps
    for k in range(2):
        for s, side in enumerate(zip(*seen[k::2], strict=True)):
            rows = {tuple(row) for row in torch.cat(side).tolist()}
            assert rows == {tuple(row) for row in path.points[k + s].tolist()}


# -- light Schroedinger bridges ---------------------------------------------------------------------------


@pytest.mark.parametrize("components", [1, 5])
def test_a_light_bridge_joins_gaussians_as_the_entropic_plan_does(components: int, tmp_path: Path) -> None:
    """Variances a^2 and b^2 have the covariance sqrt(a^2 b^2 + e^2 / 4) - e / 2, e being sigma^2 times the duration.

    Janati et al., NeurIPS 2020. Half way, the variance is that of points of the plan and of a Brownian bridge.
    """
    sigma, shift = 2.0, torch.tensor([6.0, -3.0])
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.5])
    clouds = [scale * cells(0, 8000, f"light {i}") for i, scale in enumerate((a, a, b))]
    path = SnapshotPath([clouds[0], clouds[1], clouds[2] + shift], KNOTS)
    training = {"iterations": 400, "batch_size": 512, "learning_rate": 0.05, "ema": 0.98, "snapshots": 0}
    method = build_method("lightsb", {"sigma": sigma, "components": components, "training": training}, "test")
    assert isinstance(method, TrainedMethod)
    network = method.build(path, generator("build"))
    network.load_state_dict(
        train(network, method.loss, path, method.settings.training, key="key", state=tmp_path).weights
    )
    begin, end, n = KNOTS[1], KNOTS[2], 8000
    times = torch.tensor([begin, (begin + end) / 2, end])
    start, half, last = method.sample(network, a * cells(0, n, "start"), times, generator("sample")).x

    noise = sigma**2 * (end - begin)
    joint = (a**2 * b**2 + noise**2 / 4).sqrt() - noise / 2
    covariance = ((start - start.mean(0)) * (last - last.mean(0))).mean(0)
    torch.testing.assert_close(last.mean(0), shift, rtol=0, atol=0.15)
    torch.testing.assert_close(last.var(0), b**2, rtol=0.08, atol=0)
    torch.testing.assert_close(covariance, joint, rtol=0.12, atol=0)
    torch.testing.assert_close(half.var(0), (a**2 + b**2 + 2 * joint + noise) / 4, rtol=0.08, atol=0)
    without_duration = (a**2 * b**2 + sigma**4 / 4).sqrt() - sigma**2 / 2
    for other in (a * b, 0 * a, without_duration):  # of no noise, of endless noise, of another unit of time
        assert not torch.allclose(covariance, other, rtol=0.12, atol=0)


# -- growth -----------------------------------------------------------------------------------------------


def populations() -> SnapshotPath:
    """Two populations that keep their places, 20 apart: of masses 1 and 1, which become 1.6 and 0.4."""
    clouds = []
    for n in (100, 160):
        low = (torch.arange(200) < n)[:, None]
        clouds.append(0.5 * torch.randn(200, 2, generator=generator("population", n)) + torch.where(low, 0.0, 20.0))
    return SnapshotPath(clouds, [0, 1], masses=[2.0, 2.0])


@pytest.mark.parametrize(("name", "settings"), [("wfr_fm", {"delta": 2.0}), ("uot_fm", {"relaxation": 5.0})])
def test_populations_far_apart_grow_and_shrink_where_they_are(
    name: str, settings: dict[str, float], tmp_path: Path
) -> None:
    training = {"iterations": 400, "batch_size": 256, "learning_rate": 1e-2, "ema": 0.98, "snapshots": 0}
    small = {"network": {"width": 32, "depth": 2}, "training": training, **settings}
    method, path = build_method(name, small, "test"), populations()
    assert isinstance(method, TrainedMethod)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = method.build(path, generator("build"))
    network.load_state_dict(method.train(network, path, key="key", state=tmp_path).weights)
    start, times = path.points[0], torch.tensor([0.0, 0.5, 1.0])
    prediction = method.sample(network, start, times, generator("sample"))
    moved = (prediction.x[-1] - start).norm(dim=-1)
    assert float(moved.max()) < 3
    assert (prediction.log_weight is not None) == (name == "wfr_fm")
    if prediction.log_weight is not None:
        low = start[:, 0] < 10
        for u, weight in zip(times.tolist(), prediction.log_weight.exp(), strict=True):
            for here, end in ((low, 1.6), (~low, 0.4)):
                expected = ((1 - u) + u * math.sqrt(end)) ** 2  # nothing moves: a straight line of roots
                assert float(weight[here].mean()) == pytest.approx(expected, rel=0.1)
                assert abs(expected - 1) > 0.12 or not u  # so that no growth would be seen


# -- metric flow matching ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("floor", "least", "most"), [(1e-3, 0.87, 1.05), (1e6, 0.65, 0.76)])
def test_curves_follow_a_ring_of_cells_and_not_its_chords(
    floor: float, least: float, most: float, tmp_path: Path
) -> None:
    """A quarter of a turn along a ring; without a metric, chords whose middles lie at the root of a half."""

    def ring(begin: float, end: float, n: int) -> Tensor:
        angle = torch.linspace(begin, end, n) * math.pi / 180
        return torch.stack([angle.cos(), angle.sin()], -1)

    training = {"iterations": 500, "batch_size": 128, "learning_rate": 1e-2, "ema": 0.98, "snapshots": 0}
    small = {"width": 32, "depth": 2}
    settings = {"network": small, "interpolant": small, "training": training, "sigma": 0.0}
    method, path = build_method("ot_mfm", settings, "test"), SnapshotPath([ring(-5, 5, 50), ring(85, 95, 50)], [0, 1])
    assert isinstance(method, TrainedMethod)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = method.build(path, generator("build"))
    network.metric = LandMetric(ring(-10, 100, 400), 0.125, floor)
    network.load_state_dict(method.train(network, path, key="key", state=tmp_path).weights)
    x = method.sample(network, path.points[0], torch.tensor([0.0, 0.5, 1.0]), generator("sample")).x
    assert least < float(x[1].norm(dim=-1).mean()) < most
    torch.testing.assert_close(x[2].mean(0), path.points[1].mean(0), rtol=0, atol=0.1)
