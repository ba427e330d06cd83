"""Actions s_t(x): scalar networks with their derivatives in time and space."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from am.marginals.images import CirclePoints, ImagePath, Torus
from am.marginals.marginals import Marginals
from am.potentials.mlp import MLP
from am.potentials.scale import ScaledNetwork, fit_scale
from am.potentials.settings import PotentialSettings


class Derivatives(NamedTuple):
    """An action and its first derivatives at n points."""

    value: Tensor
    """(n,) s_t(x)."""
    time: Tensor
    """(n,) ds/dt."""
    space: Tensor
    """(n, d) grad_x s."""


class Potential(nn.Module, ABC):
    """An action s_t(x), defined up to a function of time."""

    @abstractmethod
    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients, themselves differentiable (when gradients are enabled).

        This form works for every network; a potential that knows its own pullback overrides it.
        """
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            time = time if time.requires_grad else time.detach().requires_grad_()
            x = x if x.requires_grad else x.detach().requires_grad_()
            value = self(time, x)
            ds_dt, ds_dx = torch.autograd.grad(
                value.sum(), (time, x), create_graph=differentiable, materialize_grads=True
            )
        return Derivatives(value if differentiable else value.detach(), ds_dt, ds_dx)

    def space(self, time: Tensor, x: Tensor) -> Tensor:
        """Velocity field grad s_t(x), differentiable in the weights: (n,), (n, d) -> (n, d)."""
        return self.derivatives(time, x).space

    def gradient(self, time: Tensor, x: Tensor) -> Tensor:
        """Velocity field grad s_t(x), detached: (n,), (n, d) -> (n, d)."""
        with torch.no_grad():
            return self.space(time, x)

    def reversed(self) -> Potential:
        """The action of the path run backwards, where there is no noise."""
        return ReversedPotential(self)


class ResidualPotential(Potential):
    """The published action s_t(x) = |x - h(t, x)|^2 / 2, h an MLP on (t, x) as they come."""

    def __init__(self, dimension: int, width: int, depth: int) -> None:
        super().__init__()
        self.network = MLP(1 + dimension, dimension, width, depth)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return (x - self.network(torch.cat([time[:, None], x], -1))).square().sum(-1) / 2

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients through the network's own pullback."""
        h, pullback = self.network.with_pullback(torch.cat([time[:, None], x], -1))
        residual = x - h
        pulled = pullback(residual)
        return Derivatives(residual.square().sum(-1) / 2, -pulled[:, 0], residual - pulled[:, 1:])


class ScaledPotential(ScaledNetwork, Potential):
    """A well-conditioned action: s_t(x) = L^2 h(cos(pi t), ..., cos(k pi t), (x - m) / L).

    m is the centre of the data and L its spread, so that h sees and gives numbers of order one:
    its gradient is a displacement in units of L per unit of t.
    """

    frequencies: Tensor

    def __init__(self, dimension: int, width: int, depth: int, time_features: int) -> None:
        super().__init__(dimension)
        self.network = MLP(time_features + dimension, 1, width, depth)
        self.register_buffer("frequencies", math.pi * torch.arange(1, time_features + 1), persistent=False)

    def _inputs(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        angles = time[:, None] * self.frequencies
        return torch.cat([torch.cos(angles), self.scaled(x)], -1), angles

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.spread**2 * self.network(self._inputs(time, x)[0])[:, 0]

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients through the network's own pullback."""
        inputs, angles = self._inputs(time, x)
        value, pullback = self.network.with_pullback(inputs)
        pulled = pullback(torch.ones_like(value))
        features = len(self.frequencies)
        ds_dt = -(pulled[:, :features] * torch.sin(angles) * self.frequencies).sum(-1)
        return Derivatives(self.spread**2 * value[:, 0], self.spread**2 * ds_dt, self.spread * pulled[:, features:])


class ReversedPotential(Potential):
    """The action of the path run backwards, -s_{1 - t}(x), for velocities and growth rates without noise."""

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """-s_{1 - t}(x): (n,), (n, d) -> (n,)."""
        return -self.potential(1 - time, x)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients through those of the action."""
        value, ds_dt, ds_dx = self.potential.derivatives(1 - time, x)
        return Derivatives(-value, ds_dt, -ds_dx)


class ImagePotential(Potential):
    """The published action for images, s_t(x) = x . U(t, x), U a :class:`am.potentials.unet.UNet`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        image = self.network(time, x)
        return (x[:, : image.shape[1]] * image).sum(-1)


class PatchPotential(Potential):
    """A sum over the square patches of an image of one action of a patch, with what the patch is conditioned on.

    Small enough for processors, and blind to what lies beyond a patch.
    """

    def __init__(self, potential: Potential, size: tuple[int, int], side: int) -> None:
        super().__init__()
        self.potential, self.size, self.side = potential, size, side

    def patches(self, x: Tensor) -> Tensor:
        """(n, c h w) -> (n k, c side side), k patches of each image in a row."""
        (height, width), side = self.size, self.side
        grid = x.view(len(x), -1, height // side, side, width // side, side)
        return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, grid.shape[1] * side**2)

    def _images(self, patches: Tensor, n: int) -> Tensor:
        """What :meth:`patches` undoes."""
        (height, width), side = self.size, self.side
        grid = patches.view(n, height // side, width // side, -1, side, side)
        return grid.permute(0, 3, 1, 4, 2, 5).reshape(n, -1)

    def _times(self, time: Tensor) -> Tensor:
        return time.repeat_interleave(math.prod(self.size) // self.side**2)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.potential(self._times(time), self.patches(x)).view(len(x), -1).sum(1)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Sums of, or images put together from, those of the patches."""
        n = len(x)
        value, ds_dt, ds_dx = self.potential.derivatives(self._times(time), self.patches(x))
        return Derivatives(value.view(n, -1).sum(1), ds_dt.view(n, -1).sum(1), self._images(ds_dx, n))


class ConditionalPotential(Potential):
    """An action of the first ``moving`` coordinates, given the others, which stay where they are."""

    def __init__(self, potential: Potential, moving: int) -> None:
        super().__init__()
        self.potential, self.moving = potential, moving

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.potential(time, x)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Those of the action, but for the gradient in the given coordinates, which is zero."""
        value, ds_dt, ds_dx = self.potential.derivatives(time, x)
        return Derivatives(value, ds_dt, self._moving(ds_dx))

    def space(self, time: Tensor, x: Tensor) -> Tensor:
        """The gradient of the action, zero in the given coordinates."""
        return self._moving(self.potential.space(time, x))

    def _moving(self, ds_dx: Tensor) -> Tensor:
        still = ds_dx.new_zeros(len(ds_dx), ds_dx.shape[1] - self.moving)
        return torch.cat([ds_dx[:, : self.moving], still], 1)


class PeriodicPotential(Potential):
    """An action on a torus, whose coordinates have period 2: it sees their cosines and sines.

    On a torus only a periodic action has a continuity equation without boundary terms.
    """

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.potential(time, torch.cat([torch.cos(math.pi * x), torch.sin(math.pi * x)], 1))

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients by the chain rule through those of the action."""
        cos, sin = torch.cos(math.pi * x), torch.sin(math.pi * x)
        value, ds_dt, inner = self.potential.derivatives(time, torch.cat([cos, sin], 1))
        by_cos, by_sin = inner.chunk(2, 1)
        return Derivatives(value, ds_dt, math.pi * (by_sin * cos - by_cos * sin))


def build_potential(settings: PotentialSettings, marginals: Marginals, generator: torch.Generator) -> Potential:
    """A fresh potential for ``marginals``; only the scaled kind looks at points of them.

    Raises
    ------
    ValueError
        A U-Net is asked for where points are no images.
    """
    if isinstance(marginals, Torus):
        return PeriodicPotential(build_potential(settings, CirclePoints(marginals), generator))
    moving = marginals.size if isinstance(marginals, ImagePath) else marginals.dimension
    potential = _build(settings, marginals, generator)
    return potential if moving == marginals.dimension else ConditionalPotential(potential, moving)


def _build(settings: PotentialSettings, marginals: Marginals, generator: torch.Generator) -> Potential:
    if settings.kind == "unet":
        from am.potentials.unet import build_unet

        return ImagePotential(build_unet(settings.unet, marginals))
    if settings.kind == "patches":
        return _build_patches(settings, marginals, generator)
    if settings.kind == "guided":
        from am.potentials.guided import build_guided

        return build_guided(settings.convolution, settings.time_features, marginals, generator)
    if settings.kind == "residual":
        return ResidualPotential(marginals.dimension, settings.width, settings.depth)
    potential = ScaledPotential(marginals.dimension, settings.width, settings.depth, settings.time_features)
    fit_scale(potential, marginals, generator)
    return potential


def _build_patches(settings: PotentialSettings, marginals: Marginals, generator: torch.Generator) -> Potential:
    shape, side = getattr(marginals, "image_shape", None), settings.patch
    if shape is None:
        raise ValueError("there are patches of images only, and these points are none; choose another kind of network")
    _, height, width = shape
    if height % side or width % side:
        raise ValueError(f"images of {height} x {width} pixels do not divide into patches of {side} x {side}")
    dimension = marginals.dimension // (height * width) * side**2
    inner = ScaledPotential(dimension, settings.width, settings.depth, settings.time_features)
    potential = PatchPotential(inner, (height, width), side)
    time = torch.rand(512, generator=generator, device=generator.device)
    inner.fit_scale(potential.patches(marginals.sample(time, generator).to("cpu")))
    return potential
