"""Control: nothing moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from am.methods.contract import Method, Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.marginals.marginals import Marginals


class NoDynamics(Method):
    """The starting particles, unchanged at all times: any method should do better."""

    title = "no dynamics"
    control = True

    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """The start, repeated."""
        return Prediction(start.expand(len(times), *start.shape), None, 0)


METHOD = NoDynamics
