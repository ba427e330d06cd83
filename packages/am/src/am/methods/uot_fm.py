"""Conditional flow matching between points that unbalanced optimal transport joins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat

from am.methods import icfm
from am.methods.contract import Loss

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from am.objectives.unbalanced_flow_matching import RelaxedLines
    from am.training.loop import Trained
    from am.training.stream import Stream


class Settings(icfm.Settings):
    """Settings of flow matching along lines of an unbalanced coupling."""

    relaxation: PositiveFloat = Field(
        default=1.0, description="what leaving a point out costs, as the square of a distance"
    )


class UnbalancedFlowMatching(icfm.IndependentFlowMatching):
    """The mean velocity of lines between pairs that are drawn from an unbalanced plan.

    UOT-FM: Eyring et al., ICLR 2024. So a population is not moved to fill the share of another one. Particles keep
    their weight. The plan is of whole snapshots; theirs is of minibatches, with more entropy.
    """

    settings_type = Settings
    settings: Settings
    title = "UOT-FM"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (1, 0), "relaxation": (2, 0)}
    needs: ClassVar[tuple[str, ...]] = ()

    def lines(self, path: Any) -> RelaxedLines:
        """Those between the snapshots of a path."""
        from am.objectives.unbalanced_flow_matching import RelaxedLines

        if isinstance(path, RelaxedLines):
            return path
        return RelaxedLines(path, self.settings.relaxation, self.settings.sigma)

    def train(self, network: nn.Module, path: Any, *, key: str, state: Path, **options: Any) -> Trained:
        """The weights that ``network`` should have; each two snapshots are coupled once."""
        return super().train(network, self.lines(path), key=key, state=state, **options)

    def loss(self, network: nn.Module, path: Any, stream: Stream) -> Loss:
        """Conditional flow matching on fresh points of the lines."""
        from am.objectives.flow_matching import flow_matching

        return flow_matching(network, stream.draw(self.lines(path), boundary=False))


METHOD = UnbalancedFlowMatching
