"""Means over all pairs of points, in blocks that stay small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from am.metrics.samples import MetricError

CHUNK = 512
"""Points on a side of a block: 512^2 float64 numbers are 2 MiB, which stay in a core's cache."""

PairFunction = Callable[[Tensor], Tensor]
"""Function of (a, b) squared distances, elementwise; may work in place."""


def mean_between(x: Tensor, y: Tensor, wx: Tensor, wy: Tensor, function: PairFunction, chunk: int = CHUNK) -> float:
    """sum_ij wx_i wy_j function(|x_i - y_j|^2), for points near the origin and weights that sum to one."""
    buffer = x.new_empty(min(chunk, len(x)), min(chunk, len(y)))
    right = list(zip(_right(y).split(chunk), wy.split(chunk), strict=True))
    total = x.new_zeros(())
    for a, wa in zip(_left(x).split(chunk), wx.split(chunk), strict=True):
        for b, wb in right:
            total += wa @ function(_squared_distances(a, b, buffer)) @ wb
    return float(total)


def mean_within(x: Tensor, w: Tensor, function: PairFunction, chunk: int = CHUNK) -> float:
    """The same over pairs i != j of one sample, divided by the weight of such pairs, 1 - sum w^2.

    Raises
    ------
    MetricError
        There is one point only, or one that carries all the weight.
    """
    weight_of_pairs = float((w * (1 - w)).sum())
    if not weight_of_pairs > 0:
        raise MetricError("a sample of one point, or one point with all the weight, has no pairs")
    x = x - x.median(0).values
    buffer = x.new_empty(min(chunk, len(x)), min(chunk, len(x)))
    blocks = list(zip(_left(x).split(chunk), _right(x).split(chunk), w.split(chunk), strict=True))
    total = x.new_zeros(())
    for i, (a, own, wa) in enumerate(blocks):
        total += wa @ function(_squared_distances(a, own, buffer)).fill_diagonal_(0) @ wa
        for _, b, wb in blocks[i + 1 :]:
            total += 2 * (wa @ function(_squared_distances(a, b, buffer)) @ wb)
    return float(total) / weight_of_pairs


# |a - b|^2 = (-2a, |a|^2, 1) . (b, 1, |b|^2): one matrix product into memory that is already there. Fresh
# blocks would cost more in page faults than all the arithmetic.


def _left(x: Tensor) -> Tensor:
    return torch.cat([-2 * x, x.square().sum(1, keepdim=True), torch.ones_like(x[:, :1])], 1)


def _right(y: Tensor) -> Tensor:
    return torch.cat([y, torch.ones_like(y[:, :1]), y.square().sum(1, keepdim=True)], 1)


def _squared_distances(left: Tensor, right: Tensor, buffer: Tensor) -> Tensor:
    return torch.mm(left, right.T, out=buffer[: len(left), : len(right)]).clamp_(min=0)
