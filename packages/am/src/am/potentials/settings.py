"""Settings of networks; nothing here imports torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from am.config import Settings


class UNetSettings(Settings):
    """The network of image models: residual blocks at halved resolutions, joined across (Ho et al. 2020)."""

    channels: PositiveInt = Field(default=64, description="channels at full resolution: 64, 96, 128 or so on")
    multipliers: tuple[PositiveInt, ...] = Field(default=(1, 2), description="of channels, one for each resolution")
    blocks: PositiveInt = Field(default=2, description="residual blocks at each resolution")
    attention: tuple[PositiveInt, ...] = Field(default=(), description="widths, in pixels, at which there is attention")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of features dropped while training")

    @field_validator("channels")
    @classmethod
    def _in_groups(cls, channels: int) -> int:
        # Time is added to whole channels: a group of one channel would lose it when it is normalised.
        if channels % 32 or channels < 64:
            raise ValueError(f"features are normalised in 32 groups of two channels or more, got {channels} channels")
        return channels


class ConvolutionSettings(Settings):
    """A small network for images that a processor can afford."""

    channels: PositiveInt = Field(default=64, description="channels of a hidden layer")
    depth: PositiveInt = Field(default=4, description="number of hidden layers")
    fold: PositiveInt = Field(default=2, description="pixels on a side that are folded into channels of one")
    quadratic: bool = Field(
        default=False,
        description="the network sees the condition alone: an action that is quadratic in x, whose particles end at "
        "one estimate instead of many samples, and which has no second derivatives to be taken",
    )


class PotentialSettings(Settings):
    """The network behind an action s_t(x)."""

    kind: Literal["scaled", "residual", "patches", "unet", "guided"] = Field(
        default="scaled",
        description="scaled: inputs divided by their spread, cosine features of time; "
        "residual: the published s = |x - h(t, x)|^2 / 2 on raw inputs; "
        "patches: of images, one scaled potential for all of their patches, summed; "
        "unet: the published s = x . h(t, x) for images, h a U-Net; "
        "guided: of images that are conditioned on something, centred on what that suggests, with convolutions",
    )
    width: PositiveInt = Field(default=256, description="units of a hidden layer")
    depth: PositiveInt = Field(default=4, description="number of hidden layers")
    time_features: PositiveInt = Field(default=4, description="cosines of time that a scaled or guided potential sees")
    patch: PositiveInt = Field(default=4, description="pixels on a side of a patch")
    unet: UNetSettings = Field(default=UNetSettings(), description="of the kind unet, which takes nothing else")
    convolution: ConvolutionSettings = Field(default=ConvolutionSettings(), description="of the kind guided")


class ScoreSettings(Settings):
    """The network behind a score: output_scale * h(t, x)."""

    width: PositiveInt = Field(default=256, description="units of a hidden layer")
    depth: PositiveInt = Field(default=4, description="number of hidden layers")
    output_scale: float = Field(default=1e-2, description="factor on the network's output (published: 1e-2)")


class ImageScoreSettings(ScoreSettings):
    """The same, or a U-Net as it is, whose exact divergence nobody can afford."""

    kind: Literal["mlp", "unet"] = Field(default="mlp", description="mlp: of any points; unet: of images")
    unet: UNetSettings = Field(default=UNetSettings(), description="of the kind unet, which takes nothing else")


class VelocitySettings(Settings):
    """The network behind a velocity, which sees what a scaled potential sees."""

    kind: Literal["mlp", "unet"] = Field(default="mlp", description="mlp: of any points; unet: of images")
    width: PositiveInt = Field(default=256, description="units of a hidden layer")
    depth: PositiveInt = Field(default=4, description="number of hidden layers")
    time_features: PositiveInt = Field(default=4, description="cosines of time that it sees")
    unet: UNetSettings = Field(default=UNetSettings(), description="of the kind unet, which takes nothing else")


class InterpolantSettings(Settings):
    """The network that bends curves between snapshots: a small one, as it must not outwit the action."""

    width: PositiveInt = Field(default=16, description="units of a hidden layer")
    depth: PositiveInt = Field(default=1, description="number of hidden layers")
    time_features: PositiveInt = Field(default=1, description="cosines of the share of an interval that has passed")


class OTFlowSettings(Settings):
    """The potential of OT-Flow: a residual network, a quadratic and a linear term of place and time."""

    width: PositiveInt = Field(default=32, description="units of a layer")
    depth: int = Field(default=2, ge=2, description="number of layers, of which all but the first are residual")
    rank: PositiveInt = Field(
        default=10, description="largest rank of the quadratic, which has that of the data at most"
    )


class ConcatSquashSettings(Settings):
    """The velocity of a continuous normalising flow: layers that time opens and shifts."""

    width: PositiveInt = Field(default=64, description="units of a hidden layer")
    depth: PositiveInt = Field(default=3, description="number of hidden layers")


class DiffusionSettings(Settings):
    """The network behind the noise of a stochastic differential equation."""

    width: PositiveInt = Field(default=16, description="units of a hidden layer")
    depth: PositiveInt = Field(default=2, description="number of hidden layers")
