"""The mixture path against SciPy and the continuity equation with growth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from am.marginals.marginals import ScoredMarginals
from am.marginals.mixture import GaussianMixture


def means(t: Tensor) -> Tensor:
    ones = torch.ones_like(t)
    return torch.stack(
        [torch.stack([t, -ones], -1), torch.stack([2 * ones, t**2], -1), torch.stack([-ones, torch.sin(t)], -1)], 1
    )


def masses(t: Tensor) -> Tensor:
    return torch.stack([torch.exp(t), 2 - t, torch.ones_like(t)], -1)


PATH = GaussianMixture(means, masses, scale=0.7)


def points(n: int = 200) -> tuple[Tensor, Tensor]:
    time = torch.linspace(0.05, 0.95, n, dtype=torch.float64)
    return time, PATH.sample(time, torch.Generator().manual_seed(0))


def test_log_density_is_scipys() -> None:
    time, x = points(50)
    for t, point, ours in zip(time, x, PATH.log_density(time, x), strict=True):
        mass = np.array([np.exp(float(t)), 2 - float(t), 1.0])
        parts = [stats.multivariate_normal(m.numpy(), 0.49 * np.eye(2)).pdf(point.numpy()) for m in means(t[None])[0]]
        assert float(ours) == pytest.approx(np.log(mass / mass.sum() @ parts), abs=1e-12)


def test_score_is_the_gradient_of_the_log_density() -> None:
    time, x = points()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(PATH.log_density(time, x).sum(), x)
    torch.testing.assert_close(PATH.score(time, x), gradient)


def test_velocity_and_growth_solve_the_continuity_equation() -> None:
    time, x = points()
    time.requires_grad_()
    x.requires_grad_()
    (change,) = torch.autograd.grad(PATH.log_density(time, x).sum(), time)
    velocity, growth = PATH.velocity(time, x), PATH.growth(time, x)
    divergence = sum(torch.autograd.grad(velocity[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2))
    # d log q / dt = -div v - v . grad log q + g
    torch.testing.assert_close(change, -divergence - (velocity * PATH.score(time, x)).sum(-1) + growth)
    assert float(growth.detach().abs().mean()) > 0.1


def test_growth_moves_no_mass_in_total() -> None:
    time = torch.full((100_000,), 0.6, dtype=torch.float64)
    growth = PATH.growth(time, PATH.sample(time, torch.Generator().manual_seed(1)))
    assert abs(float(growth.mean())) < 4 * float(growth.std()) / len(time) ** 0.5


def test_growth_inside_a_lonely_component_is_the_rate_of_its_share() -> None:
    apart = GaussianMixture(
        lambda t: torch.tensor([[-50.0], [50.0]], dtype=t.dtype).expand(len(t), 2, 1),
        lambda t: torch.stack([torch.exp(0.5 * t), 3 * torch.exp(-t)], -1),
        scale=1.0,
    )
    t = torch.tensor([0.4, 0.4], dtype=torch.float64)
    share = np.exp(0.2) / (np.exp(0.2) + 3 * np.exp(-0.4))
    exact = torch.tensor([1.5 * (1 - share), -1.5 * share], dtype=torch.float64)  # logistic
    torch.testing.assert_close(apart.growth(t, torch.tensor([[-50.0], [50.0]], dtype=torch.float64)), exact)
    torch.testing.assert_close(apart.velocity(t, torch.zeros(2, 1).double()), torch.zeros(2, 1).double())


def test_components_that_move_as_one_are_moved_by_one_velocity() -> None:
    centres = torch.tensor([[0.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    moving = GaussianMixture(
        lambda t: centres.to(t) + torch.stack([3 * t, torch.zeros_like(t)], -1)[:, None],
        lambda t: torch.tensor([1.0, 2.0]).to(t).expand(len(t), 2),
        scale=1.0,
    )
    time = torch.linspace(0, 1, 20, dtype=torch.float64)
    x = moving.sample(time, torch.Generator().manual_seed(0))
    torch.testing.assert_close(moving.velocity(time, x), torch.tensor([3.0, 0.0]).double().expand(20, 2))
    torch.testing.assert_close(moving.growth(time, x), torch.zeros(20).double())


@pytest.mark.parametrize("time", [0.0, 0.8])
def test_draws_follow_the_path(time: float) -> None:
    t = torch.full((20_000,), time, dtype=torch.float64)
    x = PATH.sample(t, torch.Generator().manual_seed(2))
    mass = np.array([np.exp(time), 2 - time, 1.0])
    centres = means(t[:1])[0].numpy()
    for i in range(2):

        def cdf(value: np.ndarray, i: int = i) -> np.ndarray:
            return stats.norm.cdf(value[:, None], centres[:, i], 0.7) @ (mass / mass.sum())

        assert stats.kstest(x[:, i].numpy(), cdf).pvalue > 1e-3


def test_is_a_path_of_marginals_with_a_score() -> None:
    assert isinstance(PATH, ScoredMarginals)
    assert PATH.dimension == 2
    x = PATH.sample(torch.zeros(3), torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32
    assert torch.equal(x, PATH.sample(torch.zeros(3), torch.Generator().manual_seed(0)))
