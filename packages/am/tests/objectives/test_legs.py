"""Legs start from true cells of each snapshot, and all are followed together as each would be alone."""

from __future__ import annotations

import torch
from torch import Tensor

from am.dynamics.ode import solve
from am.dynamics.settings import OdeSettings
from am.marginals.snapshots import SnapshotPath
from am.objectives.legs import Legs
from am.randomness import generator

KNOTS = [0.0, 0.25, 1.0]
SIZES = (10, 30, 20)


def snapshots() -> SnapshotPath:
    return SnapshotPath([torch.randn(n, 2, generator=generator("cells", n)) + 10 * n for n in SIZES], KNOTS)


def rows(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}


def test_cells_are_true_ones_each_at_most_once_and_others_at_every_step() -> None:
    path = snapshots()
    seen: list[set[tuple[float, ...]]] = [set() for _ in SIZES]
    for step in range(20):
        legs = Legs(path, 24, generator("step", step))
        starts = legs.start.split(legs.sizes)
        assert legs.sizes == [10, 12]  # all that there are, and the share of the leg
        assert [len(cells) for cells in legs.cells] == [12, 12]
        for k, x in [*enumerate(starts), *enumerate(legs.cells, 1)]:
            assert len(rows(x)) == len(x)
            assert rows(x) <= rows(path.points[k])
            seen[k] |= rows(x)
    assert seen == [rows(x) for x in path.points]
    assert not torch.equal(Legs(path, 24, generator("a")).start, Legs(path, 24, generator("b")).start)


def test_each_clock_runs_over_its_own_interval() -> None:
    legs = Legs(snapshots(), 24, generator("legs"))
    for u in (0.0, 0.5, 1.0):
        times = legs.time(torch.full((22,), u)).split(legs.sizes)
        for time, begin, end in zip(times, KNOTS[:-1], KNOTS[1:], strict=True):
            torch.testing.assert_close(time, torch.full_like(time, begin + u * (end - begin)))


def test_followed_together_they_end_where_each_would_alone() -> None:
    def field(time: Tensor, x: Tensor) -> Tensor:
        return torch.sin(3 * time)[:, None] - 0.5 * x * time[:, None]

    settings = OdeSettings(method="rk4", steps=40)
    legs = Legs(snapshots(), 24, generator("legs"))
    clocked = legs.clocked(field)
    x = solve(lambda u, x: clocked(u.expand(len(x)), x), legs.start, torch.tensor([0.0, 1.0]), settings)[-1]
    for end, start, begin, finish in zip(
        x.split(legs.sizes), legs.start.split(legs.sizes), KNOTS[:-1], KNOTS[1:], strict=True
    ):
        alone = solve(lambda t, y: field(t.expand(len(y)), y), start, torch.tensor([begin, finish]), settings)[-1]
        torch.testing.assert_close(end, alone, rtol=1e-4, atol=1e-3)


def test_means_and_distances_are_of_each_leg() -> None:
    legs = Legs(snapshots(), 24, generator("legs"))
    numbers = torch.arange(22.0)
    torch.testing.assert_close(legs.mean(numbers), torch.stack([numbers[:10].mean(), numbers[10:].mean()]))
    told = legs.compare(legs.start, lambda x, y: (y.mean() - x.mean()) * len(x))
    starts = legs.start.split(legs.sizes)
    for k in range(2):
        torch.testing.assert_close(told[k], (legs.cells[k].mean() - starts[k].mean()) * len(starts[k]))
