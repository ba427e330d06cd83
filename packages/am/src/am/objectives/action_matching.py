"""Action Matching, and what its entropic, unbalanced and convex-cost forms share with it."""

from __future__ import annotations

import torch
from torch import Tensor

from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.potential import Derivatives, Potential


def variational_loss(
    potential: Potential, sample: PathSample, weight: TimeWeight, derivatives: Derivatives, running: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""The frame of all forms, for a ``running`` cost of shape (n,).

    .. math:: w_0 E_{q_0}[s_0] - w_1 E_{q_1}[s_1] + \int_0^1 E_{q_t}[w (running + ds/dt) + w' s] dt

    The boundary terms need no derivative of s, and are skipped where their weight is zero. A sample with velocities v
    gives another estimate of the same number, since all but the running cost is the integral of -w d/dt E s_t(x_t):

    .. math:: \int_0^1 w E[running - \nabla s \cdot v] dt
    """
    w = weight.value(sample.time)
    mean_running = sample.mean(running).detach()
    if sample.velocity is not None:
        carried = (derivatives.space * sample.velocity).sum(-1)
        loss = sample.integral(w * (running - carried))
        return loss, {"carried": sample.mean(carried).detach(), "running": mean_running}
    slope = weight.slope(sample.time)
    inside = sample.integral(w * (running + derivatives.time) + slope * derivatives.value)
    ends = weight.value(torch.stack([sample.time.new_zeros(()), sample.time.new_ones(())]))
    boundary = inside.new_zeros(())
    for w_end, time, x in zip(ends.tolist(), (0.0, 1.0), (sample.start, sample.end), strict=True):
        if w_end:
            action = potential(x.new_full((len(x),), time), x).mean()
            boundary = boundary + (1 - 2 * time) * w_end * action
    loss = boundary + inside
    return loss, {"boundary": boundary.detach(), "running": mean_running}


def action_matching(
    potential: Potential, sample: PathSample, weight: TimeWeight = WEIGHTS["constant"]
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Action Matching: the unique gradient field that moves q_0 along q_t.

    .. math:: E_{q_0}[s_0] - E_{q_1}[s_1] + \int_0^1 E_{q_t}[ |\nabla s_t|^2 / 2 + \partial_t s_t ] dt

    Above its minimum by half of the integral of E|grad s - grad s*|^2. Source: Neklyudov et al.,
    ICML 2023, the Action Matching objective; dynamics dx = grad s dt.

    Returns
    -------
    The scalar loss, and ``boundary`` (or ``carried``) and ``running`` (kinetic energy) parts of it for the log.
    """
    if sample.velocity is None:
        derivatives = potential.derivatives(sample.time, sample.x)
    else:
        none = torch.full_like(sample.time, torch.nan)  # nobody asks for
        derivatives = Derivatives(none, none, potential.space(sample.time, sample.x))
    kinetic = derivatives.space.square().sum(-1) / 2
    return variational_loss(potential, sample, weight, derivatives, kinetic)
