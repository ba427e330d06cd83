"""Control: a fresh sample of the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from am.methods.contract import Method, Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals


class Oracle(Method):
    """Independent draws from the true marginals: no method should do better."""

    title = "oracle"
    control = True
    uses_truth = True

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Fresh points at every time after the first."""
        import torch

        if truth is None:
            raise TypeError("the oracle samples from the truth and was given none")
        fresh = [truth.sample(start.new_full((len(start),), float(t)), generator) for t in times[1:]]
        return Prediction(torch.stack([start, *fresh]), None, 0)


METHOD = Oracle
