"""Control: what an image is conditioned on, made an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from am.config import Settings as Base
from am.methods.contract import Method, Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals


class Settings(Base):
    """How a condition is made an image."""

    guessed: bool = Field(
        default=True,
        description="known pixels where they stand and the nearest of them between; else the condition as it is given",
    )


class ConditionOnly(Method):
    """What the condition tells without anything learned: any method should do better.

    Pixels between known ones are their means, grey stays grey, the edge of half an image goes on. Where nothing is
    given, nothing moves.
    """

    settings_type = Settings
    settings: Settings
    title = "condition only"
    control = True
    uses_truth = True  # of the path it takes how points are laid out, and no image

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """The start, then the same at all times."""
        import torch

        from am.marginals.marginals import ConditionedMarginals

        x = start
        if isinstance(truth, ConditionedMarginals):
            x = truth.from_condition(start, self.settings.guessed)
        return Prediction(torch.stack([start, *[x] * (len(times) - 1)]), None, 0)


METHOD = ConditionOnly
