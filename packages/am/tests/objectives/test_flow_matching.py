"""Lines and bridges between snapshots are those of closed forms, in units of the whole path."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from am import plugins
from am.config import parse
from am.marginals.snapshots import SnapshotPath
from am.objectives.flow_matching import ConditionalPaths, flow_matching, score_and_flow_matching
from am.objectives.metric_flow_matching import BentLines, LandMetric
from am.objectives.path import PathSample
from am.potentials.settings import InterpolantSettings, VelocitySettings
from am.potentials.velocity import BridgeNetwork
from am.randomness import generator
from am.training.stream import Stream

NAMES = ("icfm", "otcfm", "sbcfm", "sf2m")
BRIDGES = NAMES[2:]
KNOTS = (0.0, 0.2, 1.0)
CORNERS = torch.tensor([[0.0, 1.0], [3.0, 1.0], [3.0, -4.0]], dtype=torch.float64)
POINTS = SnapshotPath(list(CORNERS.split(1)), KNOTS)


def method(name: str, **settings: Any) -> Any:
    kind = plugins.load("am.methods", name).METHOD
    return kind(parse(kind.settings_type, settings, name))


def paths(name: str, sigma: float, snapshots: SnapshotPath = POINTS) -> ConditionalPaths:
    return ConditionalPaths(snapshots, method(name, sigma=sigma).matcher)


def drawn(name: str, sigma: float, time: Tensor, part: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Deviations from the line, velocities less that of the line, and noise; between single points."""
    x, velocity, noise = paths(name, sigma).sample(time, generator("draw", float(time[0]), part)).chunk(3, -1)
    line = np.stack([np.interp(time.numpy(), KNOTS, CORNERS[:, i].numpy()) for i in range(2)], -1)
    slope = CORNERS.diff(dim=0) / torch.tensor(KNOTS, dtype=torch.float64).diff()[:, None]
    return x - torch.from_numpy(line), velocity - slope[(time >= KNOTS[1]).long()], noise


def times(n: int = 500) -> Tensor:
    return 0.001 + 0.998 * torch.rand(n, generator=generator("time"), dtype=torch.float64)


def elapsed(time: Tensor) -> tuple[Tensor, Tensor]:
    """Time since the last knot, and time until the next: (n, 1) each."""
    begin, end = (torch.tensor(KNOTS[i : i + 2], dtype=torch.float64)[(time >= KNOTS[1]).long()] for i in (0, 1))
    return (time - begin)[:, None], (end - time)[:, None]


@pytest.mark.parametrize("name", ["icfm", "otcfm"])
def test_lines_have_the_slope_and_the_width_that_they_should(name: str) -> None:
    deviation, excess, noise = drawn(name, 0.7, times())
    torch.testing.assert_close(deviation, 0.7 * noise)
    torch.testing.assert_close(excess, torch.zeros_like(excess))
    assert float(noise.var()) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("name", BRIDGES)
@pytest.mark.parametrize("time", [0.05, 0.1, 0.3, 0.6, 0.9])
def test_bridges_are_as_wide_as_the_noise_makes_them(name: str, time: float) -> None:
    """The variance of a Brownian bridge, sigma^2 (t - a) (b - t) / (b - a), of which sigma knows nothing of a and b."""
    minibatch = torch.full((200,), time, dtype=torch.float64)
    deviation = torch.cat([drawn(name, 1.5, minibatch, part)[0] for part in range(40)])
    since, until = elapsed(torch.tensor([time], dtype=torch.float64))
    expected = 1.5**2 * float(since * until / (since + until))
    assert float(deviation.var()) == pytest.approx(expected, rel=0.05)  # known to 1.1 %


@pytest.mark.parametrize("name", BRIDGES)
def test_bridges_are_followed_by_their_velocity(name: str) -> None:
    """A normal deviation of standard deviation s(t) moves with s'(t) / s(t) times itself."""
    time = times().requires_grad_()
    since, until = elapsed(time)
    log_width = (since * until).log().sum() / 2
    (rate,) = torch.autograd.grad(log_width, time)
    deviation, excess, _ = drawn(name, 1.5, time.detach())
    torch.testing.assert_close(excess, rate[:, None] * deviation, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", BRIDGES)
def test_the_weight_makes_the_score_of_a_bridge_the_noise(name: str) -> None:
    """sigma^2 / 2 grad log N(x; line, s^2) is where E |lambda g + noise|^2 is 0."""
    time, sigma = times(), 1.5
    deviation, _, noise = drawn(name, sigma, time)
    since, until = elapsed(time)
    score = -deviation / (sigma**2 * since * until / (since + until))
    weight = paths(name, sigma).score_weight(time)
    torch.testing.assert_close(weight[:, None] * sigma**2 / 2 * score, -noise)


@pytest.mark.parametrize(("name", "ordered"), [("icfm", False), ("otcfm", True), ("sbcfm", True), ("sf2m", True)])
def test_who_couples_couples_optimally(name: str, ordered: bool) -> None:
    """On a line, an optimal plan keeps the order: pairs stay apart on the way."""
    cells = [torch.linspace(0, 1, 300, dtype=torch.float64)[:, None], torch.linspace(5, 8, 200).double()[:, None]]
    time = torch.full((64,), 0.5, dtype=torch.float64)
    x, velocity, noise = paths(name, 2e-3, SnapshotPath(cells, [0, 1])).sample(time, generator("draw")).T
    middle = x - (1e-3 if name in BRIDGES else 2e-3) * noise
    start, end = middle - velocity / 2, middle + velocity / 2  # halfway, a bridge's own velocity is that of its line
    pairs = sorted(torch.stack([start, end], -1).numpy().round(6).tolist())
    crossings = sum(b < a for (_, a), (_, b) in pairwise(pairs))
    assert (crossings == 0) == ordered
    assert len({a for a, _ in pairs}) > 20


def test_velocity_is_matched_where_the_mean_velocity_is() -> None:
    """Of fields that are constant, the mean square is least for the mean, where it is the variance."""

    class Constant(torch.nn.Module):
        def forward(self, time: Tensor, x: Tensor) -> Tensor:
            return torch.tensor([2.0, 1.0]).expand_as(x)

    target = torch.tensor([[1.0, 1.0], [3.0, 1.0], [2.0, 4.0]])
    sample = PathSample(torch.zeros(3), torch.cat([torch.zeros(3, 2), target, torch.zeros(3, 2)], -1), *2 * [target])
    loss, parts = flow_matching(Constant(), sample)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx((1 + 1 + 9) / 3)
    assert float(parts["square_velocity"]) == pytest.approx(5)


def test_score_and_velocity_are_matched_by_networks_of_their_own() -> None:
    network = BridgeNetwork(2, VelocitySettings(width=8, depth=1))
    sample = PathSample(torch.rand(5), torch.randn(5, 6, generator=generator("rows")), *2 * [torch.zeros(0, 2)])
    x, target, noise = sample.x.chunk(3, -1)
    weight = torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0])
    loss, parts = score_and_flow_matching(network, sample, weight)
    flow = (network.velocity(sample.time, x) - target).square().sum(1).mean()
    score = (weight[:, None] * network.score(sample.time, x) + noise).square().sum(1).mean()
    torch.testing.assert_close(parts, {"flow": flow.detach(), "score": score.detach()})
    torch.testing.assert_close(loss, flow + score)


def clouds() -> SnapshotPath:
    return SnapshotPath([torch.randn(40, 2, generator=generator("cloud", i)) + i for i in range(3)], KNOTS)


@pytest.mark.parametrize("name", NAMES)
def test_global_randomness_is_neither_used_nor_changed(name: str) -> None:
    rows = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
            rows.append(paths(name, 0.5, clouds()).sample(torch.rand(50, generator=generator("t")), generator("rows")))
            assert torch.equal(torch.get_rng_state(), before)
            assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
        other = paths(name, 0.5, clouds()).sample(torch.rand(50, generator=generator("t")), generator("others"))
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], other)


@pytest.mark.parametrize("name", NAMES)
def test_processes_share_what_one_would_draw(name: str) -> None:
    def loss(rank: int, world: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = learner.build(clouds(), generator("build"))
        return learner.loss(network, clouds(), Stream("key", 3, 64, 64, rank=rank, world=world))[0].detach()

    learner = method(name, sigma=0.5, network={"width": 8, "depth": 1})
    shares = loss(0, 2), loss(1, 2)
    assert not math.isclose(float(shares[0]), float(shares[1]))
    torch.testing.assert_close((shares[0] + shares[1]) / 2, loss(0, 1))


# -- metric flow matching ---------------------------------------------------------------------------------


def test_bent_lines_move_as_they_say_from_end_to_end() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lines = BentLines(2, 3, InterpolantSettings(width=8, depth=2, time_features=3)).double()
        for parameter in lines.network.last.parameters():
            torch.nn.init.normal_(parameter)
    start, end = (torch.randn(50, 2, generator=generator("ends", i)).double() + 5 * i for i in range(2))
    lines.fit_scale(torch.cat([start, end]))
    interval, u, step = torch.arange(50) % 3, torch.linspace(0.1, 0.9, 50).double(), 1e-6
    (before, _), (x, velocity), (after, _) = (lines(start, end, interval, u + s) for s in (-step, 0, step))
    torch.testing.assert_close(velocity, (after - before) / (2 * step), rtol=1e-6, atol=1e-6)
    assert float((x - torch.lerp(start, end, u[:, None])).detach().norm(dim=-1).mean()) > 0.1  # they are bent
    torch.testing.assert_close(lines(start, end, interval, 0 * u)[0], start)
    torch.testing.assert_close(lines(start, end, interval, 0 * u + 1)[0], end)


def test_the_metric_is_that_of_land_cell_by_cell() -> None:
    cells, x = (3 * torch.randn(n, 2, generator=generator("land", n)).double() for n in (30, 7))
    metric = LandMetric(cells, 0.5, 0.01).double()
    z, seen = metric.scaled(x), metric.scaled(cells)
    for i, j in product(range(7), range(2)):
        scatter = sum(float((c[j] - z[i, j]) ** 2 * torch.exp(-(c - z[i]).square().sum() / (2 * 0.5**2))) for c in seen)
        assert float(metric(x)[i, j]) == pytest.approx(0.01 / (scatter + 0.01))
    assert float(metric(x).min()) < 0.1 * float(metric(x + 100).min())  # cheap where cells are
