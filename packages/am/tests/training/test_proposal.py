"""Learned times: where they fall, that nothing is biased by them, what they save, and that a stop loses nothing."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from am.marginals.gaussian import Gaussian
from am.marginals.marginals import Marginals
from am.objectives.action_matching import action_matching
from am.potentials.build import build_potential
from am.potentials.settings import PotentialSettings
from am.randomness import generator
from am.training.checkpoint import read_tensors
from am.training.loop import Trained, TrainingError
from am.training.proposal import BINS, TimeProposal
from am.training.stream import Stream

Fit = Callable[..., Trained]
GAUSSIAN = Gaussian(lambda t: torch.stack([2 * t, -t], -1), lambda t: (1 + t)[:, None])


def spread(time: Tensor) -> Tensor:
    return 0.1 + 3 * torch.exp(-20 * time)


def noisy(time: Tensor, name: object) -> Tensor:
    """An integrand of mean cos(3 t) and a standard deviation that is known."""
    noise = torch.randn(len(time), generator=generator("noise", name), dtype=torch.float64)
    return torch.cos(3 * time) + spread(time) * noise


@pytest.fixture(scope="module")
def learned() -> TimeProposal:
    proposal = TimeProposal()
    for step in range(300):
        time, _ = proposal.times(torch.rand(512, generator=generator("times", step), dtype=torch.float64))
        proposal.observe(time, noisy(time, step))
        proposal.learn()
    return proposal


def test_before_it_has_learned_times_are_what_they_were() -> None:
    even = torch.linspace(0, 0.999, 100, dtype=torch.float64)
    time, density = TimeProposal().times(even)
    torch.testing.assert_close(time, even)
    assert torch.equal(density, torch.ones_like(even))


def test_the_density_follows_the_spread_of_the_integrand(learned: TimeProposal) -> None:
    middle = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS
    expected = 0.01 + 0.99 * spread(middle) / spread(middle).mean()
    assert float((learned.density() / expected - 1).abs().max()) < 0.25
    assert float(learned.density().mean()) == pytest.approx(1)


def test_times_have_the_density_that_is_told(learned: TimeProposal) -> None:
    time, density = learned.times(torch.arange(100_000, dtype=torch.float64) / 100_000)
    share = torch.histc(time, BINS, 0, 1) / len(time)
    torch.testing.assert_close(share * BINS, learned.density(), atol=2 * BINS / len(time), rtol=0)
    assert torch.equal(density, learned.density()[(time * BINS).long().clamp(max=BINS - 1)])
    assert bool((time.diff() > 0).all())


def test_an_integrand_that_never_varies_keeps_the_times_even() -> None:
    proposal = TimeProposal()
    time = torch.linspace(0, 1, 1000, dtype=torch.float64)
    proposal.observe(time, torch.full_like(time, 3.0))
    proposal.learn()
    assert torch.equal(proposal.density(), torch.ones(BINS, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(3))
def test_integrals_are_not_biased_by_any_density(seed: int) -> None:
    """Not even by one that was learned from something else."""
    proposal = TimeProposal()
    proposal.moments[0] = 1
    rising = torch.linspace(0, 1, BINS, dtype=torch.float64)
    proposal.moments[2] = rising * torch.rand(BINS, generator=generator("any", seed), dtype=torch.float64)
    even = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    time, density = proposal.times(even)
    assert float((torch.cos(3 * time) / density).mean()) == pytest.approx(math.sin(3) / 3, abs=1e-3)
    assert float((torch.cos(3 * time)).mean()) != pytest.approx(math.sin(3) / 3, abs=1e-2)


def test_the_loss_is_not_biased_and_is_less_noisy(learned: TimeProposal) -> None:
    """Estimates of an integral with the learned times against those with even ones."""
    estimates: dict[str, list[float]] = {"even": [], "learned": []}
    for step in range(1000):
        even = Stream("run", step, 64, 1).times().double()
        time, density = learned.times(even)
        estimates["even"].append(float(noisy(even, ("even", step)).mean()))
        estimates["learned"].append(float((noisy(time, ("learned", step)) / density).mean()))
    mean, scatter = ({k: f(torch.tensor(v)) for k, v in estimates.items()} for f in (torch.mean, torch.std))
    for kind in estimates:
        assert abs(float(mean[kind]) - math.sin(3) / 3) < 4 * float(scatter[kind]) / math.sqrt(1000)
    assert float(scatter["learned"]) < 0.6 * float(scatter["even"])


def test_a_stream_draws_points_at_learned_times_and_tells_of_their_loss(learned: TimeProposal) -> None:
    proposal = TimeProposal()
    proposal.moments = learned.moments.clone()
    stream = Stream("run", 3, 4096, 16, proposal=proposal)
    sample = stream.draw(GAUSSIAN)
    assert sample.time_density is not None
    assert float((sample.time < 0.1).float().mean()) > 0.5
    residual = (sample.x - GAUSSIAN.mean(sample.time)) / GAUSSIAN.scale(sample.time)
    assert residual.std(0) == pytest.approx([1, 1], abs=0.06)
    torch.manual_seed(0)
    network = build_potential(PotentialSettings(width=8, depth=2), GAUSSIAN, generator("build"))
    action_matching(network, sample)
    assert int(proposal.seen[0].sum()) == 4096
    assert float(proposal.seen[2].sum()) > 0


def learning(network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
    return action_matching(network, stream.draw(marginals))


def test_a_stopped_run_goes_on_with_what_its_times_have_learned(fit: Fit, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", times="learned", batch_size=128, log_every=1)
    even = fit(tmp_path / "even", batch_size=128, log_every=1)

    def stopping(network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        if stream.step == 17:
            signal.raise_signal(signal.SIGTERM)
        return learning(network, marginals, stream)

    with pytest.raises(TrainingError, match="step 18 is saved"):
        fit(tmp_path / "stopped", times="learned", batch_size=128, log_every=1, loss=stopping)
    moments = read_tensors(tmp_path / "stopped" / "checkpoint.safetensors")[0]["proposal/moments"]
    assert moments.dtype == torch.float64
    assert float(moments[0].min()) > 0
    resumed = fit(tmp_path / "stopped", times="learned", batch_size=128, log_every=1)
    for name, weight in whole.weights.items():
        assert torch.equal(resumed.weights[name], weight)
    assert any(not torch.equal(even.weights[name], weight) for name, weight in whole.weights.items())


def test_a_step_in_parts_learns_the_same_times(fit: Fit, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", times="learned", batch_size=128)
    parts = fit(tmp_path / "parts", times="learned", batch_size=128, accumulate=4)
    for name, weight in whole.weights.items():
        torch.testing.assert_close(parts.weights[name], weight, rtol=1e-3, atol=1e-4)
