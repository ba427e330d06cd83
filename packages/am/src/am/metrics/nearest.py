"""How near images are to those that were learned from."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1000
"""Images whose distances to all others are in memory together."""


def nearest(x: Tensor, others: Tensor) -> Tensor:
    """Euclidean distance of each of (n, d) points to the nearest of (m, d): (n,)."""
    return torch.cat([torch.cdist(part, others).min(1).values for part in x.split(CHUNK)])


def relative_nearness(x: Tensor, learned: Tensor, fresh: Tensor) -> float:
    """Median distance of (n, d) points to the nearest that was learned from, relative to that of ``fresh`` points.

    As many fresh ones are taken as there are points. Below 1 the points are nearer than fresh ones are.
    """
    own, theirs = (nearest(points, learned).median() for points in (x, fresh[: len(x)]))
    return float(own / theirs)
