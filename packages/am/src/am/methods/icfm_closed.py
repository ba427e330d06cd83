"""Conditional flow matching between independently drawn points, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from am.dynamics.settings import OdeSettings
from am.methods.closed_form import SolvedMethod, SolvedSettings
from am.methods.contract import Loss
from am.methods.icfm import IndependentFlowMatching

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from am.marginals.marginals import Marginals
    from am.marginals.snapshots import Coupling, SnapshotPath
    from am.potentials.linear import LinearField
    from am.training.loop import Trained
    from am.training.solve import Form
    from am.training.stream import Stream


class Settings(SolvedSettings):
    """Settings of flow matching in closed form."""

    sampling: OdeSettings = OdeSettings()


class ClosedFormFlowMatching(SolvedMethod, IndependentFlowMatching):
    """The mean velocity of lines between snapshots, by ridge regression on functions of space and time.

    Each component has coefficients of its own, so that the velocity need not be a gradient. Points are spread around
    lines as the path says, and not by a sigma of the method.
    """

    settings_type = Settings  # type: ignore[assignment]
    settings: Settings  # type: ignore[assignment]
    title = "I-CFM, closed form"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {}
    needs: ClassVar[tuple[str, ...]] = ()
    coupling: ClassVar[Coupling] = "independent"

    def lines(self, path: SnapshotPath) -> SnapshotPath:
        """The path through the same snapshots that the method's own coupling joins."""
        from am.marginals.snapshots import SnapshotPath

        if path.coupling == self.coupling:
            return path
        return SnapshotPath(path.points, path.times.tolist(), self.coupling, path.smoothing)

    def linear(self, dimension: int, knots: torch.Tensor, generator: torch.Generator) -> LinearField:
        """A velocity of free components."""
        from am.potentials.linear import LinearField, VelocityFunctions

        features = self.settings.features
        return LinearField(VelocityFunctions(dimension, features, generator), features, knots, generator)

    def form(self, marginals: Marginals) -> Form:
        """Least squares of the velocities of lines."""
        from am.objectives.path import WEIGHTS
        from am.training.solve import Form

        return Form(WEIGHTS["constant"], moving=True)

    def train(self, network: Any, path: Any, *, key: str, state: Path, **options: Any) -> Trained:
        """The coefficients of least loss on lines of the method's own coupling; no step is taken."""
        return super().train(network, self.lines(path), key=key, state=state, **options)

    def loss(self, network: Any, path: Any, stream: Stream) -> Loss:
        """Half of the mean squared error of the velocity, on fresh points of the path."""
        sample = stream.draw_moving(self.lines(path))
        velocity = network(sample.time, sample.x)
        square, carried = velocity.square().sum(-1) / 2, (velocity * sample.velocity).sum(-1)
        return sample.integral(square - carried), {"square_velocity": 2 * sample.mean(square.detach())}


METHOD = ClosedFormFlowMatching
