"""Distances between samples, with floors and intervals.

Each takes (n, d) and (m, d) samples, as tensors or arrays, and gives a number.

Examples
--------
>>> import am, numpy as np
>>> rng = np.random.default_rng(0)
>>> x, y, z = rng.normal(size=(3, 500, 2))
>>> am.metrics.energy_distance(x, y + 1) > 10 * am.metrics.energy_distance(x, z)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.lazy import lazy

if TYPE_CHECKING:
    from am.metrics.energy import energy_distance
    from am.metrics.mmd import mmd_squared
    from am.metrics.samples import MetricError
    from am.metrics.sinkhorn import sinkhorn_divergence
    from am.metrics.transport import sliced_wasserstein, wasserstein1, wasserstein2

__all__ = [
    "MetricError",
    "energy_distance",
    "mmd_squared",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "wasserstein1",
    "wasserstein2",
]

__getattr__ = lazy(
    "am.metrics",
    {
        "am.metrics.energy": "energy_distance",
        "am.metrics.mmd": "mmd_squared",
        "am.metrics.samples": "MetricError",
        "am.metrics.sinkhorn": "sinkhorn_divergence",
        "am.metrics.transport": "sliced_wasserstein wasserstein1 wasserstein2",
    },
)
