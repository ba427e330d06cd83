"""What every solver returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
"""A vector field: (n,) equal times, (n, d) points -> (n, d)."""


class DynamicsError(ValueError):
    """Dynamics that cannot be followed; its text is one sentence for the user."""


class Trajectory(NamedTuple):
    """Particles at T times."""

    x: Tensor
    """(T, n, d) positions."""
    nfe: int
    """Evaluations of the field, each over all particles."""
    log_weight: Tensor | None = None
    """(T, n) log-weights, for weighted particles."""


class CountedField:
    """A field at one time for all particles, counting how often it was asked."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self.nfe = 0

    def __call__(self, time: Tensor, x: Tensor) -> Tensor:
        """Scalar time, (n, d) points -> (n, d)."""
        self.nfe += 1
        return self._field(time.to(x.dtype).expand(len(x)), x)


def check_times(times: Tensor) -> None:
    """Raise DynamicsError unless ``times`` is a vector of at least two increasing numbers."""
    if times.ndim != 1 or len(times) < 2 or not bool((times.diff() > 0).all()):
        raise DynamicsError(f"times must be at least two increasing numbers, got {times.tolist()}")


def step_count(begin: float, end: float, rate: int) -> int:
    """Equal steps from ``begin`` to ``end``, at least ``rate`` per unit of time and at least one.

    A thousandth of a step is forgiven: 0.1 in single precision is 0.10000000149.
    """
    return max(1, math.ceil(abs(end - begin) * rate - 1e-3))


def check_finite(x: Tensor) -> None:
    """Raise DynamicsError where a solver's result holds infinite numbers or none at all."""
    if not bool(torch.isfinite(x).all()):
        raise DynamicsError("the dynamics left the finite numbers: the start is not finite, or the field diverges")
