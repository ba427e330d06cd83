"""Derivatives that are written out are those of automatic differentiation, and units do not matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from am.potentials.ot_flow_potential import OTFlowPotential
from am.potentials.settings import OTFlowSettings
from am.randomness import generator

N, DIMENSION = 20, 3


def built(depth: int, rank: int = 2, rate: float = 3.0) -> OTFlowPotential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        potential = OTFlowPotential(DIMENSION, OTFlowSettings(width=8, depth=depth, rank=rank), rate).double()
        torch.nn.init.normal_(potential.slope)
    potential.fit_scale(points())
    return potential


def points() -> Tensor:
    scale = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    return 5 + scale * torch.randn(N, DIMENSION, generator=generator("points"), dtype=torch.float64)


TIME = torch.linspace(0, 1, N, dtype=torch.float64)
depths = pytest.mark.parametrize("depth", [2, 4])


def reference(potential: OTFlowPotential, time: Tensor, x: Tensor) -> Tensor:
    """The formula of the paper, one point at a time, in scaled coordinates."""
    rows = []
    for t, point in zip(time, x, strict=True):
        z = torch.cat([(point - potential.centre) / potential.spread, potential.rate * t[None]])
        u = torch.log(2 * torch.cosh(potential.opening.weight @ z + potential.opening.bias))
        for layer in potential.residual:
            u = u + torch.log(2 * torch.cosh(layer.weight @ u + layer.bias)) / len(potential.residual)
        matrix = potential.root.weight.T @ potential.root.weight
        rows.append(potential.weight.weight[0] @ u + z @ matrix @ z / 2 + potential.slope @ z)
    return potential.spread**2 * potential.rate * torch.stack(rows)


@depths
def test_values_and_derivatives_are_those_of_the_formula(depth: int) -> None:
    potential = built(depth)
    time, x = TIME.clone().requires_grad_(), points().requires_grad_()
    value = reference(potential, time, x)
    ds_dt, ds_dx = torch.autograd.grad(value.sum(), (time, x), create_graph=True)
    second = [torch.autograd.grad(ds_dx[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(DIMENSION)]
    first, diagonal = potential.with_hessian_diagonal(time, x)
    for told in (first, potential.derivatives(time, x)):
        torch.testing.assert_close(told.value, value)
        torch.testing.assert_close(told.time, ds_dt)
        torch.testing.assert_close(told.space, ds_dx)
    torch.testing.assert_close(diagonal, torch.stack(second, -1))
    torch.testing.assert_close(potential(time, x), value)


@depths
def test_second_derivatives_can_be_differentiated_in_place_and_parameters(depth: int) -> None:
    potential = built(depth)
    time, x = TIME, points().requires_grad_()
    inputs = [x, *potential.parameters()]

    def loss(space: Tensor, diagonal: Tensor) -> Tensor:
        return (space.square() * torch.sin(diagonal)).sum()

    first, diagonal = potential.with_hessian_diagonal(time, x)
    ours = torch.autograd.grad(loss(first.space, diagonal), inputs, materialize_grads=True)
    (ds_dx,) = torch.autograd.grad(reference(potential, time, x).sum(), x, create_graph=True)
    second = [torch.autograd.grad(ds_dx[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(DIMENSION)]
    theirs = torch.autograd.grad(loss(ds_dx, torch.stack(second, -1)), inputs, materialize_grads=True)
    torch.testing.assert_close(ours, theirs)
    assert all(float(gradient.abs().max()) > 1e-6 for gradient in ours)


def test_the_quadratic_has_the_rank_asked_for_but_not_more_than_the_data() -> None:
    assert built(2, rank=2).root.out_features == 2
    assert built(2, rank=10).root.out_features == DIMENSION


def test_large_inputs_do_not_overflow() -> None:
    potential = built(2)
    first, diagonal = potential.with_hessian_diagonal(TIME, 1e6 * points())
    assert all(bool(part.isfinite().all()) for part in (*first, diagonal))


def test_units_do_not_matter() -> None:
    potential = built(2)
    metres, diagonal = potential.with_hessian_diagonal(TIME, points())
    potential.fit_scale(1000 * points() + 7)
    millimetres, same = potential.with_hessian_diagonal(TIME, 1000 * points() + 7)
    torch.testing.assert_close(millimetres.space, 1000 * metres.space)
    torch.testing.assert_close(millimetres.time, 1e6 * metres.time)
    torch.testing.assert_close(same, diagonal)
