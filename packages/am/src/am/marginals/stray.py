"""Points that lie absurdly far away, which no unit of length should depend on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FARTHEST = 5.0
"""Distances from the centre, in units of the one that nine tenths of all points stay within; no Gaussian reaches it."""


def is_stray(x: Tensor) -> Tensor:
    """Which of (n, d) points lie farther from the centre than :data:`FARTHEST`: (n,) bool.

    The centre is the median of each coordinate. Less than a tenth of the points can be stray, and none is where nine
    tenths of them are the same. Centre and distances hardly depend on any one point, however far it lies.
    """
    distance = torch.linalg.vector_norm(x - x.median(0).values, dim=1, dtype=torch.float64)
    reach = distance.kthvalue(max(1, math.floor(0.9 * len(x)))).values
    return (distance > FARTHEST * reach) & (reach > 0)


def without_stray(x: Tensor) -> Tensor:
    """The points that are not stray, (m, d); all of them as they are where none is."""
    stray = is_stray(x)
    return x[~stray] if bool(stray.any()) else x
