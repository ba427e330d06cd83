"""Unbalanced Action Matching: motion and growth together, both known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from am.dynamics.settings import OdeSettings
from am.dynamics.weighted import integrate_weighted, self_normalised
from am.marginals.mixture import GaussianMixture
from am.marginals.snapshots import SnapshotPath
from am.objectives.action_matching import action_matching
from am.objectives.path import PathSample, draw_path
from am.objectives.unbalanced import unbalanced_action_matching
from am.objectives.unbalanced_flow_matching import Cone, ConicPaths, RelaxedLines
from am.potentials.potential import Potential
from am.potentials.scaled import ScaledPotential
from am.randomness import generator

EXACT = {"rel": 1e-9, "abs": 1e-10}


def known_action(name: str, growth: float) -> Callable[[Tensor, Tensor], Tensor]:
    r"""The action of a Gaussian N(m(t), s(t)^2 I) in the plane that moves and grows.

    With y = x - m, the action a + b . y + c |y|^2 / 2 solves
    d log q / dt = -lap - grad . grad log q + growth * action. Comparing powers of y:
    b = m' / (1 + growth s^2), c = (s' / s) / (1 + growth s^2 / 2), a = 2 (c - s' / s) / growth.
    """

    def action(t: Tensor, x: Tensor) -> Tensor:
        if name == "translation":
            mean = torch.stack([1.5 * t, 1 - 0.5 * t], -1)
            slope, scale, rate = torch.tensor([1.5, -0.5]).double(), 0.8 * torch.ones_like(t), torch.zeros_like(t)
        else:
            mean, slope, scale, rate = torch.zeros_like(x), torch.zeros(2).double(), 0.5 + t, 1 / (0.5 + t)
        y = x - mean
        c = rate / (1 + growth * scale**2 / 2)
        across = (slope * y).sum(-1) / (1 + growth * scale**2)
        return 2 * (c - rate) / growth + across + c * y.square().sum(-1) / 2

    return action


@pytest.fixture(params=["translation", "scaling"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[0.5, 1.0, 3.0])
def growth(request: pytest.FixtureRequest) -> float:
    return request.param


def mean_square(function: Callable[[Tensor, Tensor], Tensor], sample: PathSample, weight) -> float:
    """1/2 int w(t) E f^2 dt."""
    return float(sample.mean(weight.value(sample.time) * function(sample.time, sample.x) ** 2 / 2).detach())


def test_the_optimal_loss_is_minus_the_energy(name, growth, weight, paths, action, half_square_gradient) -> None:
    nodes, known = paths[name].nodes(), known_action(name, growth)
    loss, diagnostics = unbalanced_action_matching(action(known), nodes, growth, weight)
    energy = half_square_gradient(known, nodes, weight) + growth * mean_square(known, nodes, weight)
    assert float(loss.detach()) == pytest.approx(-energy, **EXACT)
    assert float(diagnostics["growth"]) > 0.01


def test_the_gap_counts_errors_of_velocity_and_growth(
    name, growth, weight, paths, action, half_square_gradient
) -> None:
    nodes, optimal = paths[name].nodes(), action(known_action(name, growth))
    perturbed = optimal.perturbed()
    losses = [unbalanced_action_matching(s, nodes, growth, weight)[0].detach() for s in (perturbed, optimal)]
    change = perturbed.change
    known = half_square_gradient(change, nodes, weight) + growth * mean_square(change, nodes, weight)
    assert float(losses[0] - losses[1]) == pytest.approx(known, **EXACT)


def test_the_optimum_is_stationary(name, growth, weight, paths, action) -> None:
    nodes, optimal = paths[name].nodes(), action(known_action(name, growth))
    (slope,) = torch.autograd.grad(unbalanced_action_matching(optimal, nodes, growth, weight)[0], optimal.parameter)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-10, rtol=0)


def test_without_growth_it_is_action_matching(path, weight, action) -> None:
    perturbed, nodes = action(path.action).perturbed(), path.nodes()
    unbalanced = unbalanced_action_matching(perturbed, nodes, 0.0, weight)[0]
    torch.testing.assert_close(unbalanced, action_matching(perturbed, nodes, weight)[0])


class Exact(Potential):
    """The known action, and a rate of growth on top that is a + b t everywhere."""

    def __init__(self, name: str, growth: float, a: float = 0.0, b: float = 0.0) -> None:
        super().__init__()
        self._known, self._growth = known_action(name, growth), growth
        self.parameter = torch.nn.Parameter(torch.tensor([a, b], dtype=torch.float64))

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        a, b = self.parameter
        return self._known(time, x) + (a + b * time) / self._growth


def test_of_masses_growth_is_absolute(name, growth, weight, paths) -> None:
    """Where the whole grows at the rate r everywhere, the action is that of probabilities and r / lambda."""
    rate, nodes = 0.7, paths[name].nodes()

    def slope(potential: Exact, log_mass: Callable[[Tensor], Tensor]) -> Tensor:
        loss = unbalanced_action_matching(potential, nodes, growth, weight.of_mass(log_mass))[0]
        return torch.autograd.grad(loss, potential.parameter)[0]

    zero = torch.zeros(2).double()
    torch.testing.assert_close(slope(Exact(name, growth, rate), lambda t: rate * t), zero, atol=1e-10, rtol=0)
    torch.testing.assert_close(slope(Exact(name, growth), torch.zeros_like), zero, atol=1e-10, rtol=0)
    assert float(slope(Exact(name, growth), lambda t: rate * t).abs().max()) > 1e-3
    # A rate that changes: the mass is exp(r t^2 / 2).
    torch.testing.assert_close(
        slope(Exact(name, growth, 0.0, rate), lambda t: rate * t**2 / 2), zero, atol=1e-10, rtol=0
    )


# -- pure growth ---------------------------------------------------------------------------------


def growing(distance: float, scale: float) -> GaussianMixture:
    """Two components that stand still; the share of the left one rises from 1/4 to 3/4."""
    return GaussianMixture(
        lambda t: torch.tensor([[-distance], [distance]], dtype=t.dtype).expand(len(t), 2, 1),
        lambda t: torch.stack([9**t, 3 * torch.ones_like(t)], -1),
        scale,
    )


def rates(t: Tensor) -> tuple[Tensor, Tensor]:
    """Growth rates (log share)' left and right, of a share 9^t / (9^t + 3)."""
    share = 9**t / (9**t + 3)
    return math.log(9) * (1 - share), -math.log(9) * share


def growing_nodes(distance: float) -> PathSample:
    """Quadrature points of :func:`growing` with unit components; ends hold one and three of four points."""
    (t, wt), (z, wz) = np.polynomial.legendre.leggauss(20), np.polynomial.hermite_e.hermegauss(4)
    time, noise, side = (
        torch.from_numpy(a.reshape(-1)) for a in np.meshgrid((1 + t) / 2, z, [-1.0, 1.0], indexing="ij")
    )
    share = 9**time / (9**time + 3)
    part = torch.where(side < 0, share, 1 - share)
    weight = torch.from_numpy(np.einsum("i,j,k->ijk", wt / 2, wz, [1, 1]).reshape(-1)) / math.sqrt(2 * math.pi) * part
    ends = [distance * torch.tensor(signs).double()[:, None] for signs in ([-1.0, 1, 1, 1], [-1.0, -1, -1, 1])]
    return PathSample(time, (distance * side + noise)[:, None], *ends, 1 / (len(time) * weight))


def test_pure_growth_is_recovered(growth, weight) -> None:

    class TwoSides(Potential):
        def __init__(self) -> None:
            super().__init__()
            self.parameter = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))

        def forward(self, time: Tensor, x: Tensor) -> Tensor:
            left, right = rates(time)
            a, b, c, d = self.parameter
            return torch.where(x[:, 0] < 0, left / growth + a + b * time, right / growth + c + d * time)

    potential, nodes = TwoSides(), growing_nodes(50.0)
    (slope,) = torch.autograd.grad(unbalanced_action_matching(potential, nodes, growth, weight)[0], potential.parameter)
    torch.testing.assert_close(slope, torch.zeros(4).double(), atol=1e-10, rtol=0)
    # The same at another strength of growth is not stationary.
    (slope,) = torch.autograd.grad(
        unbalanced_action_matching(potential, nodes, 2 * growth, weight)[0], potential.parameter
    )
    assert float(slope.abs().max()) > 0.01


@pytest.mark.trains
def test_training_learns_pure_growth_and_weights_reproduce_the_masses() -> None:
    path = growing(distance=2.0, scale=0.3)
    torch.manual_seed(0)
    potential = ScaledPotential(dimension=1, width=32, depth=2, time_features=3)
    generator = torch.Generator().manual_seed(0)
    potential.fit_scale(path.sample(torch.rand(1000, generator=generator), generator))
    inner = torch.linspace(0.1, 0.9, 9)
    centres = torch.tensor([[-2.0], [2.0]])

    def error() -> float:
        learned = torch.stack([potential(inner, c.expand(9, 1)) for c in centres])
        return float((learned - torch.stack(rates(inner))).abs().max().detach())

    def masses() -> float:
        """Share of the left component at t = 1 when draws at t = 0 move and grow."""
        start = path.sample(torch.zeros(4000), generator)

        def field(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            value, _, gradient = potential.derivatives(time, x)
            return gradient, value

        end = integrate_weighted(field, start, torch.tensor([0.0, 1.0]), OdeSettings())
        assert end.log_weight is not None
        weights = self_normalised(end.log_weight[-1]).exp()
        return float((weights * (end.x[-1, :, 0] < 0)).mean())

    assert error() > 1.0
    assert masses() == pytest.approx(0.25, abs=0.1)
    optimizer = torch.optim.Adam(potential.parameters())
    for step in range(700):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 + math.cos(math.pi * step / 700)) / 2
        sample = draw_path(path, torch.rand(256, generator=generator), 256, generator)
        loss, _ = unbalanced_action_matching(potential, sample)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error() < 0.35
    assert masses() == pytest.approx(0.75, abs=0.05)


# -- flow matching with growth -----------------------------------------------------------------------------

DELTA = 0.7


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.2, 2.1])
def test_a_travelling_dirac_takes_the_least_action_to_its_end(distance: float) -> None:
    """4 delta^2 (m + n - 2 root(m n) cos(d / 2 delta)), the squared distance of two Diracs: Chizat et al., 2018."""
    masses, steps = (1.0, 2.5), 20_000
    ends = [torch.zeros(1, 2).double(), torch.tensor([[0.6, 0.8]]).double() * distance]
    pair = ConicPaths(SnapshotPath(ends, [0, 1]), DELTA).join(*ends, *masses)
    u = ((torch.arange(steps) + 0.5) / steps).double()
    curve = Cone(*(part.expand(steps, *part.shape[1:]) for part in pair))
    x, velocity, growth = curve.at(u, u > 1)
    action = float((curve.mass(u) * (velocity.square().sum(-1) + DELTA**2 * growth.square())).mean())
    least = 4 * DELTA**2 * (sum(masses) - 2 * math.sqrt(math.prod(masses)) * math.cos(distance / (2 * DELTA)))
    assert action == pytest.approx(least, rel=1e-4)
    torch.testing.assert_close(x[[0, -1]], torch.cat(ends), rtol=0, atol=1e-3)
    torch.testing.assert_close(velocity.mean(0), ends[1][0], rtol=1e-4, atol=1e-6)
    assert float(growth.mean()) == pytest.approx(math.log(masses[1] / masses[0]), rel=1e-4)

    rate = math.log(masses[1] / masses[0])  # a straight line, and exponential growth, end there too
    exponential = (masses[1] - masses[0]) / rate * (distance**2 + DELTA**2 * rate**2)
    assert exponential > 1.005 * least


def test_mass_out_of_reach_is_lost_and_made_where_it_is() -> None:
    ends = [torch.zeros(1, 1).double(), torch.full((1, 1), 1.01 * math.pi * DELTA).double()]
    paths = ConicPaths(SnapshotPath(ends, [0, 1], masses=[1.0, 2.0]), DELTA)
    time = torch.full((4000,), 0.25)
    x, velocity, growth = paths.sample(time, generator("far")).unbind(-1)
    late = x > 1
    assert not velocity.any()
    assert set(x.tolist()) == {0.0, float(ends[1].float())}
    share = 0.25**2 * 2 / (0.25**2 * 2 + 0.75**2)
    assert float(late.double().mean()) == pytest.approx(share, abs=0.025)
    torch.testing.assert_close(growth, torch.where(late, 2 / time, -2 / (1 - time)))


def test_geodesics_carry_their_mass() -> None:
    """d/dt of the integral of f is that of grad f . v + f g, for f = 1 and for coordinates; drawn by mass."""
    clouds = [torch.randn(60, 2, generator=generator("cone", i)) + i for i in range(3)]
    paths = ConicPaths(SnapshotPath(clouds, [0, 0.25, 1], masses=[1.0, 3.0, 2.0]), 1.5)
    pairs = paths.join(clouds[1].double(), clouds[2].double(), 3.0, 2.0)
    time, step = 0.6, 1e-5

    def integrals(t: float) -> Tensor:
        u = torch.full_like(pairs.angle, (t - 0.25) / 0.75)
        return (pairs.mass(u)[:, None] * torch.cat([torch.ones_like(u)[:, None], pairs.at(u, u > 1)[0]], -1)).sum(0)

    rows = paths.sample(torch.full((200_000,), time), generator("rows")).double()
    x, velocity, growth = rows.split([2, 2, 1], -1)
    carried = integrals(time)[0] * torch.cat([growth, velocity + x * growth], -1).mean(0)
    change = (integrals(time + step) - integrals(time - step)) / (2 * step)
    torch.testing.assert_close(carried, change, rtol=0.01, atol=0.05)
    torch.testing.assert_close(x.mean(0), integrals(time)[1:] / integrals(time)[0], rtol=0, atol=0.01)
    assert float(change.abs().min()) > 0.2  # each of them changes


@pytest.mark.parametrize(("relaxation", "crossing"), [(1.0, 0.0), (1e5, 0.3)])
def test_relaxed_lines_do_not_fill_the_share_of_another_population(relaxation: float, crossing: float) -> None:
    """Half of the cells of each population, and then a fifth: what balanced transport must move across, 0.3 of all."""
    clouds = [
        torch.randn(100, 2, generator=generator("share", n)) + 20 * (torch.arange(100) < n)[:, None] for n in (50, 20)
    ]
    drawn = RelaxedLines(SnapshotPath(clouds, [0, 1]), relaxation, 0.0).sample(torch.rand(4000), generator("lines"))
    far = drawn[:, 2:4].norm(dim=-1) > 14
    assert float(far.double().mean()) == pytest.approx(crossing, abs=0.03)
