"""Draws of a step depend on the run and the step alone, and times fill [0, 1) evenly."""

from __future__ import annotations

import math

import pytest
import torch

from am.marginals.gaussian import Gaussian
from am.training.stream import Stream

GAUSSIAN = Gaussian(lambda t: torch.stack([2 * t, -t], -1), lambda t: (1 + t)[:, None])


def discrepancy(points: torch.Tensor) -> float:
    """Star discrepancy in one dimension: largest gap between the share of points in [0, x) and x."""
    points = points.double().sort().values
    n = len(points)
    upper = (torch.arange(1, n + 1, dtype=torch.float64) / n - points).abs().max()
    lower = (torch.arange(n, dtype=torch.float64) / n - points).abs().max()
    return float(torch.maximum(upper, lower))


def test_times_fill_the_interval_far_more_evenly_than_random_ones() -> None:
    batch = 100
    for key in ("one/run/0", "another/run/1"):
        for first, steps in ((0, 1), (0, 50), (777, 50)):
            times = torch.cat([Stream(key, step, batch, 1).times() for step in range(first, first + steps)])
            random = torch.rand(len(times), generator=torch.Generator().manual_seed(steps))
            assert len(times) == batch * steps
            # A rotation by sqrt 2 stays within about log(n) / n; a random sample is near 1 / sqrt(n).
            assert discrepancy(times) < 1.5 * math.log(len(times)) / len(times)
            assert discrepancy(times) < discrepancy(random) / 2


def test_times_run_on_from_step_to_step_and_never_repeat() -> None:
    times = torch.cat([Stream("run", step, 64, 1).times() for step in range(200)])
    assert times.min() >= 0
    assert times.max() < 1
    assert len(times.unique()) > 0.99 * len(times)  # single precision has equal neighbours, no more
    turn = torch.frac(times.double().diff() - math.sqrt(2) + 2.5) - 0.5
    assert turn.abs().max() < 1e-6
    other = torch.cat([Stream("other", step, 64, 1).times() for step in range(200)])
    assert (times - other).abs().min() > 0


def test_a_time_that_rounds_to_one_stays_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("am.training.stream.derive_seed", lambda *_: round(2**63 * (1 - 1e-9)))
    (time,) = Stream("run", 0, 1, 1).times()
    assert 1 - 1e-6 < time < 1


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    for step in range(5):
        worn = Stream("run", step, 32, 8)
        drawn = worn.draw(GAUSSIAN), worn.normal(torch.zeros(32, 2)), worn.rademacher(torch.zeros(32, 2))
    fresh = Stream("run", 4, 32, 8)
    again = fresh.draw(GAUSSIAN), fresh.normal(torch.zeros(32, 2)), fresh.rademacher(torch.zeros(32, 2))
    for name in ("time", "x", "start", "end"):
        assert torch.equal(getattr(drawn[0], name), getattr(again[0], name))
    assert torch.equal(drawn[1], again[1])
    assert torch.equal(drawn[2], again[2])


def test_other_steps_and_runs_draw_other_points() -> None:
    drawn = [Stream(key, step, 32, 8).draw(GAUSSIAN).start for key in ("a", "b") for step in (0, 1)]
    assert all(not torch.equal(x, y) for i, x in enumerate(drawn) for y in drawn[:i])


def test_points_belong_to_their_times() -> None:
    sample = Stream("run", 3, 20_000, 10_000).draw(GAUSSIAN)
    residual = (sample.x - GAUSSIAN.mean(sample.time)) / GAUSSIAN.scale(sample.time)
    assert residual.mean(0).abs().max() < 0.05
    assert residual.std(0) == pytest.approx([1, 1], abs=0.05)
    assert sample.start.mean(0) == pytest.approx([0, 0], abs=0.06)
    assert sample.end.mean(0) == pytest.approx([2, -1], abs=0.12)
    assert sample.end.std(0) == pytest.approx([2, 2], abs=0.1)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_out_the_points_of_one(world: int) -> None:
    whole = Stream("run", 7, 32, 8)
    parts = [Stream("run", 7, 32, 8, rank=rank, world=world) for rank in range(world)]
    sample, shares = whole.draw(GAUSSIAN), [part.draw(GAUSSIAN) for part in parts]
    for name in ("time", "x", "start", "end"):
        together = torch.stack([getattr(share, name) for share in shares], 1).flatten(0, 1)
        assert torch.equal(together, getattr(sample, name))
    for kind in ("normal", "rademacher"):
        alone = getattr(whole, kind)(sample.x)
        together = torch.stack([getattr(p, kind)(s.x) for p, s in zip(parts, shares, strict=True)], 1).flatten(0, 1)
        assert torch.equal(together, alone)


def test_signs_and_normal_numbers_are_what_they_are_called() -> None:
    stream, x = Stream("run", 0, 1, 1), torch.zeros(50_000, 2, dtype=torch.float64)
    signs, noise = stream.rademacher(x), stream.normal(x)
    assert signs.dtype == noise.dtype == torch.float64
    assert signs.unique().tolist() == [-1, 1]
    assert signs.mean(0).abs().max() < 0.02
    assert float((signs[:, 0] * signs[:, 1]).mean()) == pytest.approx(0, abs=0.02)
    assert noise.mean(0).abs().max() < 0.02
    assert noise.std(0) == pytest.approx([1, 1], abs=0.02)
    assert float((noise**4).mean()) == pytest.approx(3, abs=0.1)


def test_points_within_can_be_drawn_without_those_at_the_ends() -> None:
    sample = Stream("run", 0, 16, 8).draw(GAUSSIAN, boundary=False)
    assert (len(sample.x), len(sample.start), len(sample.end)) == (16, 0, 0)
