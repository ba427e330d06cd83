"""Settings of networks; nothing here imports torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from am.config import Settings


class PotentialSettings(Settings):
    """The network behind an action s_t(x)."""

    kind: Literal["scaled", "residual"] = Field(
        default="scaled",
        description="scaled: inputs divided by their spread, cosine features of time; "
        "residual: the published s = |x - h(t, x)|^2 / 2 on raw inputs",
    )
    width: PositiveInt = Field(default=256, description="units of a hidden layer")
    depth: PositiveInt = Field(default=4, description="number of hidden layers")
    time_features: PositiveInt = Field(default=4, description="cosines of time that a scaled potential sees")


class ScoreSettings(Settings):
    """The network behind a score: output_scale * h(t, x)."""

    width: PositiveInt = Field(default=256, description="units of a hidden layer")
    depth: PositiveInt = Field(default=4, description="number of hidden layers")
    output_scale: float = Field(default=1e-2, description="factor on the network's output (published: 1e-2)")


class VelocitySettings(Settings):
    """The network behind a velocity, which sees what a scaled potential sees."""

    width: PositiveInt = Field(default=256, description="units of a hidden layer")
    depth: PositiveInt = Field(default=4, description="number of hidden layers")
    time_features: PositiveInt = Field(default=4, description="cosines of time that it sees")


class OTFlowSettings(Settings):
    """The potential of OT-Flow: a residual network, a quadratic and a linear term of place and time."""

    width: PositiveInt = Field(default=32, description="units of a layer")
    depth: int = Field(default=2, ge=2, description="number of layers, of which all but the first are residual")
    rank: PositiveInt = Field(
        default=10, description="largest rank of the quadratic, which has that of the data at most"
    )


class DiffusionSettings(Settings):
    """The network behind the noise of a stochastic differential equation."""

    width: PositiveInt = Field(default=16, description="units of a hidden layer")
    depth: PositiveInt = Field(default=2, description="number of hidden layers")
