"""How well a fit pushes cells from each snapshot to the next, beside no dynamics and the noise floor.

Cells that were held out are judged where there are some; else those that were trained on, which flatters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from am.cells.learners import check_share
from am.dynamics.weighted import effective_sample_size
from am.io.snapshots import DataError
from am.methods.ot_interpolation import partners
from am.metrics.energy import energy_distance
from am.metrics.nearest import nearest
from am.metrics.samples import MetricError
from am.randomness import generator
from am.report.estimates import jackknife_error, student
from am.selection import GROUPS, energies

if TYPE_CHECKING:
    from am.io.time_course import TimeCourse
    from am.marginals.snapshots import SnapshotPath
    from am.methods.contract import Prediction

CELLS = 2000
"""Of each snapshot, at most, that are pushed and compared: a million cells need no more memory or time than these."""
SPLITS = 39
"""Random splits of a snapshot into two parts: the second largest of so many distances is the 95 % quantile."""
LEAST_SHARE = 0.1
"""Effective sample size over the number of cells below which weights are not to be trusted."""
LEAST_HELD_OUT = 4
"""Cells of a snapshot without which nothing can be said of it."""
OUTSIDE = 0.99
"""Share of observed cells that are nearer to other cells than what counts as outside the data."""

GRAVEST = ("worse", "unsure", "nearer", "still", "noise")
"""Verdicts, the gravest first."""

Rows = NDArray[np.int64]
"""Numbers of cells."""
Push = Callable[[Tensor, float, float], "Prediction"]
"""(n, d) particles, the learning time that they have, and the one that they are pushed forward to."""


@dataclass(frozen=True)
class Weights:
    """How much the weights of cells are worth that were pushed from one time of the column to another."""

    begin: float
    end: float
    cells: int
    effective: float
    """Effective sample size."""

    @classmethod
    def of(cls, begin: float, end: float, log_weight: Tensor) -> Weights:
        """Of (n,) logarithms of weights."""
        return cls(begin, end, len(log_weight), float(effective_sample_size(log_weight.double())))

    @property
    def too_few(self) -> bool:
        """Whether a tenth of the cells, or fewer, carry nearly all weight."""
        return not self.effective >= LEAST_SHARE * self.cells


@dataclass(frozen=True)
class Interval:
    """From one snapshot to a later one: energy distances to that one, in units of the basis.

    They are unbiased, so a distance may be negative.
    """

    begin: float
    end: float
    """Times of the column."""
    pushed: float
    """Of the first snapshot pushed forward, with its weights where the method weighs; NaN where it has none."""
    still: float
    """Of the first snapshot as it is: no dynamics."""
    floor: float
    """Below which 95 % of the distances lie between two random parts of the second snapshot.

    Of cells that were held out: between as many cells of its time as are compared, drawn at random from all."""
    cells: int
    """That were pushed."""
    weights: Weights | None
    """Of these cells; None without."""
    transport: float = math.nan
    """Control: of the training cells of the second snapshot that optimal transport gives to the cells of the first."""
    gained: tuple[float, float] | None = None
    """95 % interval of ``still - pushed``; None for cells that were trained on."""
    reach: Mapping[str, float] = field(default_factory=dict)
    """Half-widths of 95 % intervals of distances, by the names of :func:`table`; none of cells that were trained on."""
    outside: float = math.nan
    """Share of the pushed cells that are farther from the training cells of the second snapshot than 99 % of its own
    held-out cells."""

    @property
    def verdict(self) -> Literal["noise", "still", "nearer", "unsure", "worse"]:
        """How near the pushed cells are: as two samples of the snapshot; nearer than no dynamics, or not."""
        if self.pushed <= self.floor:
            return "still" if self.still <= self.floor else "noise"
        if self.gained is None:
            return "nearer" if self.pushed < self.still else "worse"
        if self.gained[0] > 0:
            return "nearer"
        return "unsure" if self.gained[1] > 0 else "worse"

    @property
    def fails(self) -> bool:
        """Whether it is not shown that the cells come nearer than without any dynamics."""
        return self.verdict in ("unsure", "worse")


def held_out(
    course: TimeCourse, share: float, key: str, replicates: Sequence[Any] | None = None, folds: int = 1
) -> list[NDArray[np.bool_]]:
    """For each fold, (n,) which cells of a course are not trained on, so that they tell how good a fit is.

    No cell is held out twice.

    Parameters
    ----------
    share
        Of the cells of each time, between 0 and 1. There is no fold for 0.
    key
        From which the choice derives.
    replicates
        (n,) values of which each is held out as a whole, or not.
    folds
        At most; fewer where the share, or the number of replicates, leaves no more.

    Raises
    ------
    DataError
        The share is none, or leaves too few cells of a time; or a time has one replicate only.
    """
    check_share(share)
    if not share:
        return []
    rng = generator(key, "held out")
    parts = []
    for time in course.times:
        rows = np.flatnonzero(course.time == time)
        if replicates is None:
            parts.append(_cut(rows[torch.randperm(len(rows), generator=rng).numpy()], share))
        else:
            groups = _of_each([replicates[row] for row in rows.tolist()], rows, rng, time)
            parts.append(_gathered(groups, share * len(rows)))
        few = min(len(part) for part in parts[-1])
        if not LEAST_HELD_OUT <= few <= len(rows) - LEAST_HELD_OUT:
            raise DataError(
                f"holding out {share:g} of the {len(rows)} cells of time {time:g} leaves {len(rows) - few} to train on "
                f"and {few} to judge by; {LEAST_HELD_OUT} are the least: choose another share, or 0"
            )
    found = []
    for chosen in list(zip(*parts, strict=False))[:folds]:
        out = np.zeros(len(course.x), bool)
        out[np.concatenate(chosen)] = True
        found.append(out)
    return found


def _of_each(names: Sequence[Any], rows: Rows, rng: torch.Generator, time: float) -> list[Rows]:
    """The cells of each replicate of one time, in random order."""
    of_cell = np.array(list(map(str, names)))
    values = sorted(set(of_cell.tolist()))
    if len(values) < 2:
        raise DataError(f"time {time:g} has one replicate only, which cannot be held out; leave replicate_key away")
    return [rows[of_cell == values[i]] for i in torch.randperm(len(values), generator=rng).tolist()]


def _cut(rows: Rows, share: float) -> list[Rows]:
    """Parts of about that share each: all cells where it fits twice or more, else one part."""
    size = max(round(share * len(rows)), LEAST_HELD_OUT)
    many = min(round(len(rows) / size), len(rows) // LEAST_HELD_OUT)
    return [rows[:size]] if many < 2 else np.array_split(rows, many)


def _gathered(groups: Sequence[Rows], size: float) -> list[Rows]:
    """Parts of consecutive groups that have about so many cells each."""
    parts: list[list[Rows]] = [[]]
    for group in groups:
        if sum(map(len, parts[-1])) >= size - len(group) / 2 and parts[-1]:
            parts.append([])
        parts[-1].append(group)
    return [np.concatenate(part) for part in parts]


def intervals(
    push: Push,
    points: Sequence[Tensor],
    knots: Sequence[float],
    times: Sequence[float],
    scale: float,
    key: str,
    device: torch.device,
    trained: SnapshotPath | None = None,
    folds: int = 1,
) -> list[Interval]:
    """Push each snapshot to the next, and the first to the last, and compare.

    Parameters
    ----------
    points
        For each snapshot, (n_k, d).
    knots, times
        (K,) learning times of the snapshots, and their times in the column.
    scale
        Units of the basis per unit of ``points``.
    key
        From which the choice of cells derives.
    trained
        The path of the cells that were trained on, where ``points`` were held out.
    folds
        Over which distances will be averaged, so that the floor is that of such means.
    """
    shown = [some(x, CELLS, f"{key}/{k}") for k, x in enumerate(points)]
    last = len(shown) - 1
    return [
        _interval(push, shown, knots, times, scale, f"{key}/{j}", device, trained, (j, k), folds)
        for j, k in [*((k, k + 1) for k in range(last)), *([(0, last)] if last > 1 else [])]
    ]


def _interval(
    push: Push,
    shown: Sequence[Tensor],
    knots: Sequence[float],
    times: Sequence[float],
    scale: float,
    key: str,
    device: torch.device,
    trained: SnapshotPath | None,
    between: tuple[int, int],
    folds: int,
) -> Interval:
    j, k = between
    x, y = shown[j], shown[k]
    moved = push(x.to(device), knots[j], knots[k])
    log_weight = None if moved.log_weight is None else moved.log_weight[-1].cpu()
    end = moved.x[-1].cpu()
    weights = None if log_weight is None else Weights.of(times[j], times[k], log_weight)
    found = Interval(
        times[j],
        times[k],
        scale * _distance(end, y, log_weight),
        scale * _distance(x, y, None),
        scale * _floor(y, len(x), key, None if trained is None else trained.points[k], folds),
        len(x),
        weights,
    )
    if trained is None:
        return found
    cells = some(trained.points[k], CELLS, f"{key}/trained")
    far = torch.quantile(nearest(y, cells), OUTSIDE)
    looked_up = partners(x, cells, generator(key, "transport"))
    blocks = min(GROUPS, len(x), len(y))
    pushed, still, transport = (
        scale * _without_each_block(z, y, weight, blocks)
        for z, weight in ((end, log_weight), (x, None), (looked_up, None))
    )
    gain, half = found.still - found.pushed, jackknife_reach(still - pushed)
    return replace(
        found,
        transport=scale * _distance(looked_up, y, None),
        gained=(gain - half, gain + half),
        reach={
            name: jackknife_reach(without)
            for name, without in (("pushed", pushed), ("no_dynamics", still), ("transport", transport))
        },
        outside=float((~(nearest(end, cells) <= far)).float().mean()),
    )


def averaged(folds: Sequence[Sequence[Interval]]) -> list[Interval]:
    """The intervals of several folds as one: means of distances, and of shares; sums of cells.

    No cell is held out twice, so errors are taken to be independent.
    """
    found = []
    for parts in zip(*folds, strict=True):
        means = {
            name: float(np.mean([getattr(part, name) for part in parts]))
            for name in ("pushed", "still", "floor", "transport", "outside")
        }
        ends = [part.gained for part in parts if part.gained is not None]
        middle = float(np.mean([(low + high) / 2 for low, high in ends]))
        half = _together([(high - low) / 2 for low, high in ends])
        reach = {name: _together([part.reach[name] for part in parts]) for name in parts[0].reach}
        cells, weights = sum(part.cells for part in parts), [part.weights for part in parts if part.weights]
        begin, end = parts[0].begin, parts[0].end
        worth = Weights(begin, end, cells, sum(part.effective for part in weights)) if weights else None
        gained = middle - half, middle + half
        found.append(Interval(begin, end, cells=cells, weights=worth, gained=gained, reach=reach, **means))
    return found


def _together(halves: Sequence[float]) -> float:
    """Half-width of the interval of a mean of independent values, from those of the values."""
    return math.hypot(*halves) / len(halves)


def _without_each_block(x: Tensor, y: Tensor, log_weight: Tensor | None, blocks: int) -> Tensor:
    """Distances of all cells but those of each block, (blocks,)."""
    groups = (torch.arange(len(z)) % blocks for z in (x, y))
    return energies(x, y, torch.zeros(len(x)) if log_weight is None else log_weight, *groups)[1 : 1 + blocks]


def jackknife_reach(without: Tensor | NDArray[np.float64]) -> float:
    """Half-width of a 95 % interval, from values without one block of cells after another."""
    import pandas as pd

    return student(len(without), 0.95) * jackknife_error(pd.Series(np.asarray(without)))


def gravity(found: Sequence[Interval]) -> int:
    """Place of the gravest verdict in :data:`GRAVEST`."""
    return min(GRAVEST.index(one.verdict) for one in found)


def verdicts(found: Sequence[Interval], time_key: str) -> list[str]:
    """A sentence for each verdict with the intervals that it holds for, the gravest first.

    Examples
    --------
    >>> still = Interval(2, 4, pushed=0.9, still=0.5, floor=0.1, cells=30, weights=None, gained=(-0.7, -0.1))
    >>> verdicts([still], "day")
    ['from day 2 to 4: worse than no dynamics; do not interpret']
    """
    told = {
        "worse": "worse than no dynamics; do not interpret",
        "unsure": "not shown to be nearer than no dynamics, with so few cells; do not interpret",
        "nearer": "nearer than no dynamics, and farther than two samples of the cells are from each other",
        "still": "cells are not shown to move: no dynamics is as near as two samples are to each other",
        "noise": "as near as two samples of the cells are to each other",
    }
    sentences = []
    for verdict in GRAVEST:
        named = [f"{one.begin:g} to {one.end:g}" for one in found if one.verdict == verdict]
        if named:
            sentences.append(f"from {time_key} {', '.join(named)}: {told[verdict]}")
    return sentences


def too_few(found: Sequence[Weights], remedy: str, time_key: str) -> str | None:
    """A sentence that names the intervals whose weights are worth too few cells; None where there are none."""
    named = [
        f"from {time_key} {one.begin:g} to {one.end:g} the weights of {one.cells} cells are worth {one.effective:.2g}"
        for one in found
        if one.too_few
    ]
    if not named:
        return None
    return f"{', '.join(named)} (effective sample size, below a tenth): do not interpret the weights; {remedy}"


def summary(found: Mapping[str | None, Sequence[Interval]], basis: str) -> str:
    """A line for each interval, below the name of its group: however long that is, no terminal breaks a number."""
    judged = any(one.gained for part in found.values() for one in part)
    head = ("from", "to", "pushed forward", "no dynamics", "noise floor", *(("transport",) if judged else ()))
    parts: list[tuple[str | None, list[tuple[str, ...]]]] = [(None, [head])]
    for name, part in found.items():
        values = [
            (one.begin, one.end, one.pushed, one.still, one.floor, *((one.transport,) if judged else ()))
            for one in part
        ]
        parts += [(name, [(f"{x:g}", f"{y:g}", *(f"{value:.3g}" for value in rest)) for x, y, *rest in values])]
    widths = [max(map(len, column)) for column in zip(*(row for _, rows in parts for row in rows), strict=True)]
    cells = "cells that were held out" if judged else "the cells that were trained on"
    lines = [f"Energy distance to the later snapshot, in units of {basis}, of {cells}:"]
    for name, rows in parts:
        lines += [f"{name}:"] if name is not None else []
        lines += ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(lines)


def table(found: Sequence[Interval]) -> dict[str, list[Any]]:
    """Columns by name, for a file."""
    columns: dict[str, list[Any]] = {
        "from": [one.begin for one in found],
        "to": [one.end for one in found],
        "pushed": [one.pushed for one in found],
        "no_dynamics": [one.still for one in found],
        "noise_floor": [one.floor for one in found],
        "cells": [one.cells for one in found],
    }
    if any(one.gained for one in found):
        lows, highs = zip(*(one.gained or (math.nan, math.nan) for one in found), strict=True)
        columns |= {
            "transport": [one.transport for one in found],
            "gained_low": list(lows),
            "gained_high": list(highs),
            **{f"{name}_reach": [one.reach.get(name, math.nan) for one in found] for name in found[0].reach},
            "outside": [one.outside for one in found],
        }
    columns["verdict"] = [one.verdict for one in found]
    if any(one.weights for one in found):
        columns["effective_cells"] = [one.weights.effective if one.weights else math.nan for one in found]
    return columns


def some(x: Tensor, most: int, key: str) -> Tensor:
    """Of (n, d) cells at most so many, drawn by the key."""
    if len(x) <= most:
        return x
    return x[torch.randperm(len(x), generator=generator(key, "cells"))[:most].sort().values]


def _distance(x: Tensor, y: Tensor, log_weight: Tensor | None) -> float:
    try:
        return energy_distance(x, y, log_weight)
    except MetricError:  # diverged, or one cell carries all the weight
        return math.nan


def _floor(y: Tensor, n: int, key: str, more: Tensor | None = None, folds: int = 1) -> float:
    """The 95 % quantile of means over so many folds of what :func:`splits` gives."""
    distances = np.reshape(splits(y, n, key, more, SPLITS * folds), (SPLITS, folds))
    return float(np.sort(distances.mean(1))[-2])


def splits(y: Tensor, n: int, key: str, more: Tensor | None, count: int) -> list[float]:
    """Distances of ``count`` pairs of samples, of ``n`` cells and of as many as ``y`` has.

    They are drawn apart from ``y`` and ``more`` cells of the same time. Where these do not suffice, the samples are
    smaller in proportion, and the distances farther from 0 than they need be.
    """
    rng = generator(key, "floor")
    pool = y if more is None else torch.cat([y, more])
    first, second = n, len(y)
    if first + second > len(pool):
        first = min(max(2, round(len(pool) * n / (n + len(y)))), len(pool) - 2)
        second = len(pool) - first

    def distance() -> float:
        order = torch.randperm(len(pool), generator=rng)
        return energy_distance(pool[order[:first]], pool[order[first : first + second]])

    return [distance() for _ in range(count)]
