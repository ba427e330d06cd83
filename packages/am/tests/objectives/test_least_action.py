"""The residual vanishes for a value function that is known, and for no other."""

from __future__ import annotations

import torch
from torch import Tensor

from am.objectives.least_action import action_and_residual
from am.potentials.neural_sde import NeuralSde
from am.potentials.settings import DiffusionSettings, OTFlowSettings
from am.randomness import generator

VELOCITY = torch.tensor([3.0, -4.0], dtype=torch.float64)


def points() -> tuple[Tensor, Tensor]:
    rng = generator("points")
    return torch.rand(30, generator=rng, dtype=torch.float64), 5 * torch.randn(
        30, 2, generator=rng, dtype=torch.float64
    )


def network() -> NeuralSde:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = NeuralSde(2, OTFlowSettings(width=8), DiffusionSettings(width=8), rate=2.0).double()
    made.fit_scale(points()[1])
    return made


def affine(slope_in_time: float) -> NeuralSde:
    """Phi = -v . x + c t, whatever the noise."""
    made = network()
    potential = made.potential
    for weight in (potential.weight.weight, potential.root.weight):
        torch.nn.init.zeros_(weight)
    with torch.no_grad():
        potential.slope[:2] = -VELOCITY / (potential.spread * potential.rate)
        potential.slope[2] = slope_in_time / (potential.spread * potential.rate) ** 2
    return made


def test_a_constant_velocity_has_its_value_function_and_its_action() -> None:
    """Phi = -v . x + |v|^2 t / 2: its gradient is -v, and it solves the equation."""
    action, residual = action_and_residual(affine(12.5), *points())
    torch.testing.assert_close(action, torch.full_like(action, 12.5))
    assert float(residual.abs().max().detach()) < 1e-9
    _, wrong = action_and_residual(affine(-12.5), *points())
    torch.testing.assert_close(wrong, torch.full_like(wrong, 25.0))


def test_both_are_what_automatic_differentiation_says() -> None:
    made = network()
    time, x = (part.requires_grad_() for part in points())
    value = made.potential(time, x)
    ds_dt, ds_dx = torch.autograd.grad(value.sum(), (time, x), create_graph=True)
    noise = made.sigma(time, x)
    curved = sum(
        noise[:, i] ** 2 * torch.autograd.grad(ds_dx[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2)
    )
    drift = made.drift(time, x)
    # What a controller that pays |u|^2 / 2 expects to lose: dPhi/dt + u . grad Phi + |u|^2 / 2 + diffusion = 0.
    expected = ds_dt + (drift * ds_dx).sum(-1) + drift.square().sum(-1) / 2 + curved / 2
    action, residual = action_and_residual(made, time, x)
    torch.testing.assert_close(action, drift.square().sum(-1) / 2)
    torch.testing.assert_close(residual, expected.abs())
    assert float(residual.min().detach()) >= 0
    assert float(noise.abs().min().detach()) > 0
    assert float(expected.std().detach()) > 0.01
