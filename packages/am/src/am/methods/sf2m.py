"""Score and flow matching of the Schroedinger bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from am.dynamics.settings import SdeSettings
from am.methods import sbcfm
from am.methods.contract import Loss

if TYPE_CHECKING:
    import torch

    from am.dynamics.sde import Diffusion
    from am.marginals.marginals import Marginals
    from am.potentials.velocity import BridgeNetwork
    from am.training.stream import Stream


class Sampling(SdeSettings):
    """How particles move."""

    noise: bool = Field(
        default=True, description="false: no noise and no score, dx = v dt, which has the same marginals"
    )


class Settings(sbcfm.Settings):
    """Settings of score and flow matching."""

    sampling: Sampling = Sampling()  # type: ignore[assignment]


class ScoreAndFlowMatching(sbcfm.SchroedingerBridgeFlowMatching):
    """Brownian bridges between snapshots, followed as dx = (v_t + sigma^2 / 2 grad log q_t) dt + sigma dW.

    [SF]2M: Tong et al., AISTATS 2024; one network learns v, another sigma^2 / 2 grad log q.
    """

    settings_type = Settings
    settings: Settings
    title = "[SF]2M"

    def build(self, path: Marginals, generator: torch.Generator) -> BridgeNetwork:
        """Two fresh networks of the same size."""
        from am.potentials.scale import fit_scale
        from am.potentials.velocity import BridgeNetwork

        network = BridgeNetwork(path.dimension, self.settings.network)
        fit_scale(network, path, generator)
        return network

    def loss(self, network: Any, path: Any, stream: Stream) -> Loss:
        """Flow and score matching on fresh minibatches of each interval."""
        from am.objectives.flow_matching import ConditionalPaths, score_and_flow_matching

        paths = ConditionalPaths(path, self.matcher)
        sample = stream.draw(paths, boundary=False)
        return score_and_flow_matching(network, sample, paths.score_weight(sample.time))

    def dynamics(self, network: Any) -> Diffusion:
        """Follow the drift with noise, or the velocity without."""
        from am.dynamics.sde import Diffusion

        solver = self.settings.sampling
        if not solver.noise:
            return Diffusion(network.velocity, 0.0, solver, network.velocity)
        return Diffusion(network, self.settings.sigma, solver)


METHOD = ScoreAndFlowMatching
