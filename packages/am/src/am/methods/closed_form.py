"""What methods without training steps share: features, and the solve in place of a loop."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from am import config
from am.methods.contract import ActionMethod, TrainedMethod
from am.potentials.features import FeatureSettings, SolvingSettings

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from am.dynamics.dynamics import Dynamics
    from am.marginals.marginals import Marginals
    from am.objectives.path import PathSample, TimeWeight
    from am.potentials.linear import LinearNetwork
    from am.training.loop import Trained
    from am.training.solve import Form
    from am.training.stream import Stream


class SolvedSettings(config.Settings):
    """Settings that all methods of one solve share."""

    features: FeatureSettings = FeatureSettings()
    solving: SolvingSettings = SolvingSettings()


class SolvedMethod(TrainedMethod[Any]):
    """A form of a method whose field is linear in features, to be placed before that form.

    The field has coefficients of its own on each interval between snapshots. At an inner snapshot, it is that of the
    interval that begins there; particles that arrive follow the one that ends.
    """

    settings: SolvedSettings  # type: ignore[assignment]  # there is no network to set, and there are no steps

    @abstractmethod
    def form(self, marginals: Marginals) -> Form:
        """Which quadratic form the loss is."""

    @abstractmethod
    def linear(self, dimension: int, knots: torch.Tensor, generator: torch.Generator) -> LinearNetwork:
        """A small random field of points of so many coordinates, with (K,) ``knots`` of time."""

    def build(self, path: Marginals, generator: torch.Generator) -> LinearNetwork:
        """A small random field of the features that a solve gives coefficients to.

        Raises
        ------
        ValueError
            Points are on a torus or hold what never moves.
        """
        import torch

        from am.marginals.images import ImagePath, Torus
        from am.marginals.snapshots import SnapshotPath
        from am.potentials.scale import fit_scale

        if isinstance(path, Torus) or (isinstance(path, ImagePath) and path.size < path.dimension):
            raise ValueError("closed forms have no features for a torus, or for images with a condition; use 'am'")
        knots = path.times if isinstance(path, SnapshotPath) else torch.tensor([0.0, 1.0])
        network = self.linear(path.dimension, knots, generator)
        fit_scale(network, path, generator)
        return network

    def train(self, network: Any, path: Marginals, *, key: str, state: Path, **options: Any) -> Trained:
        """The coefficients of least loss; no step is taken."""
        from am.training.solve import solve

        return solve(network, path, self.form(path), self.settings.solving, key=key, state=state, **options)

    def dynamics(self, network: Any) -> Dynamics:
        """The dynamics of each interval, with its own field to its very end."""
        from am.dynamics.dynamics import Piecewise

        of = super().dynamics  # type: ignore[safe-super]  # it stands before a form that states some
        return Piecewise(of(network), network.knots, lambda k: of(network.interval(k)))


class ClosedFormSettings(SolvedSettings):
    """Settings that all closed forms of Action Matching share."""

    weight: Literal["constant", "decreasing", "decreasing_squared", "parabolic"] = Field(
        default="constant", description="w(t) of the objective: 1, 1 - t, (1 - t)^2 or 6 t (1 - t)"
    )
    estimator: Literal["best", "marginal", "conditional"] = Field(
        default="best",
        description="marginal: of points of q_t alone; conditional: of the curves that they lie on; best: conditional "
        "where the path tells them",
    )


class ClosedForm(SolvedMethod, ActionMethod):
    """A form of Action Matching whose action is linear in features, to be placed before that form.

    At an inner snapshot, growth rates are the mean of those of both intervals.
    """

    settings: ClosedFormSettings  # type: ignore[assignment]  # there is no network to set, and there are no steps
    constant: ClassVar[bool] = False
    """Whether the loss sees a function of time alone."""

    def linear(self, dimension: int, knots: torch.Tensor, generator: torch.Generator) -> LinearNetwork:
        """An action."""
        from am.potentials.linear import LinearAction

        return LinearAction(dimension, self.settings.features, knots, generator)

    def build(self, path: Marginals, generator: torch.Generator) -> Any:
        """A small random action of the features that a solve gives coefficients to.

        Raises
        ------
        ValueError
            Velocities are asked for where ``path`` has none, or points are on a torus or hold what never moves.
        """
        network = super().build(path, generator)
        if self.settings.estimator == "conditional" and not self.moving(path):
            raise ValueError(
                "'estimator: conditional' needs velocities and a mass that does not change, which this path does not "
                "have; use 'best'"
            )
        return network

    def moving(self, marginals: Marginals) -> bool:
        """Whether b comes from the curves that points lie on."""
        return self._draws_moving(marginals) or (self.settings.estimator != "marginal" and _joined(marginals))

    def draw(self, network: Any, marginals: Any, stream: Stream) -> PathSample:
        """What the loss of a step would be estimated from."""
        return stream.draw_moving(marginals) if self._draws_moving(marginals) else stream.draw(marginals)

    def _draws_moving(self, marginals: Marginals) -> bool:
        """Whether single points can be drawn with the velocities of their curves."""
        from am.marginals.marginals import MovingMarginals

        if self.settings.estimator == "marginal" or not isinstance(marginals, MovingMarginals):
            return False
        return _couples(marginals) and not self._grows(marginals)

    def _grows(self, marginals: Marginals) -> bool:
        """Whether the loss is of a mass that changes."""
        import torch

        from am.marginals.marginals import GrowingMarginals

        if not self.constant or not isinstance(marginals, GrowingMarginals):
            return False
        return bool(marginals.log_mass(torch.linspace(0, 1, 101)).any())

    def form(self, marginals: Marginals) -> Form:
        """Which quadratic form the loss is."""
        from am.training.solve import Form

        own = {name: getattr(self.settings, name) for name in ("sigma", "growth") if hasattr(self.settings, name)}
        log_mass = marginals.log_mass if self._grows(marginals) else None  # type: ignore[attr-defined]
        return Form(self._weight(marginals), moving=self.moving(marginals), log_mass=log_mass, **own)

    def _weight(self, marginals: Marginals) -> TimeWeight:
        from am.objectives.path import WEIGHTS

        weight = WEIGHTS[self.settings.weight]
        return weight.of_mass(marginals.log_mass) if self._grows(marginals) else weight  # type: ignore[attr-defined]


def _joined(marginals: Any) -> bool:
    """Whether all pairs of all couplings are known."""
    from am.marginals.snapshots import SnapshotPath

    if not isinstance(marginals, SnapshotPath):
        return False
    return all(marginals.joined(k) is not None for k in range(len(marginals.points) - 1))


def _couples(marginals: Any) -> bool:
    """Whether particles of the path move along curves, instead of coming and going."""
    return getattr(marginals, "coupling", None) != "unbalanced"
