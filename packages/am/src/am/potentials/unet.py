"""The U-Net of image models, as torchcfm ships it, on images that are flat vectors, and the action that it makes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from am.extras import brought_by
from am.marginals.marginals import Marginals
from am.potentials.potential import Potential
from am.potentials.settings import UNetSettings


class UNet(nn.Module):
    """h(t, x): times and flat points to flat images; conditions behind the image are further channels of the input.

    Its output starts at zero. Dropout, where there is some, is at work in training mode alone.

    Parameters
    ----------
    shape
        (c, h, w) of the image.
    dimension
        Coordinates of a point, a multiple of h w.
    """

    def __init__(self, shape: tuple[int, int, int], dimension: int, settings: UNetSettings) -> None:
        super().__init__()
        with brought_by("images", "a U-Net"):
            from torchcfm.models.unet.unet import UNetModel

        channels, height, width = shape
        self.shape = shape
        self.size = channels * height * width
        self.network: Any = UNetModel(
            image_size=width,
            in_channels=dimension // (height * width),
            model_channels=settings.channels,
            out_channels=channels,
            num_res_blocks=settings.blocks,
            attention_resolutions=tuple(width // resolution for resolution in settings.attention),
            dropout=settings.dropout,
            channel_mult=settings.multipliers,
        )

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """(n,), (n, d) -> (n, c h w)."""
        _, height, width = self.shape
        # Time as it is, not in thousandths: the derivative of an action in time must stay of order one.
        return self.network(time, x.view(len(x), -1, height, width)).flatten(1)


class ImagePotential(Potential):
    """The published action for images, s_t(x) = x . U(t, x), U a :class:`UNet`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        image = self.network(time, x)
        return (x[:, : image.shape[1]] * image).sum(-1)


def build_unet(settings: UNetSettings, marginals: Marginals) -> UNet:
    """A fresh U-Net for the images of ``marginals``.

    Raises
    ------
    ValueError
        They are no images, or of a size that cannot be halved so often.
    """
    shape = getattr(marginals, "image_shape", None)
    if shape is None:
        raise ValueError("a U-Net works on images, and these points are none; choose another kind of network")
    halvings = len(settings.multipliers) - 1
    if any(side % 2**halvings for side in shape[1:]):
        raise ValueError(
            f"images of {shape[1]} x {shape[2]} pixels cannot be halved {halvings} times; give fewer multipliers"
        )
    return UNet(shape, marginals.dimension, settings)
