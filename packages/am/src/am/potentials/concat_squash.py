"""The velocity of a continuous normalising flow, with its divergence written out."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from am.potentials.scale import ScaledNetwork
from am.potentials.settings import ConcatSquashSettings


class ConcatSquashNetwork(ScaledNetwork):
    r"""A field v_t(x) = L r h(c, z), where z = (x - m) / L and c = (1 + r t) / 2.

    The layers of h, with tanh between them, are opened and shifted by the clock c:

    .. math:: z \mapsto (W z + b) \cdot \operatorname{sigmoid}(g c + g_0) + s c

    m and L are centre and spread of the data, and ``rate`` is r, the number of units of time
    that [0, 1] counts for: the clock c is 0 a unit before the first snapshot, and 1/2 there.
    Source: Grathwohl et al., ICLR 2019 (the layers); Tong et al., ICML 2020.
    """

    def __init__(self, dimension: int, settings: ConcatSquashSettings, rate: float = 1.0) -> None:
        super().__init__(dimension)
        sizes = [dimension, *[settings.width] * settings.depth, dimension]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.gates = nn.ModuleList(nn.Linear(1, size) for size in sizes[1:])
        self.shifts = nn.ModuleList(nn.Linear(1, size, bias=False) for size in sizes[1:])
        self.rate = rate

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """v_t(x): (n,), (n, d) -> (n, d)."""
        h, clock = self._inputs(time, x)
        for i, (layer, gate, shift) in enumerate(zip(self.layers, self.gates, self.shifts, strict=True)):
            h = layer(torch.tanh(h) if i else h) * torch.sigmoid(gate(clock)) + shift(clock)
        return self.spread * self.rate * h

    def with_divergence(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """v_t(x) and its divergence: (n,), (n, d) -> (n, d), (n,).

        Exact and differentiable; it costs as much as d tangents pushed through the layers.
        """
        h, clock = self._inputs(time, x)
        tangents = torch.eye(x.shape[-1]).to(x).expand(len(x), -1, -1)  # (n, d, units), one for each coordinate
        for i, (layer, gate, shift) in enumerate(zip(self.layers, self.gates, self.shifts, strict=True)):
            if i:
                h = torch.tanh(h)
                tangents = tangents * (1 - h.square())[:, None]
            opened = torch.sigmoid(gate(clock))
            h = layer(h) * opened + shift(clock)
            tangents = (tangents @ cast(nn.Linear, layer).weight.T) * opened[:, None]
        return self.spread * self.rate * h, self.rate * tangents.diagonal(dim1=1, dim2=2).sum(-1)

    def _inputs(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled points, (n, d), and what the clock shows, (n, 1)."""
        return self.scaled(x), (1 + self.rate * time[:, None]) / 2
