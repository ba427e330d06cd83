"""A continuous normalising flow along the gradient of a potential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat

from am.dynamics.settings import OdeSettings
from am.methods import trajectorynet
from am.potentials.settings import OTFlowSettings

if TYPE_CHECKING:
    from torch import Tensor

    from am.dynamics.ode import Ode
    from am.potentials.ot_flow_potential import OTFlowPotential


class Settings(trajectorynet.FlowSettings):
    """Settings of OT-Flow."""

    potential: OTFlowSettings = OTFlowSettings()
    solver: OdeSettings = Field(
        default=OdeSettings(method="rk4", steps=8),
        description="from each snapshot to the one before in training; its time is counted in mean intervals",
    )
    alpha_residual: tuple[NonNegativeFloat, ...] = Field(
        default=(0.001,), min_length=1, description="weight of the residual of Hamilton and Jacobi: likewise"
    )


class OTFlow(trajectorynet.LikelihoodFlow["OTFlowPotential"]):
    r"""The most likely flow dx = -grad Phi dt through all snapshots, regularised by optimal transport.

    The divergence is the trace of a Hessian that is written out. Beside kinetic energy, |grad Phi|^2 / 2, it weighs the
    residual of the Hamilton-Jacobi equation, which optimal transport solves:

    .. math:: |\partial_t \Phi - |\nabla \Phi|^2 / 2|

    Source: Onken et al., AAAI 2021; Koshizuka and Sato, ICLR 2023, for the way through all snapshots.
    """

    settings_type = Settings
    settings: Settings
    title = "OT-Flow"
    costs = ("energy", "residual")

    def network(self, dimension: int, rate: float) -> OTFlowPotential:
        """The potential Phi."""
        from am.potentials.ot_flow_potential import OTFlowPotential

        return OTFlowPotential(dimension, self.settings.potential, rate)

    def rates(self, network: OTFlowPotential, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Velocity, its exact divergence, and energy and residual."""
        import torch

        from am.objectives.least_action import of_potential

        first, curvature = network.with_hessian_diagonal(time, x)
        return -first.space, -curvature.sum(-1), torch.stack(of_potential(first), -1)

    def dynamics(self, network: OTFlowPotential) -> Ode:
        """Follow -grad Phi; nothing is random."""
        from am.dynamics.ode import Ode

        return Ode(lambda time, x: -network.space(time, x), self.settings.sampling)


METHOD = OTFlow
