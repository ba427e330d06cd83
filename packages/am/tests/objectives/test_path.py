"""Drawing points of a path, sharing them between processes, and weights in time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from am.marginals.gaussian import Gaussian
from am.objectives.path import WEIGHTS, PathSample, draw_path


def clock() -> Gaussian:
    """Points that tell their time."""
    return Gaussian(lambda t: t[:, None].expand(-1, 2), lambda t: 1e-9 * torch.ones_like(t)[:, None])


def test_each_point_is_drawn_at_its_time() -> None:
    time = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sample = draw_path(clock(), time, 7, torch.Generator().manual_seed(0), time_density=2 * time)
    torch.testing.assert_close(sample.x, time[:, None].expand(-1, 2), atol=1e-7, rtol=0)
    torch.testing.assert_close(sample.start, torch.zeros(7, 2).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(sample.end, torch.ones(7, 2).double(), atol=1e-7, rtol=0)
    assert torch.equal(sample.time, time)
    assert sample.time_density is not None
    assert torch.equal(sample.time_density, 2 * time)


def test_draws_are_a_function_of_the_generator() -> None:
    time = torch.linspace(0, 1, 5)
    one, two = (draw_path(clock(), time, 3, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.end, two.end)


@given(world=st.integers(1, 6), share=st.integers(1, 4), boundary=st.integers(1, 3), weighted=st.booleans())
def test_the_mean_over_processes_is_the_mean_over_points(world: int, share: int, boundary: int, weighted: bool) -> None:
    n = world * share
    values = torch.arange(n, dtype=torch.float64)
    ends = torch.arange(2 * world * boundary, dtype=torch.float64)[:, None]
    density = 1 + values if weighted else None
    mass = 2 + values if weighted else None
    sample = PathSample(values / n, values[:, None], *ends.chunk(2), density, velocity=3 * values[:, None], mass=mass)
    shards = [sample.shard(rank, world) for rank in range(world)]
    means = torch.stack([shard.mean(shard.x[:, 0] ** 2) for shard in shards])
    torch.testing.assert_close(means.mean(), sample.mean(values**2))
    weight = (2 + values) / (1 + values) if weighted else 1
    torch.testing.assert_close(sample.mean(values**2), (weight * values**2).mean())
    for shard in shards:
        assert torch.equal(shard.velocity, 3 * shard.x)
    for part in ("time", "x", "start", "end"):
        together = torch.cat([getattr(shard, part) for shard in shards]).reshape(-1).sort().values
        assert torch.equal(together, getattr(sample, part).reshape(-1))


@pytest.mark.parametrize("name", WEIGHTS)
def test_slopes_are_derivatives(name: str) -> None:
    time = torch.linspace(0, 1, 11, dtype=torch.float64, requires_grad=True)
    value = WEIGHTS[name].value(time)
    slope = WEIGHTS[name].slope(time.detach())
    if value.requires_grad:
        torch.testing.assert_close(slope, torch.autograd.grad(value.sum(), time)[0])
    else:
        assert torch.equal(slope, torch.zeros(11).double())


def test_weights_are_the_stated_functions() -> None:
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    for name, exact in {
        "constant": [1, 1, 1, 1, 1],
        "decreasing": [1, 0.75, 0.5, 0.25, 0],
        "decreasing_squared": [1, 0.5625, 0.25, 0.0625, 0],
        "parabolic": [0, 1.125, 1.5, 1.125, 0],
    }.items():
        torch.testing.assert_close(WEIGHTS[name].value(t), torch.tensor(exact).double())
