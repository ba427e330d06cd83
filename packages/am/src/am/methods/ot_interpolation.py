"""Static optimal transport: straight lines to the cells of the next snapshot."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from am.methods.contract import Method

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from am.dynamics.dynamics import Explicit
    from am.marginals.snapshots import SnapshotPath

_SAME_TIME = 1e-6  # times come in float32


class OptimalTransportInterpolation(Method["SnapshotPath"]):
    """Displacement interpolation towards the training cells of each next snapshot; nothing is learned.

    x_t = (1 - u) x + u T(x), with T from an optimal plan for squared Euclidean cost between the particles and the
    cells (McCann, Adv. Math. 128, 1997, equation 7; for cells, Schiebinger et al., Cell 176, 2019). At an observed
    time it returns training cells, so only a time that was held out tells how well it predicts, and it is a control.
    """

    title = "OT interpolation"
    control = True
    learns_from: ClassVar[Literal["path", "snapshots"]] = "snapshots"

    def dynamics(self, network: SnapshotPath) -> Explicit:
        """Follow lines from snapshot to snapshot; where a particle's mass is split, one share is drawn."""
        from am.dynamics.dynamics import Explicit

        return Explicit(partial(_positions, network))


def _positions(snapshots: SnapshotPath, start: Tensor, times: Tensor, generator: torch.Generator) -> Tensor:
    """Lines from (n, d) particles through snapshots, at (T,) times: (T, n, d)."""
    import torch

    from am.dynamics.trajectory import check_times

    check_times(times)
    knots = snapshots.times.tolist()
    k = int(snapshots.locate(times[:1] + _SAME_TIME)[0])
    x, since = start, float(times[0])
    target = partners(x, snapshots.points[k + 1], generator)
    path = [start]
    for time in times[1:].tolist():
        while time > knots[k + 1] + _SAME_TIME:
            x, since, k = target, knots[k + 1], k + 1
            target = partners(x, snapshots.points[k + 1], generator)
        path.append(torch.lerp(x, target, (time - since) / (knots[k + 1] - since)))
    return torch.stack(path)


def partners(x: Tensor, cells: Tensor, generator: torch.Generator) -> Tensor:
    """One of (m, d) cells for each of (n, d) particles, as likely as an optimal plan joins the two: (n, d)."""
    import torch

    from am.marginals.snapshots import transport_plan

    cells = cells.to(x)
    _, column, mass = (part.to(x.device) for part in transport_plan(x, cells))  # row after row
    level = mass.cumsum(0)
    row = torch.arange(len(x), device=x.device)
    share = torch.rand(len(x), generator=generator, device=x.device, dtype=level.dtype)
    chosen = torch.searchsorted(level, (row + share) / len(x) * level[-1], right=True)
    return cells[column[chosen.clamp(max=len(column) - 1)]]


METHOD = OptimalTransportInterpolation
