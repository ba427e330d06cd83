"""The floor of a metric: what it gives between two samples of the truth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from am.metrics.samples import MetricError

Metric = Callable[[Tensor, Tensor], float]
"""Distance between (n, d) and (m, d) samples."""


def split_floor(metric: Metric, x: Tensor, size: int, repeats: int, generator: torch.Generator) -> Tensor:
    """Values of ``metric`` between disjoint random subsets of ``x``, each of ``size`` points: (repeats,).

    For data that cannot be drawn afresh. The repeats share points, so their spread is smaller than that of
    independent samples.

    Raises
    ------
    MetricError
        ``x`` has fewer than two times ``size`` points.
    """
    if 2 * size > len(x):
        raise MetricError(f"two disjoint subsets of {size} points need {2 * size} points, there are {len(x)}")

    def halves() -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
        return x[order[:size]], x[order[size : 2 * size]]

    return torch.tensor([metric(*halves()) for _ in range(repeats)], dtype=torch.float64)
