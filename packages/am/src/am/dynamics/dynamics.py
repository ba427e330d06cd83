"""How particles move: what every kind of dynamics offers, and the kinds that need no solver of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from am.dynamics.trajectory import Field, Trajectory


class Dynamics(ABC):
    """What moves particles from a time to later ones.

    The kinds stand beside their solvers: :class:`am.dynamics.ode.Ode`, :class:`am.dynamics.sde.Diffusion`,
    :class:`am.dynamics.weighted.WeightedOde`, :class:`am.dynamics.langevin.Langevin`, and :class:`Still`,
    :class:`Explicit` and :class:`Piecewise` here. A kind of one's own needs :meth:`move` alone.
    """

    @abstractmethod
    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """Push ``start``, (n, d) particles at ``times[0]``, to each of ``times``, (T,) increasing.

        All randomness is that of ``generator``.
        """

    @property
    def mean_velocity(self) -> Field | None:
        """Mean velocity of particles per unit of t, (n,), (n, d) -> (n, d); None where it is not known as a field."""
        return None

    @property
    def flow(self) -> Field | None:
        """Velocity of the deterministic flow that has the law of the particles, (n,), (n, d) -> (n, d).

        It can be differentiated in x. None where there is no such flow, or where it is not known.
        """
        return None

    @property
    def growth_rate(self) -> Field | None:
        """Rate of log-weights per unit of t, (n,), (n, d) -> (n,); None where particles have no weights."""
        return None


@dataclass(frozen=True)
class Still(Dynamics):
    """Nothing moves.

    Examples
    --------
    >>> import torch
    >>> from am.dynamics.dynamics import Still
    >>> Still().move(torch.ones(5, 2), torch.tensor([0.0, 0.5, 1.0]), torch.Generator()).x.shape
    torch.Size([3, 5, 2])
    """

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """The start, repeated."""
        return Trajectory(start.expand(len(times), *start.shape), 0)


@dataclass(frozen=True)
class Explicit(Dynamics):
    """Motion that a function tells, where no equation does.

    Examples
    --------
    >>> import torch
    >>> from am.dynamics.dynamics import Explicit
    >>> wind = Explicit(lambda start, times, generator: start + (times - times[0])[:, None, None])
    >>> wind.move(torch.zeros(1, 2), torch.tensor([0.0, 0.5]), torch.Generator()).x[-1]
    tensor([[0.5000, 0.5000]])
    """

    positions: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    """Start (n, d), times (T,) and the source of all randomness -> (T, n, d), of which the first are the start."""

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """What the function tells."""
        return Trajectory(self.positions(start, times, generator), 0)


@dataclass(frozen=True)
class Piecewise(Dynamics):
    """Other dynamics on each interval between knots, each followed to the very end of its interval."""

    whole: Dynamics
    """What tells the fields at all times."""
    knots: Tensor
    """(K,) increasing times, which bound the intervals."""
    part: Callable[[int], Dynamics]
    """The dynamics on interval k, from knot k to knot k + 1."""

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """Follow one part after the other; weights multiply, and evaluations add up."""
        knots = self.knots.to(times)
        inner = knots[(knots > times[0]) & (knots < times[-1])]
        grid = torch.cat([times, inner]).unique()
        x, log_weight, nfe = [start[None]], [start.new_zeros(1, len(start))], 0
        for begin, end in pairwise([times[0], *inner, times[-1]]):
            k = int(torch.searchsorted(knots, (begin + end) / 2)) - 1
            part = self.part(k).move(x[-1][-1], grid[(grid >= begin) & (grid <= end)], generator)
            x.append(part.x[1:])
            if part.log_weight is not None:
                log_weight.append(log_weight[-1][-1:] + part.log_weight[1:])
            nfe += part.nfe
        wanted = torch.isin(grid, times)
        weights = torch.cat(log_weight)[wanted] if len(log_weight) > 1 else None
        return Trajectory(torch.cat(x)[wanted], nfe, weights)

    @property
    def mean_velocity(self) -> Field | None:
        """That of the whole."""
        return self.whole.mean_velocity

    @property
    def flow(self) -> Field | None:
        """That of the whole."""
        return self.whole.flow

    @property
    def growth_rate(self) -> Field | None:
        """That of the whole."""
        return self.whole.growth_rate
