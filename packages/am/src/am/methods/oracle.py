"""Control: a fresh sample of the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.methods.contract import TruthMethod

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.dynamics.dynamics import Explicit
    from am.marginals.marginals import Marginals


class Oracle(TruthMethod):
    """Independent draws from the true marginals: no method should do better."""

    title = "oracle"
    control = True

    def dynamics(self, network: Marginals) -> Explicit:
        """Fresh points at every time after the first."""
        import torch

        from am.dynamics.dynamics import Explicit

        def positions(start: Tensor, times: Tensor, generator: torch.Generator) -> Tensor:
            fresh = [network.sample(start.new_full((len(start),), float(t)), generator) for t in times[1:]]
            return torch.stack([start, *fresh])

        return Explicit(positions)


METHOD = Oracle
