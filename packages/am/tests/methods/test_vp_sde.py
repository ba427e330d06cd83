"""Denoising diffusion on Gaussian data, whose score is known."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from am.marginals.gaussian import Gaussian
from am.methods.vp_sde import VpSde
from am.randomness import generator
from am.runs import build_method
from am.training.loop import train
from am.training.stream import Stream

MEAN, SCALE = torch.tensor([1.0, -0.5]), 0.5
DATA = Gaussian(lambda t: MEAN.expand(len(t), 2), lambda t: torch.full((len(t), 1), SCALE))
N = 4000


def method(**settings: Any) -> VpSde:
    built = build_method("vp_sde", settings, "test")
    assert isinstance(built, VpSde)
    return built


def moments(time: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the data that is left, and variance, of data noised for 1 - t."""
    age = 1 - time
    kept = torch.exp(-(0.1 * age + 19.9 * age**2 / 2) / 2)
    return kept, kept**2 * SCALE**2 + 1 - kept**2


class Exact(nn.Module):
    """The mean of the noise in a noised point."""

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        kept, variance = (part[:, None] for part in moments(time))
        return (1 - kept**2).sqrt() * (x - kept * MEAN) / variance


def noise() -> Tensor:
    return torch.randn(N, 2, generator=generator("noise"))


@pytest.mark.parametrize("dynamics", ["flow", "diffusion"])
def test_the_exact_network_turns_noise_into_the_data(dynamics: str) -> None:
    sampler = method(sampling={"dynamics": dynamics})
    path = sampler.sample(Exact(), noise(), torch.tensor([0.0, 0.8, 1.0]), generator("sample"))
    for time, x in zip((0.8, 1.0), path.x[1:], strict=True):
        kept, variance = moments(torch.tensor(time))
        for values, centre in zip(x.T, kept * MEAN, strict=True):
            assert stats.kstest(values.numpy(), stats.norm(float(centre), math.sqrt(float(variance))).cdf).pvalue > 1e-3


def test_the_flow_is_that_of_a_scaled_gaussian() -> None:
    time, x = torch.full((N,), 0.7), 2 * noise()
    path = Gaussian(lambda t: moments(t)[0][:, None] * MEAN, lambda t: moments(t)[1].sqrt()[:, None].expand(-1, 2))
    torch.testing.assert_close(method().velocity(Exact(), time, x), path.velocity(time, x), rtol=1e-3, atol=1e-3)


def test_the_exact_network_has_the_least_loss() -> None:
    """And that is the variance of the noise in a point, which is known."""
    stream = Stream("key", 0, 20_000, 1)
    least, _ = method().loss(Exact(), DATA, stream)
    time = torch.linspace(0, 1, 100_001).double()
    kept, variance = moments(time)
    assert float(least) == pytest.approx(float((kept**2 * SCALE**2 / variance).mean()), rel=0.05)

    class Worse(Exact):
        def forward(self, time: Tensor, x: Tensor) -> Tensor:
            return super().forward(time, x) + 0.1

    worse, _ = method().loss(Worse(), DATA, Stream("key", 0, 20_000, 1))
    assert float(worse - least) == pytest.approx(2 * 0.1**2 / 2, rel=0.1)


@cache
def fitted() -> nn.Module:
    training = {"iterations": 600, "batch_size": 512, "learning_rate": 1e-2, "ema": 0.98, "snapshots": 0}
    learner = method(network={"width": 32, "depth": 2, "time_features": 8}, training=training)
    torch.manual_seed(0)
    network = learner.build(DATA, generator("build"))
    with TemporaryDirectory() as folder:
        trained = train(network, learner.loss, DATA, learner.settings.training, key="key", state=Path(folder) / "s")
    network.load_state_dict(trained.weights)
    return network


@pytest.mark.trains
def test_what_is_learned_gives_data_back() -> None:
    x = method().sample(fitted(), noise(), torch.tensor([0.0, 1.0]), generator("sample")).x[-1]
    torch.testing.assert_close(x.mean(0), MEAN, rtol=0, atol=0.05)
    torch.testing.assert_close(x.std(0), torch.full((2,), SCALE), rtol=0.1, atol=0)
