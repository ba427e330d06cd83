"""Entropic Action Matching: the drift of a diffusion whose marginals are given."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from am.marginals.gaussian import Gaussian
from am.objectives.action_matching import action_matching
from am.objectives.entropic import entropic_action_matching, laplacian
from am.objectives.path import WEIGHTS, draw_path
from am.potentials.residual import ResidualPotential

SIGMA = 0.7
EXACT = {"rel": 1e-9, "abs": 1e-10}


@pytest.fixture
def optimal(path, action):
    """s* of the entropic form adds sigma^2 / 2 log q to that of the plain one, by Fokker and Planck's equation."""
    return action(lambda t, x: path.action(t, x) + SIGMA**2 / 2 * path.marginals.log_density(t, x))


def test_the_optimal_loss_is_minus_the_kinetic_energy_of_the_drift(path, weight, optimal, half_square_gradient) -> None:
    nodes = path.nodes()
    loss, _ = entropic_action_matching(optimal, nodes, SIGMA, weight)
    assert float(loss.detach()) == pytest.approx(-half_square_gradient(optimal.known, nodes, weight), **EXACT)


def test_the_gap_is_half_the_mean_square_error_of_the_drift(path, weight, optimal, half_square_gradient) -> None:
    nodes, perturbed = path.nodes(), optimal.perturbed()
    losses = [entropic_action_matching(s, nodes, SIGMA, weight)[0].detach() for s in (perturbed, optimal)]
    known = half_square_gradient(perturbed.change, nodes, weight)
    assert float(losses[0] - losses[1]) == pytest.approx(known, **EXACT)


def test_the_optimum_is_stationary(path, weight, optimal) -> None:
    loss, _ = entropic_action_matching(optimal, path.nodes(), SIGMA, weight)
    (slope,) = torch.autograd.grad(loss, optimal.parameter)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-10, rtol=0)


def test_without_noise_it_is_action_matching(path, weight, optimal) -> None:
    perturbed, nodes = optimal.perturbed(), path.nodes()
    entropic = entropic_action_matching(perturbed, nodes, 0.0, weight)[0].detach()
    plain = action_matching(perturbed, nodes, weight)[0].detach()
    torch.testing.assert_close(entropic, plain)


def ornstein_uhlenbeck(rate: float) -> Gaussian:
    """dx = -rate x dt + sigma dW from N((2, -1), 0.3^2); Brownian motion for rate 0."""

    def variance(t: Tensor) -> Tensor:
        decay = torch.exp(-2 * rate * t)
        grown = (1 - decay) / (2 * rate) if rate else t
        return 0.09 * decay + SIGMA**2 * grown

    return Gaussian(
        lambda t: torch.exp(-rate * t)[:, None] * torch.tensor([2.0, -1.0]).to(t), lambda t: variance(t).sqrt()[:, None]
    )


@pytest.mark.parametrize("rate", [0.0, 1.5])
@pytest.mark.parametrize("form", ["exact", "hutchinson"])
def test_the_drift_of_a_known_diffusion_is_the_optimum(rate: float, form: str, action) -> None:
    # From draws: loss and gradient within their standard errors.
    process = ornstein_uhlenbeck(rate)
    known_drift = action(lambda t, x: -rate * x.square().sum(-1) / 2)
    generator = torch.Generator().manual_seed(0)
    losses, gradients = [], []
    for _ in range(64):
        time = torch.rand(1000, generator=generator, dtype=torch.float64)
        sample = draw_path(process, time, 1000, generator)
        probe = None
        if form == "hutchinson":
            probe = 2.0 * torch.randint(0, 2, sample.x.shape, generator=generator).double() - 1
        loss, _ = entropic_action_matching(known_drift, sample, SIGMA, probe=probe)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, known_drift.parameter)[0])
    value, slope = torch.stack(losses), torch.stack(gradients)
    time = torch.linspace(0, 1, 2001, dtype=torch.float64)
    second_moment = process.mean(time).square().sum(-1) + 2 * process.scale(time)[:, 0] ** 2
    energy = rate**2 / 2 * float(torch.trapezoid(second_moment, time))
    assert abs(float(value.mean()) + energy) <= 4 * float(value.std()) / 8
    assert bool((slope.mean(0).abs() < 4 * slope.std(0) / 8).all())
    # Without its diffusion term the loss is not stationary there, and the draws are many enough to tell.
    plain = torch.stack(
        [
            torch.autograd.grad(
                action_matching(known_drift, draw_path(process, time, 1000, generator))[0], known_drift.parameter
            )[0]
            for time in torch.rand(64, 1000, generator=generator, dtype=torch.float64)
        ]
    )
    assert not bool((plain.mean(0).abs() < 4 * plain.std(0) / 8).all())


@pytest.fixture
def network() -> ResidualPotential:
    torch.manual_seed(0)
    return ResidualPotential(dimension=2, width=16, depth=2).double()


def test_laplacian_is_the_trace_of_the_hessian(network: ResidualPotential, paths) -> None:
    nodes = paths["both"].nodes(order=2)
    x = nodes.x.clone().requires_grad_()
    ours = laplacian(network.derivatives(nodes.time, x).space, x).detach()
    for i in range(0, len(x), 7):

        def at(point: Tensor, i: int = i) -> Tensor:
            return network(nodes.time[i : i + 1], point[None])[0]

        hessian = torch.autograd.functional.hessian(at, nodes.x[i])
        assert float(ours[i]) == pytest.approx(float(hessian.trace()), **EXACT)


def test_hutchinsons_form_is_unbiased_for_the_loss_and_its_gradient(network: ResidualPotential, paths) -> None:
    # Over the four sign vectors its mean is an expectation, not an estimate.
    nodes = paths["both"].nodes(order=3)
    parameters = list(network.parameters())

    def loss_and_gradient(probe: Tensor | None) -> tuple[Tensor, ...]:
        loss, _ = entropic_action_matching(network, nodes, SIGMA, WEIGHTS["decreasing"], probe)
        return loss.detach(), *torch.autograd.grad(loss, parameters, materialize_grads=True)

    signs = [torch.tensor(s, dtype=torch.float64).expand_as(nodes.x) for s in product((-1.0, 1.0), repeat=2)]
    estimates = [loss_and_gradient(probe) for probe in signs]
    exact = loss_and_gradient(None)
    for parts, known in zip(zip(*estimates, strict=True), exact, strict=True):
        torch.testing.assert_close(torch.stack(parts).mean(0), known, rtol=1e-9, atol=1e-10)
    assert abs(float(estimates[0][0] - estimates[1][0])) > 1e-6  # single estimates do differ


def test_hutchinsons_form_is_unbiased_for_normal_directions(network: ResidualPotential, paths) -> None:
    sample = paths["both"].nodes(order=2)
    x = sample.x.clone().requires_grad_()
    gradient = network.derivatives(sample.time, x).space
    exact = laplacian(gradient, x).detach()
    generator = torch.Generator().manual_seed(0)
    estimates = torch.stack(
        [
            laplacian(gradient, x, torch.randn(x.shape, generator=generator, dtype=x.dtype)).mean().detach()
            for _ in range(400)
        ]
    )
    assert abs(float(estimates.mean() - exact.mean())) < 4 * float(estimates.std()) / math.sqrt(400)


def test_the_diffusion_part_is_reported(path, optimal) -> None:
    _, diagnostics = entropic_action_matching(optimal, path.nodes(), SIGMA)
    nodes = path.nodes()
    x = nodes.x.clone().requires_grad_()
    trace = laplacian(optimal.derivatives(nodes.time, x).space, x)
    assert float(diagnostics["diffusion"]) == pytest.approx(float(nodes.mean(SIGMA**2 / 2 * trace).detach()), **EXACT)


def test_an_action_with_constant_gradient_has_no_laplacian(paths, action) -> None:
    path = paths["translation"]
    loss, diagnostics = entropic_action_matching(action(path.action), path.nodes(), SIGMA)
    assert float(diagnostics["diffusion"]) == 0
    assert float(loss.detach()) == pytest.approx(-1.25, **EXACT)
