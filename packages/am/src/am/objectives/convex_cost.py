"""Action Matching for a convex cost of velocity other than the square."""

from __future__ import annotations

import torch
from torch import Tensor

from am.objectives.action_matching import variational_loss
from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.potential import Potential


def conjugate_exponent(p: float) -> float:
    """Q with 1/p + 1/q = 1, for p > 1."""
    if not p > 1:
        raise ValueError(f"the cost |v|^p / p needs p > 1 to be strictly convex, got p = {p}")
    return p / (p - 1)


def velocity_from_gradient(gradient: Tensor, p: float) -> Tensor:
    """Grad c*(gradient) for c(v) = sum_i |v_i|^p / p: (n, d) -> (n, d)."""
    return torch.sign(gradient) * gradient.abs() ** (conjugate_exponent(p) - 1)


def convex_cost_action_matching(
    potential: Potential, sample: PathSample, p: float, weight: TimeWeight = WEIGHTS["constant"]
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Action Matching with the cost c(v) = sum_i \|v_i\|^p / p (cAM).

    .. math:: E_{q_0}[s_0] - E_{q_1}[s_1] + \int_0^1 E_{q_t}[ c^*(\nabla s_t) + \partial_t s_t ] dt

    with the conjugate c*(g) = sum_i \|g_i\|^q / q, 1/p + 1/q = 1. Dynamics dx = grad c*(grad s) dt.
    Source: Neklyudov et al., ICML 2023, the objective for convex costs.
    """
    q = conjugate_exponent(p)
    derivatives = potential.derivatives(sample.time, sample.x)
    running = (derivatives.space.abs() ** q).sum(-1) / q
    return variational_loss(potential, sample, weight, derivatives, running)
