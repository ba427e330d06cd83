"""Score and flow matching of the Schroedinger bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from am.dynamics.settings import SdeSettings
from am.methods import sbcfm
from am.methods.contract import Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from am.marginals.marginals import Marginals
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

    def build(self, marginals: Marginals, generator: torch.Generator) -> nn.Module:
        """Two fresh networks of the same size."""
        from am.potentials.scale import fit_scale
        from am.potentials.velocity import BridgeNetwork

        network = BridgeNetwork(marginals.dimension, self.settings.network)
        fit_scale(network, marginals, generator)
        return network

    def loss(self, network: Any, marginals: Any, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """Flow and score matching on fresh minibatches of each interval."""
        from am.objectives.flow_matching import ConditionalPaths, score_and_flow_matching

        paths = ConditionalPaths(marginals, self.matcher)
        sample = stream.draw(paths, boundary=False)
        return score_and_flow_matching(network, sample, paths.score_weight(sample.time))

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Simulate the diffusion, or the flow without noise."""
        from am.dynamics.sde import simulate

        solver = self.settings.sampling
        sigma = self.settings.sigma if solver.noise else 0.0
        path = simulate(self._drift(network), sigma, start, times, solver, generator)
        return Prediction(path.x, None, path.nfe)

    def velocity(self, network: Any, time: Tensor, x: Tensor) -> Tensor:
        """The drift that particles have."""
        return self._drift(network)(time, x).detach()

    def _drift(self, network: Any) -> Any:
        return network if self.settings.sampling.noise else network.velocity


METHOD = ScoreAndFlowMatching
