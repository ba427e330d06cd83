"""Log-likelihoods of flows: normalised, equal to closed forms, unbiased."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from am.dynamics.likelihood import divergence, log_likelihood
from am.dynamics.ode import integrate
from am.dynamics.settings import OdeSettings
from am.marginals.gaussian import Gaussian
from am.potentials.scaled import ScaledPotential

FINE = OdeSettings(rtol=1e-8, atol=1e-8)


def standard_normal(x: Tensor) -> Tensor:
    return -(x.square() / 2 + math.log(2 * math.pi) / 2).sum(-1)


def wavy(time: Tensor, x: Tensor) -> Tensor:
    """Nonlinear, bounded, and not a gradient field in two dimensions."""
    shifted = x.roll(1, -1)
    return torch.sin(1.5 * x + time[:, None]) + 0.5 * torch.cos(shifted) * torch.cos(3 * time)[:, None]


@pytest.mark.parametrize("dimension", [1, 2])
def test_density_of_a_nonlinear_flow_integrates_to_one(dimension: int) -> None:
    # The trapezoidal rule converges exponentially for smooth densities that vanish at both ends.
    axis = torch.linspace(-8, 8, 400 if dimension == 1 else 200, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    settings = OdeSettings(rtol=1e-6, atol=1e-6)
    log_density, _, _ = log_likelihood(wavy, grid, standard_normal, settings)
    assert float(log_density.exp().sum() * (axis[1] - axis[0]) ** dimension) == pytest.approx(1, abs=1e-4)
    assert float((log_density - standard_normal(grid)).abs().max()) > 0.5  # the flow does something


def test_density_of_a_nonlinear_flow_is_that_of_the_particles_it_moves() -> None:
    # In one dimension a flow keeps the order: the density is that of the start over the slope of the map.
    start = torch.linspace(-3, 3, 41, dtype=torch.float64)[:, None]
    h = 1e-5

    def move(x: Tensor) -> Tensor:
        return integrate(wavy, x, torch.tensor([0.0, 1.0]), OdeSettings(rtol=1e-11, atol=1e-11)).x[-1]

    slope = (move(start + h) - move(start - h)) / (2 * h)
    ours, back, _ = log_likelihood(wavy, move(start), standard_normal, FINE)
    torch.testing.assert_close(back, start, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours, standard_normal(start) - slope[:, 0].log(), atol=1e-5, rtol=0)


MATRIX = torch.tensor([[-0.4, 2.0, 0.0], [-2.0, 0.3, 0.3], [0.5, 0.0, 0.2]], dtype=torch.float64)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize(("begin", "end"), [(0.0, 1.0), (0.25, 0.8)])
def test_a_linear_flow_has_the_normal_density_of_its_matrix_exponential(method: str, begin: float, end: float) -> None:
    flow = torch.matrix_exp(MATRIX * (end - begin))
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    known = torch.distributions.MultivariateNormal(torch.zeros(3).double(), flow @ flow.T).log_prob(x)
    settings = OdeSettings(method=method, rtol=1e-8, atol=1e-8, steps=100)
    ours, start, nfe = log_likelihood(lambda t, y: y @ MATRIX.T, x, standard_normal, settings, begin, end)
    torch.testing.assert_close(ours, known, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(start @ flow.T, x, rtol=1e-6, atol=1e-6)
    if method == "rk4":
        assert nfe == 4 * round(100 * (end - begin))


def test_a_path_that_its_velocity_moves_has_its_own_density() -> None:
    path = Gaussian(lambda t: torch.stack([torch.cos(t), t**2], -1), lambda t: torch.stack([torch.exp(-t), 1 + t], -1))
    one = torch.ones(40, dtype=torch.float64)
    x = path.sample(one, torch.Generator().manual_seed(0))
    ours, _, _ = log_likelihood(path.velocity, x, lambda y: path.log_density(0 * one, y), FINE)
    torch.testing.assert_close(ours, path.log_density(one, x), rtol=1e-6, atol=1e-6)


def test_the_divergence_is_exact_and_hutchinsons_is_unbiased_for_it() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    time = torch.full((20,), 0.3, dtype=torch.float64)
    velocity, exact = divergence(wavy, time, x)
    torch.testing.assert_close(velocity, wavy(time, x))
    torch.testing.assert_close(exact, (1.5 * torch.cos(1.5 * x + 0.3)).sum(-1))
    signs = [torch.tensor(s, dtype=torch.float64).expand(20, 2) for s in product((-1.0, 1.0), repeat=2)]
    estimates = torch.stack([divergence(wavy, time, x, probe)[1] for probe in signs])
    torch.testing.assert_close(estimates.mean(0), exact)
    assert float((estimates - exact).abs().max()) > 0.1
    assert not exact.requires_grad
    assert not velocity.requires_grad


def test_hutchinsons_log_likelihood_is_unbiased() -> None:
    x = torch.tensor([[0.4, -0.7]], dtype=torch.float64)
    exact, start, _ = log_likelihood(wavy, x, standard_normal, FINE)
    n = 400
    settings = OdeSettings(rtol=1e-6, atol=1e-6)
    generator = torch.Generator().manual_seed(0)
    estimates, starts, _ = log_likelihood(wavy, x.expand(n, 2), standard_normal, settings, generator=generator)
    torch.testing.assert_close(starts, start.expand(n, 2), atol=1e-4, rtol=0)
    assert float(estimates.std()) > 0.01
    assert abs(float(estimates.mean() - exact)) < 4 * float(estimates.std()) / math.sqrt(n) + 1e-4


def test_an_action_gives_its_likelihood_through_its_derivatives() -> None:
    torch.manual_seed(0)
    potential = ScaledPotential(dimension=2, width=16, depth=2, time_features=2).double()
    axis = torch.linspace(-8, 8, 80, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    settings = OdeSettings(rtol=1e-5, atol=1e-5)
    log_density, _, _ = log_likelihood(
        lambda t, x: 10 * potential.derivatives(t, x).space, grid, standard_normal, settings
    )
    assert float(log_density.exp().sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-3)
    assert np.abs((log_density - standard_normal(grid)).numpy()).max() > 0.1


def test_a_detached_velocity_is_refused_instead_of_taken_for_incompressible() -> None:
    torch.manual_seed(0)
    potential = ScaledPotential(dimension=2, width=8, depth=1, time_features=2)
    with pytest.raises(ValueError, match="cannot be differentiated in x"):
        log_likelihood(potential.gradient, torch.zeros(3, 2), standard_normal, OdeSettings())


def test_a_field_that_diverges_is_one_clear_error() -> None:
    x = 2 + torch.rand(5, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(ValueError, match="diverges"):
        log_likelihood(lambda t, y: -(y**4), x, standard_normal, OdeSettings())


def test_one_point_is_enough() -> None:
    x = torch.tensor([[0.3]], dtype=torch.float64)
    ours, _, _ = log_likelihood(lambda t, y: 0.5 * y, x, standard_normal, FINE)
    assert float(ours) == pytest.approx(float(standard_normal(x * math.exp(-0.5))) - 0.5, abs=1e-6)
