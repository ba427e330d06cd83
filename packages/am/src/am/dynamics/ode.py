"""Deterministic dynamics: dx = v_t(x) dt."""

from __future__ import annotations

import torch
from torch import Tensor
from torchdiffeq import odeint

from am.dynamics.settings import OdeSettings
from am.dynamics.trajectory import CountedField, Field, Trajectory, check_times

_FIXED_STEP = {"rk4", "midpoint", "euler"}


def solver_options(settings: OdeSettings, absolute: float = 1.0) -> dict[str, object]:
    """Keyword arguments of ``torchdiffeq.odeint``; ``absolute`` is the unit that atol is given in."""
    options = {"step_size": 1 / settings.steps} if settings.method in _FIXED_STEP else {}
    return {"method": settings.method, "rtol": settings.rtol, "atol": settings.atol * absolute, "options": options}


def spread(x: Tensor) -> float:
    """Root mean square distance of (n, d) points from their centre, per coordinate."""
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
    ValueError
        Times that do not increase, or a particle that left the finite numbers.
    """
    check_times(times)
    field = CountedField(velocity)
    x = odeint(field, start, times.to(start), **solver_options(settings, spread(start)))
    if not bool(torch.isfinite(x).all()):
        raise ValueError("the dynamics left the finite numbers: the velocity field diverges")
    return Trajectory(x, field.nfe)
