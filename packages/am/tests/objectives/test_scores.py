"""Score matching: exact, sliced and denoising, against the scores of Gaussian paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from am.marginals.gaussian import Gaussian
from am.objectives.denoising_score_matching import denoising_score_matching
from am.objectives.path import PathSample, draw_path
from am.objectives.score_matching import score_matching
from am.objectives.sliced_score_matching import sliced_score_matching
from am.potentials.score import ScoreNetwork
from am.potentials.settings import ScoreSettings

EXACT = {"rel": 1e-9, "abs": 1e-10}


class KnownScore(nn.Module):
    """The score of a Gaussian path plus a linear field, which need not be a gradient."""

    def __init__(self, marginals: Gaussian, size: float = 0.0) -> None:
        super().__init__()
        self.marginals = marginals
        self.parameter = nn.Parameter(size * torch.tensor([0.5, -0.3, 0.4, 0.2], dtype=torch.float64))

    def change(self, time: Tensor, x: Tensor) -> Tensor:
        a, b, c, d = self.parameter
        swirl = torch.stack([x[:, 1], -2 * x[:, 0]], -1)
        return a * x + b * time[:, None] * swirl + c * torch.ones_like(x) + d * x * x[:, :1]

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        return self.marginals.score(time, x) + self.change(time, x)

    def with_pullback(self, time: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = x.detach().requires_grad_()
        score = self(time, x)
        rows = [torch.autograd.grad(score[:, i].sum(), x, create_graph=True)[0] for i in range(2)]
        return score, rows


SIGNS = [torch.tensor(s, dtype=torch.float64) for s in product((-1.0, 1.0), repeat=2)]


def exact(network, sample: PathSample, weight) -> Tensor:
    return score_matching(network, sample, weight)[0]


def sliced(network, sample: PathSample, weight) -> Tensor:
    """The mean over all four sign vectors: an expectation, not an estimate."""
    parts = [sliced_score_matching(network, sample, s.expand_as(sample.x), weight)[0] for s in SIGNS]
    return torch.stack(parts).mean()


@pytest.fixture(params=[exact, sliced])
def objective(request: pytest.FixtureRequest) -> Callable[..., Tensor]:
    return request.param


def half_mean_square(values: Tensor, sample: PathSample, weight) -> float:
    return float(sample.mean(weight.value(sample.time) * values.square().sum(-1) / 2).detach())


def test_the_optimal_loss_is_minus_half_the_mean_square_score(path, weight, objective, integral) -> None:
    loss = objective(KnownScore(path.marginals), path.nodes(), weight)

    def mean_square(t: float) -> float:
        scale = path.marginals.scale(torch.tensor([t], dtype=torch.float64)).expand(1, 2)
        return float((1 / scale.square()).sum())

    assert float(loss.detach()) == pytest.approx(-integral(weight, mean_square) / 2, **EXACT)


def test_the_gap_is_half_the_mean_square_error_of_the_score(path, weight, objective) -> None:
    nodes, right, wrong = path.nodes(), KnownScore(path.marginals), KnownScore(path.marginals, size=1.0)
    gap = objective(wrong, nodes, weight) - objective(right, nodes, weight)
    known = half_mean_square(wrong.change(nodes.time, nodes.x), nodes, weight)
    assert known > 0.01
    assert float(gap.detach()) == pytest.approx(known, **EXACT)


def test_the_true_score_is_stationary(path, weight, objective) -> None:
    network = KnownScore(path.marginals)
    (slope,) = torch.autograd.grad(objective(network, path.nodes(), weight), network.parameter)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-10, rtol=0)


def test_the_sliced_form_is_unbiased_for_the_exact_one_and_its_gradient(path, weight) -> None:
    torch.manual_seed(0)
    network = ScoreNetwork(2, ScoreSettings(width=16, depth=2, output_scale=1.0)).double()
    sample, parameters = path.nodes(order=3), list(network.parameters())
    known, mean = exact(network, sample, weight), sliced(network, sample, weight)
    torch.testing.assert_close(mean, known)
    torch.testing.assert_close(
        torch.autograd.grad(mean, parameters, materialize_grads=True),
        torch.autograd.grad(known, parameters, materialize_grads=True),
    )


def test_the_sliced_form_is_unbiased_for_normal_directions(paths) -> None:
    torch.manual_seed(0)
    network = ScoreNetwork(2, ScoreSettings(width=16, depth=2, output_scale=1.0)).double()
    sample = paths["both"].nodes(order=3)
    known = float(score_matching(network, sample)[0].detach())
    generator = torch.Generator().manual_seed(0)
    estimates = torch.stack(
        [
            sliced_score_matching(
                network, sample, torch.randn(sample.x.shape, generator=generator, dtype=torch.float64)
            )[0].detach()
            for _ in range(400)
        ]
    )
    assert float(estimates.std()) > 0
    assert abs(float(estimates.mean()) - known) < 4 * float(estimates.std()) / math.sqrt(400)


def test_parts_of_the_loss_are_reported(paths) -> None:
    path = paths["scaling"]
    network, nodes = KnownScore(path.marginals), path.nodes()
    # E |score|^2 / 2 = d / (2 s^2), E div = -d / s^2, and int_0^1 dt / (1/2 + t)^2 = 4/3 for d = 2.
    for parts in (
        score_matching(network, nodes)[1],
        sliced_score_matching(network, nodes, torch.ones_like(nodes.x))[1],
    ):
        assert float(parts["norm"]) == pytest.approx(4 / 3, rel=1e-9)
        assert float(parts["divergence"]) == pytest.approx(-8 / 3, rel=1e-9)


# -- denoising -----------------------------------------------------------------------------------

DATA_SCALE = 1.3


def noised() -> tuple[Gaussian, PathSample, Tensor, Tensor]:
    """x = (1 - t / 2) data + (0.2 + t) noise in one dimension: marginals, points, noise and its scale."""
    (t, wt), (z, wz) = np.polynomial.legendre.leggauss(20), np.polynomial.hermite_e.hermegauss(6)
    time, data, noise = (torch.from_numpy(a.reshape(-1)) for a in np.meshgrid((1 + t) / 2, z, z, indexing="ij"))
    weight = np.einsum("i,j,k->ijk", wt / 2, wz, wz).reshape(-1) / (2 * np.pi)
    scale = 0.2 + time
    x = (1 - time / 2) * DATA_SCALE * data + scale * noise
    none = torch.empty(0, 1)
    sample = PathSample(time, x[:, None], none, none, torch.from_numpy(1 / (len(weight) * weight)))
    marginals = Gaussian(
        lambda t: torch.zeros_like(t)[:, None],
        lambda t: (((1 - t / 2) * DATA_SCALE) ** 2 + (0.2 + t) ** 2).sqrt()[:, None],
    )
    return marginals, sample, noise[:, None], scale


def test_denoising_is_least_at_the_score_of_the_noised_marginal(weight, integral) -> None:
    marginals, sample, noise, scale = noised()
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def loss(change: Tensor) -> Tensor:
        def network(t: Tensor, x: Tensor) -> Tensor:
            return marginals.score(t, x) + change[0] * x + change[1] * t[:, None]

        return denoising_score_matching(network, sample, noise, scale, weight)[0]

    def conditional_variance(t: float) -> float:
        """Var(noise | x) = 1 - scale^2 / (scale^2 + (1 - t / 2)^2 data^2)."""
        return 1 - (0.2 + t) ** 2 / ((0.2 + t) ** 2 + ((1 - t / 2) * DATA_SCALE) ** 2)

    optimal = loss(shift)
    assert float(optimal.detach()) == pytest.approx(integral(weight, conditional_variance) / 2, **EXACT)
    (slope,) = torch.autograd.grad(optimal, shift)
    torch.testing.assert_close(slope, torch.zeros(2).double(), atol=1e-10, rtol=0)

    change = torch.tensor([0.3, -0.2], dtype=torch.float64)
    error = scale[:, None] * (change[0] * sample.x + change[1] * sample.time[:, None])
    known = half_mean_square(error, sample, weight)
    assert float((loss(change) - optimal).detach()) == pytest.approx(known, **EXACT)


def test_draws_with_a_time_proposal_give_the_same_minimum(weight) -> None:
    marginals, sample, noise, scale = noised()
    known, _ = denoising_score_matching(marginals.score, sample, noise, scale, weight)
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(100_000, generator=generator, dtype=torch.float64)
    time = (torch.sqrt(1 + 8 * uniform) - 1) / 2  # density 1/2 + t
    data, noise = torch.randn(2, len(time), 1, generator=generator, dtype=torch.float64)
    x = (1 - time[:, None] / 2) * DATA_SCALE * data + (0.2 + time[:, None]) * noise
    drawn = PathSample(time, x, x[:0], x[:0], 0.5 + time)
    loss, parts = denoising_score_matching(marginals.score, drawn, noise, 0.2 + time, weight)
    # The integrand is at most w chi^2 / 2 / p, of standard deviation below 3.
    assert float(loss) == pytest.approx(float(known), abs=4 * 3 / math.sqrt(len(time)))
    assert float(parts["error"]) > 0


@pytest.mark.parametrize("form", ["exact", "sliced"])
def test_training_learns_the_score(form: str) -> None:
    path = Gaussian(lambda t: 2 * t[:, None], lambda t: 0.7 * torch.ones_like(t)[:, None])
    torch.manual_seed(0)
    network = ScoreNetwork(1, ScoreSettings(width=32, depth=2, output_scale=1.0))
    generator = torch.Generator().manual_seed(0)
    probe_time = torch.linspace(0.05, 0.95, 300)
    probe = path.sample(probe_time, generator)

    def error() -> float:
        known = path.score(probe_time, probe)
        return float((network(probe_time, probe).detach() - known).norm() / known.norm())

    assert error() > 0.8
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 + math.cos(math.pi * step / 400)) / 2
        sample = draw_path(path, torch.rand(256, generator=generator), 1, generator)
        if form == "exact":
            loss, _ = score_matching(network, sample)
        else:
            loss, _ = sliced_score_matching(network, sample, torch.randn(sample.x.shape, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error() < 0.2
