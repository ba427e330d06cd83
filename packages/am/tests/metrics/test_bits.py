"""Bits per dimension: those of levels whose law is known, through the flow of a method."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from am.dynamics.likelihood import log_likelihood
from am.dynamics.settings import OdeSettings
from am.metrics.bits import bits_per_dim
from am.metrics.samples import MetricError
from am.potentials.potential import Potential
from am.randomness import generator
from am.runs import build_method

D, N = 64, 30


def test_uniform_levels_take_their_logarithm() -> None:
    for levels in (17, 256):
        uniform = torch.full((2, 5), -D * math.log(2))  # density on [-1, 1]^D
        bits = bits_per_dim(uniform, D, levels)
        assert (bits.mean, bits.error, bits.median) == (pytest.approx(math.log2(levels)), 0, bits.mean)
        assert bits_per_dim(uniform - 1e-3, D, levels).incompressible == 1
        assert bits_per_dim(uniform + 1e-3, D, levels).incompressible == 0


def test_an_image_that_the_flow_loses_moves_the_mean_and_not_the_median() -> None:
    images = -D * math.log(2) + torch.tensor([[9.0, 8.0, 7.0, 6.0, 5.0]] * 2)
    lost = images.clone()
    lost[:, 4] = -1e6
    before, after = (bits_per_dim(each, D, 17) for each in (images, lost))
    assert after.mean > before.mean + 1000
    assert after.median == before.median == pytest.approx(math.log2(17) - 7 / D / math.log(2))
    assert (before.incompressible, after.incompressible) == (0, 0.2)


def test_the_error_is_that_of_the_probes() -> None:
    rng = generator("probes")
    images = 100 * torch.randn(1, 40, generator=rng)
    found = [bits_per_dim(images + 3 * torch.randn(4, 40, generator=rng), D, 256) for _ in range(500)]
    means, errors = torch.tensor(found).T[:2]
    assert float(errors.mean()) == pytest.approx(float(means.std()), rel=0.1)
    assert float(errors.mean()) == pytest.approx(3 / D / math.log(2) / math.sqrt(160), rel=0.05)
    with pytest.raises(MetricError, match="two probes or more of each image, there are 1"):
        bits_per_dim(images, D, 256)


class Widening(Potential):
    """The action of (1 - t) eps + t x, x of the covariance K diag(values) K^T: a quadratic form, exactly."""

    def __init__(self, mean: Tensor, basis: Tensor, values: Tensor) -> None:
        super().__init__()
        self.mean, self.basis, self.values = mean, basis, values

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        t = time[:, None]
        spread = (1 - t) ** 2 + t**2 * self.values
        z = (x - t * self.mean) @ self.basis
        return ((t * self.values - (1 - t)) / spread * z.square() / 2).sum(1) + x @ self.mean


@pytest.mark.parametrize("levels", [17, 256])
def test_gaussian_images_take_their_entropy(levels: int) -> None:
    """Images of neighbours that resemble each other, stored in levels, dequantised as data sets do it."""
    rng = generator("gaussian images", levels)
    place = torch.arange(D)
    covariance = (0.3**2 * torch.exp(-(place[:, None] - place).abs() / 4.0)).double()
    values, basis = torch.linalg.eigh(covariance)
    mean = torch.linspace(-0.2, 0.2, D).double()
    x = mean + torch.randn(N, D, generator=rng, dtype=torch.float64) @ (basis * values.sqrt()).T
    level = ((x + 1) * levels / 2).floor().clamp(0, levels - 1)
    noise = torch.rand(N, D, generator=rng, dtype=torch.float64)
    stored = 2 * (level + noise) / levels - 1
    flow = build_method("am", {}, "test").flow(Widening(mean, basis, values))
    assert flow is not None

    def standard_normal(y: Tensor) -> Tensor:
        return -(y.square() / 2 + math.log(2 * math.pi) / 2).sum(-1)

    settings = OdeSettings(rtol=1e-3, atol=1e-3)
    found, _, _ = log_likelihood(flow, stored.repeat(4, 1), standard_normal, settings, generator=rng)
    bits, error, _, _ = bits_per_dim(found.view(4, N), D, levels)
    exact = torch.distributions.MultivariateNormal(mean, covariance).log_prob(stored)
    assert bits == pytest.approx(bits_per_dim(exact.expand(2, N), D, levels).mean, abs=0.1)
    entropy = float(torch.distributions.MultivariateNormal(mean, covariance).entropy())
    if levels == 256:  # fine enough for the noise between levels not to matter
        assert bits == pytest.approx(entropy / D / math.log(2) + math.log2(levels / 2), abs=0.1)
    assert 0 < error < 0.1


def test_methods_that_follow_a_flow_say_so() -> None:
    network = torch.nn.Identity()
    for name, flows in (("icfm", True), ("otcfm", True), ("vp_sde", True), ("ald_ssm", False), ("no_dynamics", False)):
        assert (build_method(name, {}, "test").flow(network) is not None) == flows
