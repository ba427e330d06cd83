"""Conditional flow matching of the Schroedinger bridge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, PositiveFloat

from am.methods import icfm


class Settings(icfm.Settings):
    """Settings of flow matching along Brownian bridges."""

    sigma: PositiveFloat = Field(default=1.0, description="noise, in units of length per square root of time")


class SchroedingerBridgeFlowMatching(icfm.IndependentFlowMatching):
    """The mean velocity of Brownian bridges between snapshots (SB-CFM: Tong et al., TMLR 2024, equations 20 and 21).

    Minibatches are coupled by exact optimal transport, the default of :mod:`torchcfm`, not by the entropic plan that
    the bridge is defined by: for cells far apart in units of sigma, that one underflows.
    """

    settings_type = Settings
    settings: Settings
    title = "SB-CFM"
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {"sigma": (1, -0.5)}

    def matcher(self, duration: float) -> Any:
        """What couples two minibatches and draws bridges between them, of variance ``sigma^2 duration u (1 - u)``."""
        from torchcfm import SchrodingerBridgeConditionalFlowMatcher

        return SchrodingerBridgeConditionalFlowMatcher(self.settings.sigma * math.sqrt(duration))


METHOD = SchroedingerBridgeFlowMatching
