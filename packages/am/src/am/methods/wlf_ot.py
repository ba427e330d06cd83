"""Wasserstein Lagrangian Flows: what they share, and the one of optimal transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from am.config import ConfigError
from am.methods import am
from am.methods.contract import ActionMethod, ActionSettings
from am.potentials.settings import InterpolantSettings
from am.training.settings import SaddleSettings

if TYPE_CHECKING:
    import torch

    from am.objectives.path import PathSample
    from am.potentials.interpolant import LagrangianFlow
    from am.potentials.potential import Potential
    from am.training.stream import Stream


class PathSettings(ActionSettings):
    """Settings of an action that is learned with its path."""

    interpolant: InterpolantSettings = InterpolantSettings()
    training: SaddleSettings = SaddleSettings()


class WassersteinLagrangianFlow(ActionMethod):
    r"""The path of least action among those that meet the snapshots, and its action s.

    .. math:: \inf_q \sup_s\; E_{q_1}[s_1] - E_{q_0}[s_0] - \int_0^1 E_{q_t}[ \partial_t s_t + H(s_t) ] dt

    For a given path, the inner problem is Action Matching with H as its running cost. The path is made of curves that
    join any cells of neighbouring snapshots (:class:`am.potentials.interpolant.Interpolant`); a network bends them.
    Both take a step at once, on the same points, and only training cells of times that are not held out are drawn.
    Neklyudov et al., "A Computational Framework for Solving Wasserstein Lagrangian Flows", ICML 2024, arXiv 2310.10649;
    its abstract was at hand: problem and curves are written from what is known of them, not equation by equation.
    """

    settings_type = PathSettings
    settings: PathSettings
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"

    @property
    def noise(self) -> float:
        """Of the curves, in units of length per square root of time."""
        return 0.0

    @property
    def mass_growth(self) -> float:
        """Lambda of the masses of curves; 0 where they have none."""
        return 0.0

    def build(self, path: Any, generator: torch.Generator) -> LagrangianFlow:
        """A fresh action, and an interpolant that does not bend its curves yet.

        Raises
        ------
        ConfigError
            The conditional estimate is asked for.
        """
        from am.potentials.build import build_potential
        from am.potentials.interpolant import Interpolant, LagrangianFlow
        from am.potentials.scale import fit_scale

        if self.settings.estimator == "conditional":
            raise ConfigError("Lagrangian flows have no 'estimator: conditional'; use 'marginal'")
        action = build_potential(self.settings.potential, path, generator)
        intervals = len(path.points) - 1
        interpolant = Interpolant(path.dimension, intervals, self.settings.interpolant, self.noise, self.mass_growth)
        fit_scale(interpolant, path, generator)
        return LagrangianFlow(action, interpolant)

    def draw(self, network: Potential, path: Any, stream: Stream) -> PathSample:
        """Points of the path as it is now, through which gradients come back to it with their sign turned."""
        from dataclasses import replace

        from am.potentials.interpolant import LagrangianFlow, OpposedPath

        assert isinstance(network, LagrangianFlow)  # noqa: S101  (for type checkers)
        drawn = stream.draw(OpposedPath(network.interpolant, path))
        x, start, end = (rows[:, :-1] for rows in (drawn.x, drawn.start, drawn.end))
        return replace(drawn, x=x, start=start, end=end, mass=drawn.x[:, -1] if self.mass_growth else None)


class Settings(PathSettings, am.Settings):
    """Settings of the flow of optimal transport."""


class OptimalTransportFlow(WassersteinLagrangianFlow, am.ActionMatching):
    """The path of least kinetic energy, H = |grad s|^2 / 2, followed by dx = grad s dt: Neklyudov et al., ICML 2024."""

    settings_type = Settings
    settings: Settings
    title = "WLF-OT"


METHOD = OptimalTransportFlow
