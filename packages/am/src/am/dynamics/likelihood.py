"""Log-likelihood of a deterministic flow, by the instantaneous change of variables."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from am.dynamics.ode import solve, spread
from am.dynamics.settings import OdeSettings
from am.dynamics.trajectory import Field


def divergence(velocity: Field, time: Tensor, x: Tensor, probe: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Velocity and its divergence at (n, d) points: exact, or Hutchinson's estimate along ``probe``.

    Raises
    ------
    ValueError
        The velocity cannot be differentiated in x.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = velocity(time, x)
        if not v.requires_grad:
            raise ValueError("the velocity cannot be differentiated in x: was it detached, or does it not depend on x?")
        if probe is not None:
            (product,) = torch.autograd.grad((v * probe).sum(), x)
            return v.detach(), (product * probe).sum(-1)
        columns = range(x.shape[-1])
        parts = [torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0][:, i] for i in columns]
    return v.detach(), torch.stack(parts).sum(0)


def log_likelihood(
    velocity: Field,
    x: Tensor,
    log_start_density: Callable[[Tensor], Tensor],
    settings: OdeSettings,
    begin: float = 0.0,
    end: float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, int]:
    """Log-density at ``x`` of the flow's distribution at ``end``.

    log q_end(x_end) = log q_begin(x_begin) - int div v dt along the path that ends in x
    (Chen et al., NeurIPS 2018, theorem 1).

    Parameters
    ----------
    velocity
        Must be differentiable in x.
    x
        (n, d) points.
    log_start_density
        (n, d) -> (n,), the log-density at ``begin``.
    generator
        None computes the divergence exactly, at d backward passes each time; a generator draws one
        Rademacher direction per point, kept along its path (Hutchinson's estimate, unbiased).

    Returns
    -------
    (n,) log-densities per unit of volume, (n, d) points at ``begin``, number of evaluations.

    Raises
    ------
    ValueError
        A velocity that cannot be differentiated in x.
    DynamicsError
        A velocity that the solver cannot follow.
    """
    probe = None
    if generator is not None:
        bits = torch.randint(0, 2, x.shape, generator=generator, device=x.device)
        probe = (2 * bits - 1).to(x)
    unit = spread(x)
    nfe = 0

    def slope(time: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal nfe
        nfe += 1
        v, div = divergence(velocity, time.to(x).expand(len(x)), state[0] * unit, probe)
        return v / unit, div

    times = x.new_tensor([end, begin])
    with torch.no_grad():
        path, change = solve(slope, (x / unit, x.new_zeros(len(x))), times, settings)
    start = path[-1] * unit
    return log_start_density(start) + change[-1], start, nfe
