"""Annealed Langevin dynamics on scores learned by sliced score matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from am.methods.ald_sm import ScoreMatchingLangevin

if TYPE_CHECKING:
    from torch import Tensor

    from am.marginals.marginals import Marginals
    from am.training.stream import Stream


class SlicedScoreMatchingLangevin(ScoreMatchingLangevin):
    """Sliced score matching (Song et al. 2019), sampled by annealed Langevin dynamics along t."""

    title = "ALD + SSM"

    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """Score matching with one random direction per point."""
        from am.objectives.sliced_score_matching import sliced_score_matching

        sample = stream.draw(marginals, boundary=False)
        return sliced_score_matching(network, sample, stream.normal(sample.x))


METHOD = SlicedScoreMatchingLangevin
