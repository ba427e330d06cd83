"""Unbalanced Action Matching: particles that move and change their weight."""

from __future__ import annotations

from torch import Tensor

from am.objectives.action_matching import variational_loss
from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.potential import Potential


def unbalanced_action_matching(
    potential: Potential, sample: PathSample, growth: float = 1.0, weight: TimeWeight = WEIGHTS["constant"]
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Unbalanced Action Matching (uAM).

    .. math:: AM + \int_0^1 \lambda/2\, E_{q_t}[s_t^2] dt

    Dynamics dx = grad s dt, d log w = lambda s dt; ``growth`` is lambda. Of probabilities, lambda s has mean zero under
    q_t and weights are to be normalised. With the weight :meth:`am.objectives.path.TimeWeight.of_mass` all is of the
    measure m(t) q_t: lambda s has the mean (log m)', and weights add up to the mass.
    Source: Neklyudov et al., ICML 2023, the unbalanced objective.
    """
    derivatives = potential.derivatives(sample.time, sample.x)
    kinetic = derivatives.space.square().sum(-1) / 2
    growing = growth / 2 * derivatives.value.square()
    loss, diagnostics = variational_loss(potential, sample, weight, derivatives, kinetic + growing)
    return loss, diagnostics | {"growth": sample.mean(growing).detach()}
