"""The Sinkhorn loss against the metric of that name, closed forms, and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from am.metrics.sinkhorn import sinkhorn_divergence
from am.objectives.sinkhorn import sinkhorn_loss
from am.randomness import generator

BLUR = 0.05


def cloud(n: int, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, 3, generator=generator(name), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("blur", [0.05, 0.5])
def test_it_is_the_metric(blur: float, dtype: torch.dtype) -> None:
    x, y = cloud(60, "x", dtype), 1.5 * cloud(40, "y", dtype) + 0.5
    assert float(sinkhorn_loss(x, y, blur)) == pytest.approx(sinkhorn_divergence(x, y, blur), rel=0.03)


def test_it_is_nothing_between_a_sample_and_itself() -> None:
    x = cloud(50, "x")
    assert abs(float(sinkhorn_loss(x, x, BLUR))) < 1e-6


def test_a_shift_costs_half_its_square_and_the_gradient_shifts_back() -> None:
    x = cloud(50, "x").requires_grad_()
    shift = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    loss = sinkhorn_loss(x, x.detach() + shift, BLUR)
    assert float(loss.detach()) == pytest.approx(float(shift.square().sum()) / 2, rel=0.01)
    (gradient,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(gradient.sum(0), -shift, rtol=0.01, atol=0.02)


def test_the_gradient_is_that_of_finite_differences() -> None:
    x, y = cloud(60, "x").requires_grad_(), 1.5 * cloud(40, "y") + 0.5
    (gradient,) = torch.autograd.grad(sinkhorn_loss(x, y, BLUR), x)
    h = 1e-3 / float(gradient.detach().norm())
    with torch.no_grad():
        slope = sinkhorn_loss(x + h * gradient, y, BLUR) - sinkhorn_loss(x - h * gradient, y, BLUR)
    assert float(gradient.detach().norm()) > 0.01
    assert float(slope.detach()) / (2 * h) == pytest.approx(float(gradient.detach().square().sum()), rel=0.05)


def test_points_that_follow_the_gradient_become_the_sample() -> None:
    x, y = cloud(40, "x"), 2 * cloud(40, "y") + 1
    before = sinkhorn_divergence(x, y)
    for _ in range(30):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(sinkhorn_loss(x, y, BLUR), x)
        x = (x - 0.5 * len(x) * gradient).detach()
    assert sinkhorn_divergence(x, y) < 0.1 * before
