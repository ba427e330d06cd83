"""Deterministic dynamics: dx = v_t(x) dt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from am.dynamics.dynamics import Dynamics
from am.dynamics.settings import OdeSettings
from am.dynamics.trajectory import CountedField, DynamicsError, Field, Trajectory, check_finite, check_times, step_count
from am.marginals.stray import without_stray

_FIXED_STEP = {"rk4", "midpoint", "euler"}
_COARSE_BETWEEN_STEPS = {"dopri8", "bosh3"}
"""Methods whose interpolant in torchdiffeq is up to 200 times worse than their tolerance: they step on each time."""
_MAX_STEPS = 10_000  # between two output times; a field that needs more is as good as divergent

State = TypeVar("State", Tensor, tuple[Tensor, Tensor])
Slope = Callable[[Tensor, Any], Any]
"""Scalar time and a state -> the state's derivative in time."""


def _grid(times: Tensor, steps: int) -> Tensor:
    """Equal steps from each of ``times`` to the next, so that a fixed-step solver never interpolates."""
    parts = [times[:1]]
    for begin, end in pairwise(times):
        count = step_count(float(begin), float(end), steps)
        parts.append(torch.lerp(begin, end, torch.arange(1, count + 1).to(times) / count))
    return torch.cat(parts)


def solve(slope: Slope, state: State, times: Tensor, settings: OdeSettings, absolute: float = 1.0) -> State:
    """States at ``times``, (T,), which rise or fall; a state is a tensor or a tuple of tensors.

    ``slope`` is asked at no time outside of ``times``; ``absolute`` is the unit that atol is given in.

    Raises
    ------
    DynamicsError
        The solver gave up, or left the finite numbers.
    """
    from torchdiffeq import odeint  # with all of scipy's integrators

    options: dict[str, Any]
    if settings.method in _FIXED_STEP:
        options = {"grid_constructor": lambda f, y, grid: _grid(grid, settings.steps)}
    else:
        landings = times[1:] if settings.method in _COARSE_BETWEEN_STEPS else times[-1:]
        options = {"max_num_steps": _MAX_STEPS, "step_t": landings}
    low, high = times.min(), times.max()
    try:
        path = odeint(
            lambda time, y: slope(time.clamp(low, high), y),  # the guess of a first step may reach too far
            state,
            times,
            method=settings.method,
            rtol=settings.rtol,
            atol=settings.atol * absolute,
            options=options,
        )
    except AssertionError as error:  # how torchdiffeq reports it
        reason = str(error).partition(":")[0]
        raise DynamicsError(
            f"{settings.method} gave up ({reason}): the field diverges, is not finite, "
            f"or is too rough for rtol = {settings.rtol:g} and atol = {settings.atol:g}; where it was learned well, "
            f"'sampling' can set larger ones, or a solver of fixed steps, as in method: rk4"
        ) from error
    for part in (path,) if isinstance(path, Tensor) else path:
        check_finite(part)
    return path


def spread(x: Tensor) -> float:
    """Root mean square distance of (n, d) points from their centre, per coordinate; of those that are not stray."""
    x = without_stray(x)
    return float((x - x.mean(0)).square().mean().sqrt()) or 1.0


@torch.no_grad()
def integrate(velocity: Field, start: Tensor, times: Tensor, settings: OdeSettings) -> Trajectory:
    """Move particles along a velocity field.

    Parameters
    ----------
    velocity
        (n,) times, (n, d) points -> (n, d) velocities.
    start
        (n, d) positions at ``times[0]``; row 0 of the result.
    times
        (T,) increasing.
    settings
        Solver; the error of an adaptive one is controlled over all particles together.

    Raises
    ------
    DynamicsError
        Times that do not increase, or a field that the solver cannot follow.
    """
    check_times(times)
    field = CountedField(velocity)
    x = solve(field, start, times.to(start), settings, spread(start))
    return Trajectory(x, field.nfe)


@dataclass(frozen=True)
class Ode(Dynamics):
    """Particles that follow a field: dx = v_t(x) dt.

    Examples
    --------
    >>> import torch
    >>> from am.dynamics.ode import Ode
    >>> doubling = Ode(lambda time, x: torch.log(torch.tensor(2.0)) * x)
    >>> doubling.move(torch.tensor([[1.0, -1.0]]), torch.tensor([0.0, 1.0]), torch.Generator()).x[-1]
    tensor([[ 2.0000, -2.0000]])
    """

    velocity: Field
    """v, (n,), (n, d) -> (n, d); likelihoods differentiate it in x."""
    solver: OdeSettings = field(default_factory=OdeSettings)

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        """Solve the equation; nothing is random."""
        return integrate(self.velocity, start, times, self.solver)

    @property
    def mean_velocity(self) -> Field:
        """The field itself."""
        return self.velocity

    @property
    def flow(self) -> Field:
        """The field itself."""
        return self.velocity
