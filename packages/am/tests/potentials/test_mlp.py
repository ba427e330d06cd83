"""The network and its hand-written pullback against automatic differentiation."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu

from am.potentials.mlp import MLP, silu_with_slope


@pytest.fixture
def network() -> MLP:
    torch.manual_seed(0)
    return MLP(inputs=3, outputs=2, width=16, depth=3).double()


POINTS = torch.randn(10, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_silu_with_slope_is_silu_and_its_derivative() -> None:
    z = torch.cat([torch.linspace(-40, 40, 401), torch.tensor([-1e4, 1e4])]).double().requires_grad_()
    value, slope = silu_with_slope(z)
    torch.testing.assert_close(value, silu(z))
    torch.testing.assert_close(slope, torch.autograd.grad(silu(z).sum(), z)[0])
    assert bool(torch.isfinite(slope).all())


def test_silu_with_slope_passes_gradient_checks() -> None:
    z = torch.tensor([-6.0, -1.5, -0.1, 0.0, 0.3, 2.0, 7.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(silu_with_slope, z)
    assert torch.autograd.gradgradcheck(silu_with_slope, z)
    assert torch.autograd.gradcheck(lambda y: silu_with_slope(y)[0], z)  # with either output unused
    assert torch.autograd.gradcheck(lambda y: silu_with_slope(y)[1], z)


def test_forward_has_the_stated_layers(network: MLP) -> None:
    hidden = POINTS
    for layer in network.hidden:
        hidden = hidden @ layer.weight.T + layer.bias
        hidden = hidden / (1 + torch.exp(-hidden))
    torch.testing.assert_close(network(POINTS), hidden @ network.last.weight.T + network.last.bias)
    assert [tuple(layer.weight.shape) for layer in network.hidden] == [(16, 3), (16, 16), (16, 16)]
    assert tuple(network.last.weight.shape) == (2, 16)


def test_pullback_is_the_vector_jacobian_product(network: MLP) -> None:
    cotangent = torch.randn(10, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = POINTS.clone().requires_grad_()
    value, pullback = network.with_pullback(x)
    torch.testing.assert_close(value, network(x))
    torch.testing.assert_close(pullback(cotangent), torch.autograd.grad(network(x), x, cotangent)[0])


def test_pullback_can_be_differentiated_in_parameters_and_inputs(network: MLP) -> None:
    cotangent = torch.randn(10, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = POINTS.clone().requires_grad_()
    wanted = [x, *network.parameters()]
    ours = network.with_pullback(x)[1](cotangent).square().sum()
    generic = torch.autograd.grad(network(x), x, cotangent, create_graph=True)[0].square().sum()
    torch.testing.assert_close(
        torch.autograd.grad(ours, wanted, materialize_grads=True),
        torch.autograd.grad(generic, wanted, materialize_grads=True),
    )
