"""The floor of data that cannot be drawn afresh."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from am.metrics.floor import split_floor
from am.metrics.samples import MetricError


def test_subsets_are_disjoint_of_the_size_asked_for_and_differ() -> None:
    x = torch.arange(20.0)[:, None]
    seen: list[tuple[float, ...]] = []

    def metric(a: Tensor, b: Tensor) -> float:
        assert len(a) == len(b) == 8
        assert len(torch.cat([a, b]).unique()) == 16
        seen.append(tuple(a[:, 0].tolist()))
        return float(a.mean() - b.mean())

    values = split_floor(metric, x, 8, 50, torch.Generator().manual_seed(0))
    assert values.shape == (50,)
    assert len(set(seen)) == 50
    assert abs(values.mean()) < 4 * values.std() / 50**0.5


def test_too_few_points_to_split() -> None:
    with pytest.raises(MetricError, match="need 22 points, there are 20"):
        split_floor(lambda a, b: 0.0, torch.zeros(20, 1), 11, 1, torch.Generator())
