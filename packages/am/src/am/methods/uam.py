"""Unbalanced Action Matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from am.dynamics.settings import OdeSettings
from am.methods.contract import ActionMethod, ActionSettings, Loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from am.dynamics.dynamics import Dynamics
    from am.marginals.marginals import Marginals
    from am.potentials.potential import Potential
    from am.training.stream import Stream


class Settings(ActionSettings):
    """Settings of unbalanced Action Matching."""

    growth: PositiveFloat = Field(default=1.0, description="lambda: how cheap growth is beside motion")
    sampling: OdeSettings = OdeSettings()


class UnbalancedActionMatching(ActionMethod):
    """Particles that move and change their weight (Neklyudov et al., ICML 2023).

    Where the path tells how much there is at each time, growth is absolute and weights add up to the mass; of
    probabilities, growth has mean zero.
    """

    settings_type = Settings
    settings: Settings
    title = "uAM"
    weighs = True
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"growth": (-2, 0)}

    def build(self, path: Marginals, generator: torch.Generator) -> Potential:
        """A fresh action; errors as of all actions.

        Raises
        ------
        ValueError
            Velocities are asked for where mass changes, which they do not tell.
        """
        import torch

        from am.marginals.marginals import GrowingMarginals

        grows = isinstance(path, GrowingMarginals) and bool(path.log_mass(torch.linspace(0, 1, 101)).any())
        if grows and self.settings.estimator == "conditional":
            raise ValueError("'estimator: conditional' knows no masses; use 'marginal', or equal masses")
        return super().build(path, generator)

    def loss(self, network: Potential, path: Marginals, stream: Stream) -> Loss:
        """The unbalanced objective on fresh points."""
        from am.marginals.marginals import GrowingMarginals
        from am.objectives.path import WEIGHTS
        from am.objectives.unbalanced import unbalanced_action_matching

        weight = WEIGHTS[self.settings.weight]
        if isinstance(path, GrowingMarginals):
            weight = weight.of_mass(path.log_mass)
        return unbalanced_action_matching(network, self.draw(network, path, stream), self.settings.growth, weight)

    def dynamics(self, network: Potential) -> Dynamics:
        """Follow dx = grad s dt, d log w = lambda s dt."""
        from am.dynamics.weighted import WeightedOde

        rate = self.settings.growth

        def both(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            derivatives = network.derivatives(time, x)
            return derivatives.space, rate * derivatives.value

        return WeightedOde(network.space, lambda time, x: rate * network(time, x), self.settings.sampling, both)


METHOD = UnbalancedActionMatching
