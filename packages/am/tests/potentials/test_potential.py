"""Actions: their derivatives against automatic differentiation and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from am.marginals.gaussian import Gaussian
from am.potentials.build import build_potential
from am.potentials.light_bridge import LightBridge
from am.potentials.potential import Derivatives, Potential
from am.potentials.residual import ResidualPotential
from am.potentials.scaled import ScaledPotential
from am.potentials.settings import PotentialSettings

POINTS = Gaussian(
    lambda t: torch.stack([10 + t, -5 * t, 3 * torch.ones_like(t)], -1), lambda t: (2 + t)[:, None].expand(-1, 3)
)


def draw(n: int = 12) -> tuple[Tensor, Tensor]:
    time = torch.linspace(0, 1, n, dtype=torch.float64)
    return time, POINTS.sample(time, torch.Generator().manual_seed(0))


@pytest.fixture(params=["residual", "scaled"])
def potential(request: pytest.FixtureRequest) -> Potential:
    torch.manual_seed(0)
    settings = PotentialSettings(kind=request.param, width=16, depth=3)
    return build_potential(settings, POINTS, torch.Generator().manual_seed(0)).double()


def generic(potential: Potential, time: Tensor, x: Tensor) -> Derivatives:
    return Potential.derivatives(potential, time, x)


def loss(derivatives: Derivatives) -> Tensor:
    return (derivatives.space.square().sum(-1) + derivatives.time * derivatives.value.cos()).mean()


def test_derivatives_are_those_of_automatic_differentiation(potential: Potential) -> None:
    time, x = draw()
    assert type(potential).derivatives is not Potential.derivatives
    torch.testing.assert_close(tuple(potential.derivatives(time, x)), tuple(generic(potential, time, x)))


@pytest.mark.parametrize("form", ["own", "generic"])
def test_derivatives_match_finite_differences(potential: Potential, form: str) -> None:
    time, x = draw()
    value, ds_dt, ds_dx = potential.derivatives(time, x) if form == "own" else generic(potential, time, x)
    h = 1e-5
    torch.testing.assert_close(value, potential(time, x))
    slope = (potential(time + h, x) - potential(time - h, x)) / (2 * h)
    torch.testing.assert_close(ds_dt, slope, rtol=1e-6, atol=1e-7)
    for i, e in enumerate(h * torch.eye(3).double()):
        slope = (potential(time, x + e) - potential(time, x - e)) / (2 * h)
        torch.testing.assert_close(ds_dx[:, i], slope, rtol=1e-6, atol=1e-7)


def test_a_loss_of_derivatives_has_the_generic_gradient_in_the_parameters(potential: Potential) -> None:
    time, x = draw()
    parameters = list(potential.parameters())
    ours = torch.autograd.grad(loss(potential.derivatives(time, x)), parameters, materialize_grads=True)
    theirs = torch.autograd.grad(loss(generic(potential, time, x)), parameters, materialize_grads=True)
    torch.testing.assert_close(ours, theirs)
    assert any(float(g.abs().max()) > 1e-6 for g in ours)


def test_a_step_against_that_gradient_lowers_the_loss_by_its_square(potential: Potential) -> None:
    time, x = draw()
    before = loss(potential.derivatives(time, x))
    gradients = torch.autograd.grad(before, list(potential.parameters()), materialize_grads=True)
    square = sum(float(g.square().sum()) for g in gradients)
    step = 1e-6 / square**0.5
    with torch.no_grad():
        for parameter, gradient in zip(potential.parameters(), gradients, strict=True):
            parameter.sub_(step * gradient)
    after = loss(potential.derivatives(time, x))
    assert float((before - after).detach()) == pytest.approx(step * square, rel=1e-3)


def test_derivatives_can_be_differentiated_in_space(potential: Potential) -> None:
    time, x = draw()
    x.requires_grad_()

    def laplacian(derivatives: Derivatives) -> Tensor:
        parts = [torch.autograd.grad(derivatives.space[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(3)]
        return torch.stack(parts).sum(0)

    torch.testing.assert_close(laplacian(potential.derivatives(time, x)), laplacian(generic(potential, time, x)))


def test_gradient_is_the_detached_space_derivative(potential: Potential) -> None:
    time, x = draw()
    velocity = potential.gradient(time, x)
    assert not velocity.requires_grad
    torch.testing.assert_close(velocity, potential.derivatives(time, x).space.detach())


@pytest.mark.parametrize("form", ["own", "generic"])
def test_without_gradients_nothing_is_kept(potential: Potential, form: str) -> None:
    time, x = draw()
    with torch.no_grad():
        parts = potential.derivatives(time, x) if form == "own" else generic(potential, time, x)
    assert not any(part.requires_grad for part in parts)


class Linear(Potential):
    """s = v . x, which does not depend on time, and whose gradient does not depend on x."""

    def __init__(self) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        return x @ self.v


def test_an_action_that_does_not_depend_on_time_has_derivative_zero() -> None:
    time, x = draw()
    value, ds_dt, ds_dx = Linear().derivatives(time, x)
    torch.testing.assert_close(value, x @ Linear().v)
    assert torch.equal(ds_dt, torch.zeros(12).double())
    assert torch.equal(ds_dx, Linear().v.expand(12, 3))


def test_the_published_action_is_half_the_squared_distance_to_the_network() -> None:
    torch.manual_seed(0)
    potential = ResidualPotential(dimension=3, width=8, depth=2).double()
    time, x = draw()
    h = potential.network(torch.cat([time[:, None], x], -1))
    torch.testing.assert_close(potential(time, x), (x - h).norm(dim=-1) ** 2 / 2)


def test_a_scaled_action_does_not_care_about_units() -> None:
    torch.manual_seed(0)
    potential = ScaledPotential(dimension=3, width=8, depth=2, time_features=4).double()
    time, x = draw()
    potential.fit_scale(x)
    in_metres = potential.derivatives(time, x)
    potential.fit_scale(1000 * x + 7)
    in_millimetres = potential.derivatives(time, 1000 * x + 7)
    torch.testing.assert_close(in_millimetres.space, 1000 * in_metres.space)
    torch.testing.assert_close(in_millimetres.value, 1e6 * in_metres.value)


def test_fit_scale_takes_centre_and_root_mean_square() -> None:
    potential = ScaledPotential(dimension=2, width=8, depth=2, time_features=4)
    potential.fit_scale(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
    torch.testing.assert_close(potential.centre, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(potential.spread, torch.tensor(2.5).sqrt())


def test_building_takes_the_scale_from_the_marginals() -> None:
    settings = PotentialSettings(kind="scaled", width=8, depth=2)
    potential = build_potential(settings, POINTS, torch.Generator().manual_seed(0))
    assert isinstance(potential, ScaledPotential)
    torch.testing.assert_close(potential.centre, torch.tensor([10.5, -2.5, 3.0]), atol=0.15, rtol=0)
    # E s^2 over time is 19 / 3; the means spread with variances 1 / 12, 25 / 12, 0.
    torch.testing.assert_close(potential.spread, torch.tensor((19 / 3 + 26 / 36) ** 0.5), atol=0.1, rtol=0)


def test_a_light_bridge_obeys_the_equation_of_hamilton_jacobi_and_bellman_whatever_its_numbers_are() -> None:
    """ds/dt + |grad s|^2 / 2 + sigma^2 / 2 laplacian s = 0, on each interval."""
    torch.manual_seed(0)
    sigma, (time, x) = 0.7, draw(60)
    bridge = LightBridge(3, 4, torch.tensor([0.0, 0.3, 1.0]), sigma).double()
    bridge.fit_scale(x)
    for parameter in bridge.parameters():
        parameter.data += torch.randn_like(parameter)
    x.requires_grad_()
    _, ds_dt, ds_dx = bridge.derivatives(time, x)
    rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in ds_dx.unbind(-1)]
    curvature = torch.stack([row[:, i] for i, row in enumerate(rows)])
    terms = torch.stack([ds_dt, ds_dx.square().sum(-1) / 2, sigma**2 / 2 * curvature.sum(0)]).detach()
    assert float(terms.sum(0).abs().max()) < 1e-9 * float(terms.abs().mean())
    assert float(terms.abs().mean(1).min()) > 0.01 * float(terms.abs().mean())  # each of them counts
    torch.testing.assert_close(bridge.space(time, x), ds_dx)


def test_a_light_bridge_ends_as_its_mixture_of_gaussians() -> None:
    """exp(s / sigma^2) at an end is the mixture over the Gaussian that the reference process makes of a point."""
    torch.manual_seed(0)
    sigma, x = 0.7, torch.randn(50, 2).double()
    bridge = LightBridge(2, 3, torch.tensor([0.0, 1.0]), sigma).double()
    bridge.mean.data = torch.randn_like(bridge.mean)
    bridge.log_stretch.data = torch.randn_like(bridge.log_stretch)
    spread = (sigma**2 * bridge.log_stretch[0].exp()).sqrt()
    gaussians = torch.distributions.Normal(bridge.mean[0], spread).log_prob(x[:, None]).sum(-1).exp()
    adjusted = gaussians.sum(-1).log() + x.square().sum(-1) / (2 * sigma**2)
    found = bridge(torch.ones(50).double(), x) / sigma**2
    torch.testing.assert_close(found - found[0], adjusted - adjusted[0])
