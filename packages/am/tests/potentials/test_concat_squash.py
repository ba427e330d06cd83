"""The velocity and divergence that are written out are those of the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from am.potentials.concat_squash import ConcatSquashNetwork
from am.potentials.settings import ConcatSquashSettings
from am.randomness import generator

DIMENSION, RATE = 3, 4.0
TIME = torch.tensor([-0.25, 0.0, 0.3, 1.0], dtype=torch.float64)
depths = pytest.mark.parametrize("depth", [1, 3])


def points() -> Tensor:
    return 5 * torch.randn(4, DIMENSION, generator=generator("points"), dtype=torch.float64) + 2


def built(depth: int) -> ConcatSquashNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(depth)
        network = ConcatSquashNetwork(DIMENSION, ConcatSquashSettings(width=6, depth=depth), RATE).double()
    network.fit_scale(points())
    return network


def reference(network: ConcatSquashNetwork, time: float, x: np.ndarray) -> np.ndarray:
    """The field at a point, in numpy, after equation by equation."""
    weight = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    h, clock = (x - weight["centre"]) / weight["spread"], 0.5 + 0.5 * RATE * time
    for i in range(len(network.layers)):
        gate = 1 / (1 + np.exp(-(weight[f"gates.{i}.weight"][:, 0] * clock + weight[f"gates.{i}.bias"])))
        inner = weight[f"layers.{i}.weight"] @ (np.tanh(h) if i else h) + weight[f"layers.{i}.bias"]
        h = inner * gate + weight[f"shifts.{i}.weight"][:, 0] * clock
    return weight["spread"] * RATE * h


@depths
def test_it_is_the_field_of_the_formula(depth: int) -> None:
    network = built(depth)
    expected = [reference(network, float(t), x.numpy()) for t, x in zip(TIME, points(), strict=True)]
    torch.testing.assert_close(network(TIME, points()), torch.from_numpy(np.stack(expected)))


@depths
def test_the_divergence_is_the_trace_of_the_jacobian_and_can_be_differentiated(depth: int) -> None:
    network = built(depth)
    time, x = TIME.clone().requires_grad_(), points().requires_grad_()
    inputs = [time, x, *network.parameters()]
    velocity, told = network.with_divergence(time, x)
    same = network(time, x)
    columns = [torch.autograd.grad(same[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(DIMENSION)]
    trace = torch.stack(columns).sum(0)
    torch.testing.assert_close(velocity, same)
    torch.testing.assert_close(told, trace)
    ours, theirs = (
        torch.autograd.grad((torch.sin(v) + div[:, None] ** 2).sum(), inputs)
        for v, div in ((velocity, told), (same, trace))
    )
    torch.testing.assert_close(ours, theirs)
    assert all(float(gradient.abs().max()) > 1e-6 for gradient in ours)


def test_units_do_not_matter() -> None:
    network = built(2)
    metres, same = network.with_divergence(TIME, points())
    network.fit_scale(1000 * points() + 7)
    millimetres, divergence = network.with_divergence(TIME, 1000 * points() + 7)
    torch.testing.assert_close(millimetres, 1000 * metres)
    torch.testing.assert_close(divergence, same)
