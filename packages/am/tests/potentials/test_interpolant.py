"""Curves that pass through cells whatever the network says, and a path that climbs where others descend."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from am.marginals.snapshots import SnapshotPath
from am.potentials.interpolant import Interpolant, LagrangianFlow, OpposedPath
from am.potentials.residual import ResidualPotential
from am.potentials.settings import InterpolantSettings
from am.randomness import generator

TIMES = (0.0, 0.25, 1.0)
CELLS = [torch.randn(5, 2, generator=generator("cells", k)) + 10 * k for k in range(3)]


def interpolant(noise: float = 0.0, growth: float = 0.0, bent: bool = True) -> Interpolant:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = Interpolant(2, 2, InterpolantSettings(width=8, depth=2, time_features=4), noise, growth)
        if bent:
            nn.init.normal_(found.network.last.weight)
            nn.init.normal_(found.network.last.bias)
    found.fit_scale(torch.cat(CELLS))
    return found


def draw(found: Interpolant, time: Tensor, seed: str = "draw") -> tuple[Tensor, Tensor]:
    return found(SnapshotPath(CELLS, TIMES), time, generator(seed))


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_at_observed_times_curves_are_at_cells_of_mass_one(noise: float) -> None:
    found = interpolant(noise, growth=1.0)
    for k, knot in enumerate(TIMES):
        x, log_mass = draw(found, torch.full((200,), knot))
        assert {tuple(row) for row in x.tolist()} == {tuple(row) for row in CELLS[k].tolist()}
        assert torch.equal(log_mass, torch.zeros(200))
    x, log_mass = draw(found, torch.full((200,), 0.6))
    assert float(torch.cdist(x.detach(), torch.cat(CELLS)).amin(1).mean()) > 0.5
    assert float(log_mass.detach().abs().mean()) > 0.1


def test_curves_start_as_lines_between_any_cells_at_their_own_speed() -> None:
    x, log_mass = draw(interpolant(bent=False), torch.full((2000,), 0.625))
    halfway = {(i, j): (a + b) / 2 for i, a in enumerate(CELLS[1]) for j, b in enumerate(CELLS[2])}
    nearest = torch.cdist(x.detach(), torch.stack(list(halfway.values()))).min(1)
    assert float(nearest.values.max()) < 1e-5
    assert len(nearest.indices.unique()) == 25
    assert torch.equal(log_mass, torch.zeros(2000))


def test_noise_is_that_of_a_brownian_bridge() -> None:
    found, sigma = interpolant(noise=2.0, bent=False), 2.0
    still = SnapshotPath([torch.full((1, 2), 5.0)] * 3, TIMES)
    for time, begin, length in ((0.1, 0.0, 0.25), (0.5, 0.25, 0.75)):
        x, _ = found(still, torch.full((20_000,), time), generator("noise"))
        variance = sigma**2 * (time - begin) * (begin + length - time) / length
        assert float(x.detach().var(0).mean()) == pytest.approx(variance, rel=0.03)


def test_the_network_sees_where_a_curve_comes_from_and_goes_to_and_which_interval_it_is_in() -> None:
    found = interpolant()
    still = SnapshotPath([torch.zeros(1, 2)] * 3, (0.0, 0.5, 1.0))
    first, second = (found(still, torch.tensor([t]), generator("draw"))[0] for t in (0.25, 0.75))
    assert not torch.allclose(first, second)
    ends = [
        found(SnapshotPath([a, b], (0.0, 1.0)), torch.tensor([0.5]), generator("draw"))[0] - (a + b) / 2
        for a, b in ((torch.zeros(1, 2), torch.ones(1, 2)), (torch.ones(1, 2), torch.zeros(1, 2)))
    ]
    assert not torch.allclose(ends[0], ends[1])


def test_gradients_come_back_through_the_path_with_their_sign_turned() -> None:
    found, time = interpolant(growth=1.0), torch.linspace(0.05, 0.95, 7)
    snapshots = SnapshotPath(CELLS, TIMES)
    x, log_mass = found(snapshots, time, generator("draw"))
    rows = OpposedPath(found, snapshots).sample(time, generator("draw"))
    plain = torch.cat([x, log_mass.exp()[:, None]], 1)
    assert torch.equal(rows, plain)
    weight = torch.randn(rows.shape, generator=generator("weight"))
    up, down = (torch.autograd.grad((weight * part).sum(), list(found.parameters())) for part in (plain, rows))
    for one, other in zip(up, down, strict=True):
        assert float(one.abs().sum()) > 0
        torch.testing.assert_close(one, -other)


def test_a_flow_is_its_action_wherever_it_is_asked() -> None:
    action = ResidualPotential(2, 8, 2)
    flow = LagrangianFlow(action, interpolant())
    time, x = torch.rand(5, generator=generator("t")), torch.randn(5, 2, generator=generator("x"))
    assert torch.equal(flow(time, x), action(time, x))
    assert torch.equal(flow.gradient(time, x), action.gradient(time, x))
    assert math.isfinite(float(flow.derivatives(time, x).time.sum().detach()))
