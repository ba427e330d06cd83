"""The potential of OT-Flow: a residual network and a quadratic, with first and second derivatives written out."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from am.potentials.potential import Derivatives, Potential
from am.potentials.scale import ScaledNetwork
from am.potentials.settings import OTFlowSettings


class OTFlowPotential(ScaledNetwork, Potential):
    r"""s_t(x) = L^2 r (w . N(z) + |A z|^2 / 2 + b . z), where z holds (x - m) / L and r t.

    N is a residual network of activation log(2 cosh), and A has rank min(rank, d). m and L are centre and spread of
    the data; ``rate`` is r, the number of units of time that [0, 1] counts for, so that gradients are displacements in
    units of L per such unit. Source: Onken et al., AAAI 2021, without their constant.
    """

    def __init__(self, dimension: int, settings: OTFlowSettings, rate: float = 1.0) -> None:
        super().__init__(dimension)
        width = settings.width
        self.opening = nn.Linear(dimension + 1, width)
        self.residual = nn.ModuleList(nn.Linear(width, width) for _ in range(settings.depth - 1))
        self.weight = nn.Linear(width, 1, bias=False)
        self.root = nn.Linear(dimension + 1, min(settings.rank, dimension), bias=False)
        self.slope = nn.Parameter(torch.zeros(dimension + 1))
        self.step = 1 / (settings.depth - 1)
        self.rate = rate

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        return self.derivatives(time, x).value

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients, by a pass forwards and one backwards through the layers."""
        z, states, slopes = self._forwards(time, x)
        return self._first(z, states[-1], self._backwards(slopes)[0], slopes[0])

    def with_hessian_diagonal(self, time: Tensor, x: Tensor) -> tuple[Derivatives, Tensor]:
        """Value and gradients, and d^2 s / dx_i^2 for each coordinate, (n, d), whose sum is the Laplacian.

        Exact and differentiable; it costs as much as d tangents pushed through the layers.
        Source: Onken et al., AAAI 2021.
        """
        z, states, slopes = self._forwards(time, x)
        cotangents = self._backwards(slopes)
        first = self._first(z, states[-1], cotangents[0], slopes[0])
        inwards = self.opening.weight[:, :-1]  # (width, d)
        diagonal = ((1 - slopes[0] ** 2) * cotangents[0]) @ inwards**2 + self.root.weight[:, :-1].square().sum(0)
        tangents = slopes[0][:, None, :] * inwards.T  # (n, d, width)
        for layer, slope, cotangent in zip(self.residual, slopes[1:], cotangents[1:], strict=True):
            pushed = tangents @ cast(nn.Linear, layer).weight.T
            bend = self.step * (1 - slope**2) * cotangent
            diagonal = diagonal + (pushed**2 @ bend[:, :, None])[:, :, 0]
            tangents = tangents + self.step * slope[:, None, :] * pushed
        return first, self.rate * diagonal

    def _forwards(self, time: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Scaled inputs; for each layer its state after it, and the slope of its activation."""
        z = torch.cat([self.scaled(x), self.rate * time[:, None]], -1)
        inner = self.opening(z)
        states, slopes = [_log_cosh(inner)], [torch.tanh(inner)]
        for layer in self.residual:
            inner = layer(states[-1])
            states.append(states[-1] + self.step * _log_cosh(inner))
            slopes.append(torch.tanh(inner))
        return z, states, slopes

    def _backwards(self, slopes: list[Tensor]) -> list[Tensor]:
        """For each layer, the gradient of w . N at what comes out of it, (n, width) or (1, width)."""
        cotangents = [self.weight.weight]
        for layer, slope in zip(reversed(self.residual), reversed(slopes[1:]), strict=True):
            last = cotangents[0]
            cotangents.insert(0, last + self.step * (slope * last) @ cast(nn.Linear, layer).weight)
        return cotangents

    def _first(self, z: Tensor, state: Tensor, cotangent: Tensor, slope: Tensor) -> Derivatives:
        scale, rate, rooted = self.spread, self.rate, self.root(z)
        value = self.weight(state)[:, 0] + rooted.square().sum(-1) / 2 + z @ self.slope
        gradient = (slope * cotangent) @ self.opening.weight + rooted @ self.root.weight + self.slope
        return Derivatives(
            scale**2 * rate * value, scale**2 * rate**2 * gradient[:, -1], scale * rate * gradient[:, :-1]
        )


def _log_cosh(z: Tensor) -> Tensor:
    """log(2 cosh z), whose derivative is tanh z."""
    return torch.logaddexp(z, -z)
