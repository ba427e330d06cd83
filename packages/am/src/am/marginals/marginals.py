"""What a path of marginals must offer to be learned from."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Marginals(Protocol):
    """A path of probability distributions q_t on R^d, t in [0, 1], that can be sampled."""

    dimension: int
    """d, the number of coordinates of a point."""

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one point from q_t for each entry t of ``time``.

        Parameters
        ----------
        time
            (n,) times in [0, 1].
        generator
            The only source of randomness.

        Returns
        -------
        Tensor
            (n, d) points, independent of each other.
        """
        ...


@runtime_checkable
class MovingMarginals(Marginals, Protocol):
    """Marginals whose points lie on curves x_t that can be drawn with their velocities.

    Whatever the curves: they must carry q_t, so that d/dt E f(x_t) = E[grad f . dx_t/dt] for every smooth f.
    """

    def moving(self, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One point of q_t for each entry of ``time``, and its velocity: (n,) -> (n, d), (n, d) per unit of t."""
        ...


@runtime_checkable
class GrowingMarginals(Marginals, Protocol):
    """Marginals that tell how much there is of all, which no probability does."""

    def log_mass(self, time: Tensor) -> Tensor:
        """Logarithm of the whole mass at each time, 0 at t = 0: (n,) -> (n,)."""
        ...


@runtime_checkable
class ScoredMarginals(Marginals, Protocol):
    """Marginals whose score is known in closed form."""

    def score(self, time: Tensor, x: Tensor) -> Tensor:
        """Gradient of log q_t at ``x``: (n,), (n, d) -> (n, d)."""
        ...


@runtime_checkable
class ConditionedMarginals(Marginals, Protocol):
    """Some coordinates never move, and the others are conditioned on them."""

    def from_condition(self, x: Tensor, guessed: bool = True) -> Tensor:
        """What coordinates that never move tell of the others without anything learned: (n, d) -> (n, d).

        ``guessed``: as well as it can be told so; else as they stand there.
        """
        ...
