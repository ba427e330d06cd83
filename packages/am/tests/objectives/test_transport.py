"""Exact transport and the density loss against closed forms and independent computations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from am.metrics.transport import wasserstein2
from am.objectives.transport import density_loss, transport_loss
from am.randomness import generator


def cloud(n: int, name: str) -> Tensor:
    return torch.randn(n, 3, generator=generator(name), dtype=torch.float64)


def test_transport_is_the_square_of_the_distance_w2() -> None:
    x, y = cloud(30, "x"), 2 * cloud(20, "y") + 1
    assert float(transport_loss(x, y)) == pytest.approx(wasserstein2(x, y) ** 2, rel=1e-6)


def test_its_gradient_is_that_of_finite_differences() -> None:
    x, y = cloud(30, "x").requires_grad_(), 2 * cloud(20, "y") + 1
    (gradient,) = torch.autograd.grad(transport_loss(x, y), x)
    direction = cloud(30, "direction")
    with torch.no_grad():
        slope = (transport_loss(x + 1e-5 * direction, y) - transport_loss(x - 1e-5 * direction, y)) / 2e-5
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_density_counts_what_is_beyond_the_hinge_to_each_of_the_nearest() -> None:
    cells = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 10.0]])
    x = torch.tensor([[0.0, 4.0], [0.0, 0.5]], requires_grad=True)
    # Distances 4, 5, 6 and 0.5, 3.04, 9.5; of each the two nearest, less one.
    expected = ((4 - 1) + (5 - 1) + 0 + (9.25**0.5 - 1)) / 2
    loss = density_loss(x, cells, 2, 1.0)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, x)
    # Half a unit vector away from each cell that counts; the one within the hinge does not.
    away = [torch.tensor([0.0, 4.0]) / 4 + torch.tensor([-3.0, 4.0]) / 5, torch.tensor([-3.0, 0.5]) / 9.25**0.5]
    torch.testing.assert_close(gradient, torch.stack(away) / 2)


def test_more_neighbours_than_cells_are_all_cells() -> None:
    x, cells = cloud(4, "x"), cloud(3, "cells")
    torch.testing.assert_close(density_loss(x, cells, 10, 0.0), torch.cdist(x, cells).sum(1).mean())
