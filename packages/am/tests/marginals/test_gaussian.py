"""The Gaussian path against SciPy and the continuity equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from am.marginals.gaussian import Gaussian, time_derivative
from am.marginals.marginals import ScoredMarginals

VELOCITY = torch.tensor([1.5, -0.5], dtype=torch.float64)


def translation(t: Tensor) -> Tensor:
    return 0.3 + t[:, None] * VELOCITY.to(t)


def bend(t: Tensor) -> Tensor:
    return torch.stack([torch.cos(t), t**2], -1)


PATHS = {
    "translation": Gaussian(translation, lambda t: torch.full((len(t), 1), 0.8).to(t)),
    "scaling": Gaussian(lambda t: torch.zeros(len(t), 2).to(t), lambda t: (0.5 + t)[:, None]),
    "both, by coordinate": Gaussian(bend, lambda t: torch.stack([torch.exp(-t), 1 + t], -1)),
}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Gaussian:
    return PATHS[request.param]


def points(path: Gaussian, n: int = 200) -> tuple[Tensor, Tensor]:
    time = torch.linspace(0.05, 0.95, n, dtype=torch.float64)
    return time, path.sample(time, torch.Generator().manual_seed(0))


def test_log_density_is_scipys(path: Gaussian) -> None:
    time, x = points(path)
    for t, point, ours in zip(time, x, path.log_density(time, x), strict=True):
        scale = path.scale(t[None])[0].expand(2)
        exact = stats.multivariate_normal(path.mean(t[None])[0].numpy(), np.diag(scale.numpy() ** 2))
        assert float(ours) == pytest.approx(exact.logpdf(point.numpy()), abs=1e-12)


def test_score_is_the_gradient_of_the_log_density(path: Gaussian) -> None:
    time, x = points(path)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(path.log_density(time, x).sum(), x)
    torch.testing.assert_close(path.score(time, x), gradient)


def test_velocity_solves_the_continuity_equation_and_is_a_gradient(path: Gaussian) -> None:
    time, x = points(path)
    time.requires_grad_()
    x.requires_grad_()
    (change,) = torch.autograd.grad(path.log_density(time, x).sum(), time)
    velocity = path.velocity(time, x)
    jacobian = torch.stack([torch.autograd.grad(velocity[:, i].sum(), x, retain_graph=True)[0] for i in range(2)], 1)
    divergence = jacobian.diagonal(dim1=1, dim2=2).sum(-1)
    # d log q / dt + div v + v . grad log q = 0
    torch.testing.assert_close(change, -divergence - (velocity * path.score(time, x)).sum(-1))
    torch.testing.assert_close(jacobian, jacobian.mT)


def test_velocity_of_a_translation_is_constant() -> None:
    time, x = points(PATHS["translation"])
    torch.testing.assert_close(PATHS["translation"].velocity(time, x), VELOCITY.expand_as(x))


def test_draws_follow_the_path(path: Gaussian) -> None:
    time = torch.tensor([0.2, 0.9], dtype=torch.float64).repeat(20_000)
    z = (path.sample(time, torch.Generator().manual_seed(1)) - path.mean(time)) / path.scale(time)
    for part in (z[::2], z[1::2]):
        assert stats.kstest(part[:, 0].numpy(), "norm").pvalue > 1e-3
        assert stats.kstest(part[:, 1].numpy(), "norm").pvalue > 1e-3
        assert abs(stats.pearsonr(*part.T.numpy()).statistic) < 4 / math.sqrt(len(part))


def test_time_derivative_of_each_row() -> None:
    time = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    slope = time_derivative(lambda t: torch.stack([torch.sin(t), 3 * t, torch.ones_like(t)], -1), time)
    exact = torch.stack([torch.cos(time), torch.full_like(time, 3), torch.zeros_like(time)], -1)
    torch.testing.assert_close(slope, exact)


def test_is_a_path_of_marginals_with_a_score(path: Gaussian) -> None:
    assert isinstance(path, ScoredMarginals)
    assert path.dimension == 2
    x = path.sample(torch.zeros(3), torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32
    again = path.sample(torch.zeros(3), torch.Generator().manual_seed(0))
    assert torch.equal(x, again)
