"""Conditional flow matching between optimally transported points."""

from __future__ import annotations

from typing import Any

from am.methods.icfm import IndependentFlowMatching


class OptimalTransportFlowMatching(IndependentFlowMatching):
    """The mean velocity of lines between minibatches that are coupled by optimal transport.

    OT-CFM: Tong et al., TMLR 2024, equations 14, 15 and 17.
    """

    title = "OT-CFM"

    def matcher(self, duration: float) -> Any:
        """What couples two minibatches and draws points between them."""
        from torchcfm import ExactOptimalTransportConditionalFlowMatcher

        return ExactOptimalTransportConditionalFlowMatcher(self.settings.sigma)


METHOD = OptimalTransportFlowMatching
