"""Sums over all pairs of points, in blocks that stay small."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BLOCK = 512
"""Points on a side of a block: 512^2 float64 numbers are 2 MiB, which stay in a core's cache."""

PairFunction = Callable[[Tensor], Tensor]
"""Function of (a, b) squared distances, elementwise; may work in place."""


def check_samples(*samples: Tensor) -> None:
    """Raise ValueError unless all are non-empty (n, d) samples of finite numbers, of one d."""
    for x in samples:
        if x.ndim != 2:
            raise ValueError(f"a sample must be a (n, d) tensor, got shape {tuple(x.shape)}")
        if not len(x):
            raise ValueError("a sample is empty")
        if not bool(torch.isfinite(x).all()):
            raise ValueError("a sample holds a number that is not finite")
    if len({x.shape[1] for x in samples}) > 1:
        raise ValueError(f"samples of different dimensions: {[x.shape[1] for x in samples]}")


def normalised(log_weight: Tensor | None, n: int) -> Tensor:
    """(n,) weights that sum to one, in float64; equal ones when there are none."""
    if log_weight is None:
        return torch.full((n,), 1 / n, dtype=torch.float64)
    if log_weight.shape != (n,):
        raise ValueError(f"{n} points need {n} log-weights, got shape {tuple(log_weight.shape)}")
    return torch.softmax(log_weight.to(torch.float64), 0)


def centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both samples in float64 about their common centre, so that squared distances lose no digits."""
    x, y = x.to(torch.float64), y.to(torch.float64)
    centre = (x.mean(0) + y.mean(0)) / 2
    return x - centre, y - centre


def mean_between(x: Tensor, y: Tensor, wx: Tensor, wy: Tensor, function: PairFunction) -> Tensor:
    """sum_ij wx_i wy_j function(|x_i - y_j|^2)."""
    total = x.new_zeros(())
    for i in _blocks(len(x)):
        for j in _blocks(len(y)):
            total += wx[i] @ function(_squared_distances(x[i], y[j])) @ wy[j]
    return total


def mean_within(x: Tensor, w: Tensor, function: PairFunction) -> Tensor:
    """The same over pairs i != j of one sample, divided by the weight of such pairs, 1 - sum w^2."""
    total = x.new_zeros(())
    for i in _blocks(len(x)):
        for j in _blocks(len(x)):
            if j.start > i.start:
                total += 2 * (w[i] @ function(_squared_distances(x[i], x[j])) @ w[j])
        block = function(_squared_distances(x[i], x[i]))
        total += w[i] @ block.fill_diagonal_(0) @ w[i]
    rest = 1 - w.square().sum()
    if not bool(rest > 0):
        raise ValueError("a sample of one point (or one that carries all the weight) has no pairs")
    return total / rest


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    product = torch.addmm(x.square().sum(1)[:, None] + y.square().sum(1), x, y.T, alpha=-2)
    return product.clamp_(min=0)
