"""Actions of images that are conditioned on something: they start from what the condition suggests."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from am.marginals.images import GuessedPath
from am.potentials.potential import Derivatives, Potential
from am.potentials.settings import ConvolutionSettings

LATEST = 1e-2
"""Of 1 - t, which an action is divided by."""


class Convolutions(nn.Module):
    """Layers of 3 x 3 convolutions with SiLU between them, at a lower resolution; the output starts at zero."""

    def __init__(self, inputs: int, outputs: int, settings: ConvolutionSettings) -> None:
        super().__init__()
        folded = settings.fold**2
        sizes = [inputs * folded, *[settings.channels] * settings.depth]
        self.fold, self.unfold = nn.PixelUnshuffle(settings.fold), nn.PixelShuffle(settings.fold)
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.last = nn.Conv2d(sizes[-1], outputs * folded, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, planes: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w)."""
        features = self.fold(planes)
        for layer in self.hidden:
            features = nn.functional.silu(layer(features))
        return self.unfold(self.last(features))


class GuidedPotential(Potential):
    r"""An action whose particles go straight to what the condition suggests, until it has learned better.

    .. math:: s_t(x) = [ (x - c) \cdot U(t, x, c) - |x - c|^2 / 2 ] / (1 - t)

    c is the guess of a :class:`am.marginals.images.GuessedPath`. It is the published x . U(t, x), centred, and added to
    the action of lines from anywhere to c. Its gradient is (D - x) / (1 - t) with D = c + U + ..., an estimate of the
    image; a weight w(t) = (1 - t)^2 makes its loss half the squared error of D. The differences x - c of pixels that
    are known count as zero, so that these never move.

    ``quadratic``: U does not see x. The action is then quadratic in x, D = c + U(t, c) is what all particles of a
    condition end at, which is best where it is their mean, and there are no second derivatives to be taken.
    """

    spread: Tensor
    error: Tensor
    frequencies: Tensor

    def __init__(self, layout: GuessedPath, settings: ConvolutionSettings, time_features: int) -> None:
        super().__init__()
        channels = layout.image_shape[0]
        self.layout, self.quadratic = layout, settings.quadratic
        conditions = layout.condition_channels
        inputs = time_features + channels * (1 if settings.quadratic else 2) + conditions
        self.network = Convolutions(inputs, channels, settings)
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("error", torch.ones(()))
        self.register_buffer("frequencies", math.pi * torch.arange(1, time_features + 1), persistent=False)

    def fit_scale(self, points: Tensor, ends: Tensor) -> None:
        """Take the root mean square of x - c from (n, d) points at all times, and from others at t = 1."""
        for scale, x in ((self.spread, points), (self.error, ends)):
            offset = self._offset(x)
            scale.copy_(offset.square().sum().div(self.layout.free(x).expand_as(offset).sum()).sqrt())

    def _offset(self, x: Tensor) -> Tensor:
        """X - c, zero where pixels are known: (n, d) -> (n, c h w)."""
        return (x[:, : self.layout.size] - self.layout.guess(x.detach())) * self.layout.free(x.detach())

    def _correction(self, time: Tensor, offset: Tensor, x: Tensor) -> Tensor:
        """U: (n,), (n, c h w), (n, d) -> (n, c h w)."""
        _, height, width = self.layout.image_shape
        x = x.detach()
        seen = [self.layout.guess(x), x[:, self.layout.size :]]
        if not self.quadratic:
            seen.append(offset / self.spread)
        features = torch.cos(time[:, None] * self.frequencies)[:, :, None, None].expand(-1, -1, height, width)
        planes = torch.cat([features, torch.cat(seen, 1).view(len(x), -1, height, width)], 1)
        return self.error * self.network(planes).flatten(1) * self.layout.free(x)

    def _action(self, time: Tensor, offset: Tensor, x: Tensor) -> Tensor:
        return ((self._correction(time, offset, x) - offset / 2) * offset).sum(1) / _left(time)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self._action(time, self._offset(x), x)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients; that in known pixels and in the condition is zero."""
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            time = time if time.requires_grad else time.detach().requires_grad_()
            offset = self._offset(x)
            offset = offset if offset.requires_grad else offset.requires_grad_()
            value = self._action(time, offset, x)
            ds_dt, slope = torch.autograd.grad(value.sum(), (time, offset), create_graph=differentiable)
        return Derivatives(value if differentiable else value.detach(), ds_dt, self._whole(slope, x))

    def space(self, time: Tensor, x: Tensor) -> Tensor:
        """The gradient alone, in closed form where the action is quadratic."""
        if not self.quadratic:
            return super().space(time, x)
        offset = self._offset(x)
        return self._whole((self._correction(time, offset, x) - offset) / _left(time)[:, None], x)

    def _whole(self, slope: Tensor, x: Tensor) -> Tensor:
        free = slope * self.layout.free(x.detach())
        return torch.cat([free, torch.zeros_like(x[:, self.layout.size :])], 1)


def _left(time: Tensor) -> Tensor:
    return (1 - time).clamp(min=LATEST)


def build_guided(
    settings: ConvolutionSettings, time_features: int, marginals: object, generator: torch.Generator
) -> GuidedPotential:
    """A fresh action for images of ``marginals``, which it looks at for their scale.

    Raises
    ------
    ValueError
        There is no condition, or images of a size that cannot be folded.
    """
    if not isinstance(marginals, GuessedPath):
        raise ValueError(
            "a guided action starts from what points are conditioned on, and these are conditioned on nothing; "
            "choose another kind of network"
        )
    _, height, width = marginals.image_shape
    if height % settings.fold or width % settings.fold:
        raise ValueError(f"images of {height} x {width} pixels do not fold by {settings.fold} x {settings.fold}")
    potential = GuidedPotential(marginals.without_images(), settings, time_features)
    time = torch.rand(512, generator=generator, device=generator.device)
    points, ends = (marginals.sample(t, generator).to("cpu") for t in (time, torch.ones_like(time)))
    potential.fit_scale(points, ends)
    return potential
