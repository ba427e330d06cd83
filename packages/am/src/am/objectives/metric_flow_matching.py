"""Flow matching on curves that a small network bends towards cells: metric, curves and loss."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from am.marginals.snapshots import SnapshotPath
from am.objectives.path import PathSample
from am.potentials.mlp import MLP, silu_with_slope
from am.potentials.scale import ScaledNetwork
from am.potentials.settings import InterpolantSettings, VelocitySettings
from am.potentials.velocity import VelocityNetwork


class CoupledPairs:
    """Coupled cells of neighbouring snapshots: a "point" is a row of 3 d numbers, start, end and standard normal noise.

    Parameters
    ----------
    snapshots
        Cells, and the coupling that joins them.
    """

    def __init__(self, snapshots: SnapshotPath) -> None:
        self.snapshots = snapshots
        self.dimension = 3 * snapshots.dimension

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """A pair for each entry of ``time``: (n,) in [0, 1] -> (n, 3 d)."""
        interval, _ = self.snapshots.locate(time)
        shape = len(time), self.snapshots.dimension
        noise = torch.randn(shape, generator=generator, dtype=time.dtype, device=time.device)
        rows = torch.cat([noise, noise, noise], -1)
        for k in interval.unique().tolist():
            here = interval == k
            pairs = self.snapshots.pairs(k, int(here.sum()), generator)
            rows[here, : 2 * shape[1]] = torch.cat(pairs, -1).to(rows)
        return rows


class LandMetric(ScaledNetwork):
    r"""The diagonal metric G(z) = epsilon / (h(z) + epsilon) that makes motion cheap where cells are.

    .. math:: h_a(z) = \sum_i (z_{ia} - z_a)^2 \exp(-|z_i - z|^2 / (2 \kappa^2))

    with cells in spreads of the data around their centre. Arvanitidis, Hansen and Hauberg, NeurIPS 2016; the factor
    epsilon only makes it at most one.

    Parameters
    ----------
    cells
        (m, d) cells.
    kernel, floor
        kappa, in spreads of the data, and epsilon, in their squares.
    """

    cells: Tensor

    def __init__(self, cells: Tensor, kernel: float, floor: float) -> None:
        super().__init__(cells.shape[1])
        self.kernel, self.floor = kernel, floor
        self.fit_scale(cells)
        self.register_buffer("cells", self.scaled(cells), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The diagonal of G: (n, d) -> (n, d)."""
        z = self.scaled(x)
        near = torch.exp(-torch.cdist(z, self.cells).square() / (2 * self.kernel**2))
        total, first, second = near.sum(1, keepdim=True), near @ self.cells, near @ self.cells.square()
        scatter = (second - 2 * z * first + z.square() * total).clamp(min=0)
        return self.floor / (scatter + self.floor)


class BentLines(ScaledNetwork):
    r"""Curves x_u = (1 - u) x_0 + u x_1 + u (1 - u) L f(u, x_0, x_1), which end where they should whatever f is.

    f is an MLP, zero before training. It sees cosines of u, which interval it is, and both ends in spreads L of the
    data.
    """

    frequencies: Tensor

    def __init__(self, dimension: int, intervals: int, settings: InterpolantSettings) -> None:
        super().__init__(dimension)
        self.intervals = intervals
        inputs = settings.time_features + intervals + 2 * dimension
        self.network = MLP(inputs, dimension, settings.width, settings.depth)
        nn.init.zeros_(self.network.last.weight)
        nn.init.zeros_(self.network.last.bias)
        frequencies = math.pi * torch.arange(1, settings.time_features + 1)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, start: Tensor, end: Tensor, interval: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Places and velocities per unit of u: (n, d), (n, d), (n,), (n,) -> (n, d), (n, d)."""
        u = u[:, None]
        angles = u * self.frequencies
        ends = [one_hot(interval, self.intervals).to(u), self.scaled(start), self.scaled(end)]
        inputs = torch.cat([torch.cos(angles), *ends], -1)
        slopes = nn.functional.pad(-self.frequencies * torch.sin(angles), (0, inputs.shape[1] - angles.shape[1]))
        bend, turn = _with_tangent(self.network, inputs, slopes)
        x = torch.lerp(start, end, u) + u * (1 - u) * self.spread * bend
        return x, end - start + self.spread * ((1 - 2 * u) * bend + u * (1 - u) * turn)


def _with_tangent(network: MLP, inputs: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs, and how they change where the inputs change by ``tangent``: (n, in), (n, in) -> (n, out), (n, out)."""
    for layer in network.hidden:
        inputs, slope = silu_with_slope(layer(inputs))
        tangent = slope * (tangent @ cast(nn.Linear, layer).weight.T)
    return network.last(inputs), tangent @ network.last.weight.T


class MetricFlow(nn.Module):
    """A velocity network, and the curves that it is learned from."""

    def __init__(
        self, snapshots: SnapshotPath, velocity: VelocitySettings, lines: InterpolantSettings, metric: LandMetric
    ) -> None:
        super().__init__()
        self.velocity = VelocityNetwork(snapshots.dimension, velocity)
        self.lines = BentLines(snapshots.dimension, len(snapshots.points) - 1, lines)
        self.metric = metric

    def fit_scale(self, points: Tensor) -> None:
        """Take centre and spread of both networks from (n, d) points."""
        self.velocity.fit_scale(points)
        self.lines.fit_scale(points)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """v_t(x): (n,), (n, d) -> (n, d)."""
        return self.velocity(time, x)


def metric_flow_matching(
    network: MetricFlow, snapshots: SnapshotPath, sample: PathSample, sigma: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """E v' G(x) v along the curves, and the flow matching of their velocities, on points of :class:`CoupledPairs`.

    The first moves the curves alone, and the second the velocity alone. ``sigma`` is the standard deviation of places
    around curves. Kapusniak et al., NeurIPS 2024, arXiv 2405.14780.
    """
    start, end, noise = sample.x.chunk(3, -1)
    interval, u = snapshots.locate(sample.time)
    x, velocity = network.lines(start, end, interval, u)
    energy = sample.mean((network.metric(x) * velocity.square()).sum(-1))
    duration = snapshots.times.diff().to(u)[interval, None]
    error = network(sample.time, x.detach() + sigma * noise) - velocity.detach() / duration
    flow = sample.integral(error.square().sum(-1))
    return energy + flow, {"energy": energy.detach(), "flow": flow.detach()}
