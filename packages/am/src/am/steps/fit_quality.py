"""How well a fit pushes cells from each snapshot to the next, beside no dynamics and the noise floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from am.dynamics.weighted import effective_sample_size
from am.metrics.energy import energy_distance
from am.metrics.samples import MetricError
from am.randomness import generator

if TYPE_CHECKING:
    from am.methods.contract import Prediction

CELLS = 2000
"""Of each snapshot, at most, that are pushed and compared: a million cells need no more memory or time than these."""
SPLITS = 39
"""Random splits of a snapshot into two parts: the second largest of so many distances is the 95 % quantile."""
LEAST_SHARE = 0.1
"""Effective sample size over the number of cells below which weights are not to be trusted."""

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
    """From one snapshot to the next: energy distances to the second, in units of the basis.

    They are unbiased, so a distance may be negative; the cells are those that were trained on.
    """

    begin: float
    end: float
    """Times of the column."""
    pushed: float
    """Of the first snapshot pushed forward, with its weights where the method weighs; NaN where it has none."""
    still: float
    """Of the first snapshot as it is: no dynamics."""
    floor: float
    """Below which 95 % of the distances lie between two random parts of the second snapshot."""
    cells: int
    """That were pushed."""
    weights: Weights | None
    """Of these cells; None without."""

    @property
    def fails(self) -> bool:
        """Whether no dynamics is as near, or nearer, beyond noise."""
        return not (self.pushed < self.still or self.pushed <= self.floor)


def intervals(
    push: Push,
    points: Sequence[Tensor],
    knots: Sequence[float],
    times: Sequence[float],
    scale: float,
    key: str,
    device: torch.device,
) -> list[Interval]:
    """Push each snapshot to the next and compare.

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
    """
    shown = [_some(x, CELLS, f"{key}/{k}") for k, x in enumerate(points)]
    found = []
    for k in range(len(shown) - 1):
        x, y = shown[k], shown[k + 1]
        moved = push(x.to(device), knots[k], knots[k + 1])
        log_weight = None if moved.log_weight is None else moved.log_weight[-1].cpu()
        found.append(
            Interval(
                times[k],
                times[k + 1],
                scale * _distance(moved.x[-1].cpu(), y, log_weight),
                scale * _distance(x, y, None),
                scale * _floor(y, len(x), f"{key}/{k}"),
                len(x),
                None if log_weight is None else Weights.of(times[k], times[k + 1], log_weight),
            )
        )
    return found


def failures(found: Sequence[Interval], time_key: str) -> str | None:
    """A sentence that names the intervals where the fit is no better than no dynamics; None where there are none."""
    named = [f"from {time_key} {one.begin:g} to {one.end:g}" for one in found if one.fails]
    return f"{', '.join(named)}: no better than no dynamics; do not interpret" if named else None


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
    head = ("from", "to", "pushed forward", "no dynamics", "noise floor")
    parts: list[tuple[str | None, list[tuple[str, ...]]]] = [(None, [head])]
    for name, part in found.items():
        values = [(one.begin, one.end, one.pushed, one.still, one.floor) for one in part]
        parts += [(name, [(f"{x:g}", f"{y:g}", *(f"{value:.3g}" for value in rest)) for x, y, *rest in values])]
    widths = [max(map(len, column)) for column in zip(*(row for _, rows in parts for row in rows), strict=True)]
    lines = [f"Energy distance to the next snapshot, in units of {basis}, of the cells that were trained on:"]
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
    if any(one.weights for one in found):
        columns["effective_cells"] = [one.weights.effective if one.weights else math.nan for one in found]
    return columns


def _some(x: Tensor, most: int, key: str) -> Tensor:
    if len(x) <= most:
        return x
    return x[torch.randperm(len(x), generator=generator(key, "cells"))[:most].sort().values]


def _distance(x: Tensor, y: Tensor, log_weight: Tensor | None) -> float:
    try:
        return energy_distance(x, y, log_weight)
    except MetricError:  # diverged, or one cell carries all the weight
        return math.nan


def _floor(y: Tensor, n: int, key: str) -> float:
    """Of parts whose sizes are to each other as ``n`` to the number of ``y``."""
    rng = generator(key, "floor")
    first = min(max(2, round(len(y) * n / (n + len(y)))), len(y) - 2)
    distances = []
    for _ in range(SPLITS):
        order = torch.randperm(len(y), generator=rng)
        distances.append(energy_distance(y[order[:first]], y[order[first:]]))
    return sorted(distances)[-2]
