"""Which points are stray, and that units of length do not depend on them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from am.dynamics.ode import spread
from am.marginals.snapshots import SnapshotPath
from am.marginals.stray import is_stray, without_stray
from am.potentials.build import build_potential
from am.potentials.scaled import ScaledPotential
from am.potentials.settings import PotentialSettings


def normal(n: int, d: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("n", "d"), [(20, 1), (100, 2), (1000, 50), (100_000, 1)])
def test_points_of_a_gaussian_are_not(n: int, d: int) -> None:
    x = normal(n, d)
    assert not is_stray(x).any()
    assert without_stray(x) is x


@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.parametrize("far", [1e2, 1e4, 1e18])
@pytest.mark.parametrize("count", [1, 2])
def test_the_few_that_lie_far_away_are(d: int, far: float, count: int) -> None:
    x = normal(50, d)
    x[:count] += far
    assert is_stray(x).tolist() == [True] * count + [False] * (50 - count)
    assert spread(x) == pytest.approx(spread(x[count:]))


def test_a_population_is_not() -> None:
    x = normal(100, 2)
    x[:20] += 1000
    assert not is_stray(x).any()


def test_heavy_tails_and_many_zeros_leave_most_points_in() -> None:
    rng = torch.Generator().manual_seed(0)
    tails = torch.distributions.StudentT(3.0)
    torch.manual_seed(0)
    assert is_stray(tails.sample((1000, 3))).float().mean() < 0.01
    zeros = normal(1000, 1) * (torch.rand(1000, 1, generator=rng) < 0.05)
    assert not is_stray(zeros).any()
    assert not is_stray(torch.ones(30, 2)).any()
    assert not is_stray(torch.ones(1, 2)).any()


@pytest.mark.parametrize("far", [300.0, 1e4])
def test_the_scale_of_a_network_does_not_depend_on_one_cell(far: float) -> None:
    clean = [normal(200, 2) + k for k in range(3)]
    stray = [x.clone() for x in clean]
    stray[0][7] = torch.tensor([far, -far])
    scales = []
    for points in (clean, stray):
        path = SnapshotPath(points, [0, 0.5, 1])
        network = build_potential(PotentialSettings(width=8, depth=2), path, torch.Generator().manual_seed(0))
        assert isinstance(network, ScaledPotential)
        scales.append(network)
    assert float(scales[1].spread) == pytest.approx(float(scales[0].spread), rel=0.05)
    torch.testing.assert_close(scales[1].centre, scales[0].centre, rtol=0, atol=0.1)
