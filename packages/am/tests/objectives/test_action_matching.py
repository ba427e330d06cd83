"""Action Matching on paths whose optimal action is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from am.marginals.gaussian import Gaussian
from am.marginals.mixture import GaussianMixture
from am.objectives.action_matching import action_matching
from am.objectives.path import WEIGHTS, PathSample, draw_path
from am.potentials.scaled import ScaledPotential

EXACT = {"rel": 1e-9, "abs": 1e-10}


def test_the_optimal_loss_is_minus_the_kinetic_energy(path, weight, action, integral) -> None:
    loss, diagnostics = action_matching(action(path.action), path.nodes(), weight)
    assert float(loss.detach()) == pytest.approx(-integral(weight, path.square_velocity) / 2, **EXACT)
    kinetic = integral(WEIGHTS["constant"], path.square_velocity) / 2
    assert float(diagnostics["running"]) == pytest.approx(kinetic, **EXACT)


def test_the_gap_is_half_the_mean_square_error_of_the_velocity(path, weight, action, half_square_gradient) -> None:
    optimal = action(path.action)
    perturbed, nodes = optimal.perturbed(), path.nodes()
    gap = action_matching(perturbed, nodes, weight)[0] - action_matching(optimal, nodes, weight)[0]
    known = half_square_gradient(perturbed.change, nodes, weight)
    assert known > 0.01
    assert float(gap.detach()) == pytest.approx(known, **EXACT)


def test_the_optimum_is_stationary(path, weight, action) -> None:
    optimal = action(path.action)
    (at_optimum,) = torch.autograd.grad(action_matching(optimal, path.nodes(), weight)[0], optimal.parameter)
    torch.testing.assert_close(at_optimum, torch.zeros_like(at_optimum), atol=1e-10, rtol=0)
    other = optimal.perturbed()
    (elsewhere,) = torch.autograd.grad(action_matching(other, path.nodes(), weight)[0], other.parameter)
    assert float(elsewhere.abs().max()) > 0.01


def test_a_function_of_time_alone_changes_nothing(path, weight, action) -> None:
    nodes = path.nodes()
    plain = action_matching(action(path.action), nodes, weight)[0]
    shifted = action_matching(action(lambda t, x: path.action(t, x) + torch.exp(2 * t)), nodes, weight)[0]
    assert float(shifted.detach()) == pytest.approx(float(plain.detach()), **EXACT)


def test_where_the_weight_vanishes_the_ends_are_not_looked_at(path, action) -> None:
    nodes = path.nodes()
    no_ends = replace(nodes, start=nodes.start * math.nan, end=nodes.end * math.nan)
    loss, diagnostics = action_matching(action(path.action), no_ends, WEIGHTS["parabolic"])
    assert math.isfinite(float(loss.detach()))
    assert float(diagnostics["boundary"]) == 0
    only_start = replace(nodes, end=nodes.end * math.nan)
    assert math.isfinite(float(action_matching(action(path.action), only_start, WEIGHTS["decreasing"])[0].detach()))
    assert math.isnan(float(action_matching(action(path.action), only_start, WEIGHTS["constant"])[0].detach()))


def mixture() -> GaussianMixture:
    """Three components that move as one: their velocity (2 cos 2t, 1) is a gradient field."""
    centres = torch.tensor([[0.0, 0.0], [3.0, 1.0], [-1.0, 4.0]], dtype=torch.float64)
    return GaussianMixture(
        lambda t: centres.to(t) + torch.stack([torch.sin(2 * t), t], -1)[:, None],
        lambda t: torch.tensor([1.0, 2.0, 3.0]).to(t).expand(len(t), 3),
        scale=0.5,
    )


def test_a_mixture_that_moves_as_a_whole(weight, action, integral) -> None:
    # Both loss and gradient are estimated from draws; the optimal ones lie within their standard errors.
    optimal = action(lambda t, x: 2 * torch.cos(2 * t) * x[:, 0] + x[:, 1])
    generator = torch.Generator().manual_seed(0)
    losses, gradients = [], []
    for _ in range(64):
        time = torch.rand(1000, generator=generator, dtype=torch.float64)
        loss = action_matching(optimal, draw_path(mixture(), time, 1000, generator), weight)[0]
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, optimal.parameter)[0])
    known = -integral(weight, lambda t: 4 * math.cos(2 * t) ** 2 + 1) / 2
    value, slope = torch.stack(losses), torch.stack(gradients)
    assert abs(float(value.mean()) - known) < 4 * float(value.std()) / 8
    assert bool((slope.mean(0).abs() < 4 * slope.std(0) / 8).all())
    assert float(value.std() / 8) < 0.1  # a wrong sign of a term moves the loss by more


def tilted_times(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Times with density p(t) = 1/2 + t, by inversion, and that density."""
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    time = (torch.sqrt(1 + 8 * uniform) - 1) / 2
    return time, 0.5 + time


def test_any_time_proposal_gives_the_same_loss_and_gradient(path, weight, action) -> None:
    perturbed = action(path.action).perturbed()
    exact = action_matching(perturbed, path.nodes(), weight)[0]
    (exact_slope,) = torch.autograd.grad(exact, perturbed.parameter)
    generator = torch.Generator().manual_seed(1)
    losses, gradients = [], []
    for _ in range(64):
        time, density = tilted_times(1000, generator)
        sample = draw_path(path.marginals, time, 1000, generator, density)
        loss = action_matching(perturbed, sample, weight)[0]
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, perturbed.parameter)[0])
    value, slope = torch.stack(losses), torch.stack(gradients)
    assert abs(float(value.mean() - exact.detach())) < 4 * float(value.std()) / 8
    assert bool(((slope.mean(0) - exact_slope).abs() < 4 * slope.std(0) / 8).all())


def test_forgetting_the_proposal_density_is_seen(paths, action) -> None:
    """The test above has the power to tell a wrong density."""
    path = paths["both"]
    perturbed = action(path.action).perturbed()
    exact = float(action_matching(perturbed, path.nodes())[0].detach())
    generator = torch.Generator().manual_seed(1)
    time, _ = tilted_times(64_000, generator)
    loss = action_matching(perturbed, draw_path(path.marginals, time, 64_000, generator))[0]
    assert abs(float(loss.detach()) - exact) > 0.1


def test_training_learns_the_velocity_of_a_translation() -> None:
    velocity = torch.tensor([3.0, -1.0])
    path = Gaussian(lambda t: 5 + t[:, None] * velocity.to(t), lambda t: 0.7 * torch.ones_like(t)[:, None])
    torch.manual_seed(0)
    potential = ScaledPotential(dimension=2, width=32, depth=2, time_features=2)
    generator = torch.Generator().manual_seed(0)
    potential.fit_scale(path.sample(torch.rand(1000, generator=generator), generator))
    probe_time = torch.linspace(0.05, 0.95, 200)
    probe = path.sample(probe_time, generator)

    def error() -> float:
        difference = potential.gradient(probe_time, probe) - velocity
        return float(difference.square().sum(-1).mean().sqrt() / velocity.norm())

    assert error() > 0.8
    optimizer = torch.optim.Adam(potential.parameters(), lr=1e-2)
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 + math.cos(math.pi * step / 400)) / 2
        sample = draw_path(path, torch.rand(256, generator=generator), 256, generator)
        loss, _ = action_matching(potential, sample)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error() < 0.1


def test_points_at_the_ends_are_taken_at_times_zero_and_one(action) -> None:
    seen = []

    def watch(time: Tensor, x: Tensor) -> Tensor:
        seen.append((time.detach().clone(), x.detach().clone()))
        return x[:, 0]

    sample = PathSample(
        torch.tensor([0.3]).double(),
        torch.zeros(1, 2).double(),
        start=torch.full((2, 2), 5.0).double(),
        end=torch.full((3, 2), 7.0).double(),
    )
    loss, _ = action_matching(action(watch), sample)
    # E_q0 s - E_q1 s + |grad s|^2 / 2 with s = x_1
    assert float(loss.detach()) == pytest.approx(5 - 7 + 0.5)
    at_ends = {float(t[0]): x for t, x in seen if float(t[0]) != pytest.approx(0.3)}
    assert torch.equal(at_ends[0.0], sample.start)
    assert torch.equal(at_ends[1.0], sample.end)
