"""The Neural Lagrangian Schroedinger Bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, NonNegativeFloat

from am.methods import neural_sde
from am.methods.contract import Loss, check_per_interval

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.objectives.legs import Legs
    from am.potentials.neural_sde import NeuralSde


class Settings(neural_sde.Settings):
    """Settings of the bridge."""

    alpha_action: tuple[NonNegativeFloat, ...] = Field(
        default=(0.01,), min_length=1, description="weight of the Lagrangian: one for all intervals, or one for each"
    )
    alpha_residual: tuple[NonNegativeFloat, ...] = Field(
        default=(0.001,), min_length=1, description="weight of the residual of Hamilton, Jacobi and Bellman: likewise"
    )


class LagrangianSchroedingerBridge(neural_sde.NeuralSde):
    """A neural stochastic differential equation of least action: Koshizuka and Sato, ICLR 2023, without a potential.

    The form "E" of the paper: to the loss of the Neural SDE it adds alpha_L times the Lagrangian |u|^2 / 2 along
    simulated paths, and alpha_R times the absolute residual of the Hamilton-Jacobi-Bellman equation. Time is counted
    in mean intervals and length in spreads of the data, so that the published weights mean what they meant.
    """

    settings_type = Settings
    settings: Settings
    title = "NLSB"

    def build(self, path: Any, generator: torch.Generator) -> NeuralSde:
        """A fresh potential and a fresh diffusion."""
        check_per_interval("nlsb", self.settings, ("alpha_action", "alpha_residual"), len(path.points) - 1)
        return super().build(path, generator)

    def regularise(self, network: NeuralSde, legs: Legs, clock: Tensor, path: Tensor) -> Loss:
        """Time integrals of Lagrangian and residual, weighted and averaged over intervals."""
        import torch

        from am.objectives.least_action import action_and_residual

        time = torch.stack([legs.time(u) for u in clock]).flatten()
        scale, rate = network.potential.spread, network.potential.rate
        integrals = []
        for density in action_and_residual(network, time, path.flatten(0, 1)):
            of_each = density.view(len(clock), -1).mean(0) / (scale * rate) ** 2
            integrals.append(legs.mean(rate * legs.duration * of_each))
        action, residual = integrals
        weights = (path.new_tensor(alpha) for alpha in (self.settings.alpha_action, self.settings.alpha_residual))
        total = torch.stack([(alpha * part).mean() for alpha, part in zip(weights, integrals, strict=True)]).sum()
        return total, {"action": action.mean().detach(), "residual": residual.mean().detach()}


METHOD = LagrangianSchroedingerBridge
