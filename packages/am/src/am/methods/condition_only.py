"""Control: what an image is conditioned on, made an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from am.config import Settings as Base
from am.methods.contract import TruthMethod

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.dynamics.dynamics import Explicit
    from am.marginals.marginals import Marginals


class Settings(Base):
    """How a condition is made an image."""

    guessed: bool = Field(
        default=True,
        description="known pixels where they stand and the nearest of them between; else the condition as it is given",
    )


class ConditionOnly(TruthMethod):
    """What the condition tells without anything learned: any method should do better.

    Pixels between known ones are their means, grey stays grey, the edge of half an image goes on. Where nothing is
    given, nothing moves. Of the truth it takes how points are laid out, and no image.
    """

    settings_type = Settings
    settings: Settings
    title = "condition only"
    control = True

    def dynamics(self, network: Marginals) -> Explicit:
        """The start, then the same at all times."""
        import torch

        from am.dynamics.dynamics import Explicit
        from am.marginals.marginals import ConditionedMarginals

        def positions(start: Tensor, times: Tensor, generator: torch.Generator) -> Tensor:
            x = start
            if isinstance(network, ConditionedMarginals):
                x = network.from_condition(start, self.settings.guessed)
            return torch.stack([start, *[x] * (len(times) - 1)])

        return Explicit(positions)


METHOD = ConditionOnly
