"""Action Matching for p-norm costs, on a translation, whose optimal action is linear for each of them."""

from __future__ import annotations

import pytest
import torch

from am.objectives.action_matching import action_matching
from am.objectives.convex_cost import conjugate_exponent, convex_cost_action_matching, velocity_from_gradient
from am.potentials.residual import ResidualPotential

EXACT = {"rel": 1e-9, "abs": 1e-10}
VELOCITY = torch.tensor([1.5, -0.5], dtype=torch.float64)


@pytest.fixture(params=[1.4, 2.0, 3.5])
def p(request: pytest.FixtureRequest) -> float:
    return request.param


@pytest.fixture
def optimal(action, p: float):
    """Grad s = grad c(velocity)."""
    gradient = VELOCITY.sign() * VELOCITY.abs() ** (p - 1)
    return action(lambda t, x: x @ gradient)


def cost(p: float) -> float:
    return float((VELOCITY.abs() ** p).sum() / p)


def test_the_optimal_loss_is_minus_the_cost_of_the_velocity(p, paths, weight, optimal, integral) -> None:
    loss, diagnostics = convex_cost_action_matching(optimal, paths["translation"].nodes(), p, weight)
    assert float(loss.detach()) == pytest.approx(-integral(weight, lambda t: cost(p)), **EXACT)
    # c*(grad c(v)) = <v, grad c(v)> - c(v) = (p - 1) c(v)
    assert float(diagnostics["running"]) == pytest.approx((p - 1) * cost(p), **EXACT)


def test_the_known_action_is_stationary_and_a_minimum(p, paths, weight, optimal) -> None:
    nodes = paths["translation"].nodes()
    loss, _ = convex_cost_action_matching(optimal, nodes, p, weight)
    (slope,) = torch.autograd.grad(loss, optimal.parameter)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-10, rtol=0)
    for size in (-0.5, -0.01, 0.01, 0.5):
        assert float((convex_cost_action_matching(optimal.perturbed(size), nodes, p, weight)[0] - loss).detach()) > 0


def test_the_gap_is_the_bregman_divergence_of_the_conjugate(p, paths, weight, optimal) -> None:
    nodes, perturbed = paths["translation"].nodes(), optimal.perturbed()
    losses = [convex_cost_action_matching(s, nodes, p, weight)[0].detach() for s in (perturbed, optimal)]
    q = p / (p - 1)
    wrong, right = perturbed.gradient(nodes.time, nodes.x), optimal.gradient(nodes.time, nodes.x)
    bregman = ((wrong.abs() ** q - right.abs() ** q) / q - VELOCITY * (wrong - right)).sum(-1)
    assert float(losses[0] - losses[1]) == pytest.approx(float(nodes.mean(weight.value(nodes.time) * bregman)), **EXACT)


def test_half_the_square_is_action_matching(path, weight) -> None:
    torch.manual_seed(0)
    potential = ResidualPotential(dimension=2, width=16, depth=2).double()
    nodes = path.nodes()
    ours, ours_parts = convex_cost_action_matching(potential, nodes, 2.0, weight)
    theirs, their_parts = action_matching(potential, nodes, weight)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours_parts, their_parts)


def test_velocity_is_the_gradient_of_the_conjugate_and_inverts_that_of_the_cost(p: float) -> None:
    gradient = torch.tensor([[-2.0, 0.3], [1e-3, 5.0]], dtype=torch.float64, requires_grad=True)
    q = conjugate_exponent(p)
    assert 1 / p + 1 / q == pytest.approx(1)
    (known,) = torch.autograd.grad((gradient.abs() ** q).sum() / q, gradient)
    torch.testing.assert_close(velocity_from_gradient(gradient, p), known)
    velocity = velocity_from_gradient(gradient, p).detach().requires_grad_()
    (back,) = torch.autograd.grad((velocity.abs() ** p).sum() / p, velocity)
    torch.testing.assert_close(back, gradient.detach())
    assert torch.equal(velocity_from_gradient(torch.zeros(1, 2), p), torch.zeros(1, 2))


def test_the_known_velocity_comes_back(p, paths, optimal) -> None:
    nodes = paths["translation"].nodes()
    velocity = velocity_from_gradient(optimal.gradient(nodes.time, nodes.x), p)
    torch.testing.assert_close(velocity, VELOCITY.expand_as(velocity))


@pytest.mark.parametrize("wrong", [1.0, 0.5, -2.0, float("nan")])
def test_a_cost_that_is_not_strictly_convex_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="p > 1"):
        conjugate_exponent(wrong)


def test_a_vanishing_gradient_gives_finite_derivatives(p, paths, action) -> None:
    standing = action(lambda t, x: torch.zeros_like(t))
    loss, _ = convex_cost_action_matching(standing, paths["translation"].nodes(), p)
    (slope,) = torch.autograd.grad(loss, standing.parameter)
    assert bool(torch.isfinite(slope).all())
