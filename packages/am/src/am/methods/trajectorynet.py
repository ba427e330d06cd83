"""A continuous normalising flow through all snapshots."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field, NonNegativeFloat

from am.dynamics.settings import OdeSettings
from am.methods.contract import Loss, TrainedMethod, TrainedSettings, check_per_interval
from am.potentials.settings import ConcatSquashSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.dynamics.ode import Ode
    from am.potentials.concat_squash import ConcatSquashNetwork
    from am.potentials.ot_flow_potential import OTFlowPotential
    from am.training.stream import Stream

Flow = TypeVar("Flow", bound="ConcatSquashNetwork | OTFlowPotential")


class FlowSettings(TrainedSettings):
    """What flows trained by likelihood share."""

    solver: OdeSettings = Field(
        default=OdeSettings(rtol=1e-5, atol=1e-5),
        description="from each snapshot to the one before in training; its time is counted in mean intervals",
    )
    alpha_energy: tuple[NonNegativeFloat, ...] = Field(
        default=(0.01,), min_length=1, description="weight of kinetic energy: one for all intervals, or one for each"
    )
    blur: NonNegativeFloat = Field(
        default=0.0,
        description="standard deviation, in spreads of the data, of noise on the cells as training begins; it shrinks "
        "evenly and is gone after three fifths of all steps",
    )
    sampling: OdeSettings = OdeSettings()


class LikelihoodFlow(TrainedMethod[Flow]):
    r"""A flow that starts as a Gaussian and under which the cells of all snapshots must be likely.

    It minimises the negative log-likelihood of cells, and weighs costs of motion between snapshots:

    .. math:: -\frac1K \sum_k E \log p_{t_k}(x) + \frac1{K-1} \sum_k \alpha_k E \int c_t(x_t)\, dt

    The Gaussian lies one mean interval before the first snapshot. The gradient comes back through the solver's own
    steps, without an adjoint equation. Time is counted in mean intervals and length in spreads of the data.

    Where snapshots do not overlap it stays long at one still mixture of all of them, where hardly a gradient leads a
    cell across a gap. ``blur``, which is no part of the papers, closes the gaps while training begins.
    """

    settings: FlowSettings
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"
    simulates: ClassVar[bool] = True
    costs: ClassVar[tuple[str, ...]]
    """What is weighed beside likelihood; ``alpha_<name>`` of the settings is its weight."""

    @abstractmethod
    def network(self, dimension: int, rate: float) -> Flow:
        """A network for points of so many coordinates, where [0, 1] counts for ``rate`` units of time."""

    @abstractmethod
    def rates(self, network: Flow, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Velocity (n, d), its divergence (n,), and costs (n, k) in squared length per squared time."""

    def build(self, path: Any, generator: torch.Generator) -> Flow:
        """A fresh network; time is counted in mean intervals."""
        from am.potentials.scale import fit_scale

        intervals = len(path.points) - 1
        check_per_interval(self.title, self.settings, [f"alpha_{name}" for name in self.costs], intervals)
        network = self.network(path.dimension, float(intervals))
        fit_scale(network, path, generator)
        return network

    def loss(self, network: Flow, path: Any, stream: Stream) -> Loss:
        """Negative log-likelihood of cells, in nats of their coordinates in spreads, and weighed costs.

        All processes that train one network draw the same cells and none has a share of them.
        """
        import torch

        from am.dynamics.ode import solve
        from am.objectives.legs import some
        from am.objectives.likelihood_chain import likelihood_chain

        rate, centre, spread = network.rate, network.centre, network.spread
        share = max(2, len(stream.times()) // len(path.points))
        cells = [self._blurred(network.scaled(some(x, share, stream.generator)), stream) for x in path.points]

        def slope(clock: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            z = state[0]
            velocity, divergence, costs = self.rates(network, (clock / rate).expand(len(z)), centre + spread * z)
            unit = spread * rate
            return velocity / unit, torch.cat([divergence[:, None] / rate, costs / unit**2], -1)

        def carry(z: Tensor, end: float, begin: float) -> tuple[Tensor, Tensor]:
            state = (z, z.new_zeros(len(z), 1 + len(self.costs)))
            z, integrals = (part[-1] for part in solve(slope, state, z.new_tensor([end, begin]), self.settings.solver))
            return z, -integrals

        chained = likelihood_chain(cells, (rate * path.times).tolist(), -1.0, carry)
        weights = [chained.costs.new_tensor(getattr(self.settings, f"alpha_{name}")) for name in self.costs]
        weighed = [(alpha * cost).mean() for alpha, cost in zip(weights, chained.costs.T, strict=True)]
        nll = -chained.log_likelihood.mean()
        parts = {"nll": nll, **dict(zip(self.costs, chained.costs.mean(0), strict=True))}
        return nll + torch.stack(weighed).sum(), {name: part.detach() for name, part in parts.items()}

    def _blurred(self, z: Tensor, stream: Stream) -> Tensor:
        import torch

        passed = stream.step / (0.6 * self.settings.training.iterations)
        size = self.settings.blur * max(0.0, 1 - passed)
        if not size:
            return z
        return z + size * torch.randn(z.shape, generator=stream.generator, dtype=z.dtype, device=z.device)


class Settings(FlowSettings):
    """Settings of TrajectoryNet."""

    network: ConcatSquashSettings = ConcatSquashSettings()


class TrajectoryNet(LikelihoodFlow["ConcatSquashNetwork"]):
    """The most likely flow through all snapshots, at little kinetic energy |v|^2 / 2: Tong et al., ICML 2020.

    With the energy, its regularisation by optimal transport. Left out are the terms for density, velocity and growth
    that the paper offers, and that the comparison of Koshizuka and Sato, ICLR 2023, does without too.
    """

    settings_type = Settings
    settings: Settings
    title = "TrajectoryNet"
    costs = ("energy",)

    def network(self, dimension: int, rate: float) -> ConcatSquashNetwork:
        """Layers that time opens and shifts."""
        from am.potentials.concat_squash import ConcatSquashNetwork

        return ConcatSquashNetwork(dimension, self.settings.network, rate)

    def rates(self, network: ConcatSquashNetwork, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Velocity, its exact divergence, and energy."""
        velocity, divergence = network.with_divergence(time, x)
        return velocity, divergence, velocity.square().sum(-1, keepdim=True) / 2

    def dynamics(self, network: ConcatSquashNetwork) -> Ode:
        """Follow the velocity; nothing is random."""
        from am.dynamics.ode import Ode

        return Ode(network, self.settings.sampling)


METHOD = TrajectoryNet
