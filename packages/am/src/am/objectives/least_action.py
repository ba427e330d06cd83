"""What a diffusion of least action obeys: the cost of motion, and the equation that its value function solves."""

from __future__ import annotations

from torch import Tensor

from am.potentials.neural_sde import NeuralSde
from am.potentials.potential import Derivatives


def action_and_residual(network: NeuralSde, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Lagrangian of a drift u = -grad Phi, and by how much Phi misses its Hamilton-Jacobi-Bellman equation.

    .. math:: L = |u|^2 / 2, \quad
        R = |\partial_t \Phi - |\nabla \Phi|^2 / 2 + \tfrac12 \sum_i \sigma_i^2\, \partial_i^2 \Phi|

    Source: Koshizuka and Sato, ICLR 2023, for the Lagrangian without a potential.

    Parameters
    ----------
    time, x
        (n,) times and (n, d) points.

    Returns
    -------
    (n,) and (n,), both in units of length squared per time squared.
    """
    first, curvature = network.potential.with_hessian_diagonal(time, x)
    return of_potential(first, (network.sigma(time, x).square() * curvature).sum(-1) / 2)


def of_potential(first: Derivatives, diffusion: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """The same two of Phi's derivatives at n points, given what noise adds: nothing, if particles have none."""
    action = first.space.square().sum(-1) / 2
    return action, (first.time - action + diffusion).abs()
