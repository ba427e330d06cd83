"""Entropic Action Matching: the drift of a diffusion of known strength."""

from __future__ import annotations

import torch
from torch import Tensor

from am.objectives.action_matching import variational_loss
from am.objectives.path import WEIGHTS, PathSample, TimeWeight
from am.potentials.potential import Potential


def laplacian(gradient: Tensor, x: Tensor, probe: Tensor | None = None) -> Tensor:
    """Divergence of ``gradient``, (n, d), computed from ``x``: exact, or Hutchinson's estimate.

    Parameters
    ----------
    probe
        (n, d) directions of mean zero and unit covariance; None sums the d exact terms.
    """
    if probe is not None:
        (product,) = torch.autograd.grad((gradient * probe).sum(), x, create_graph=True, materialize_grads=True)
        return (product * probe).sum(-1)
    trace = x.new_zeros(len(x))
    for i in range(x.shape[-1]):
        (row,) = torch.autograd.grad(gradient[:, i].sum(), x, create_graph=True, materialize_grads=True)
        trace = trace + row[:, i]
    return trace


def entropic_action_matching(
    potential: Potential,
    sample: PathSample,
    sigma: float,
    weight: TimeWeight = WEIGHTS["constant"],
    probe: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Entropic Action Matching (eAM).

    .. math:: AM + \int_0^1 \sigma^2/2\, E_{q_t}[\Delta s_t] dt

    Dynamics dx = grad s dt + sigma dW. ``sigma`` is in units of length per square root of time.
    Source: Neklyudov et al., ICML 2023, the entropic objective.

    Parameters
    ----------
    probe
        (n, d) directions for Hutchinson's estimate of the Laplacian; None computes it exactly.
    """
    x = sample.x if sample.x.requires_grad else sample.x.detach().requires_grad_()
    derivatives = potential.derivatives(sample.time, x)
    kinetic = derivatives.space.square().sum(-1) / 2
    diffusion = sigma**2 / 2 * laplacian(derivatives.space, x, probe)
    loss, diagnostics = variational_loss(potential, sample, weight, derivatives, kinetic + diffusion)
    return loss, diagnostics | {"diffusion": sample.mean(diffusion).detach()}
