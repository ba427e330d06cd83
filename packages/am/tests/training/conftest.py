"""A small training on a path of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
from am.training.devices import launch
from am.training.loop import Loss, Trained, train
from am.training.settings import TrainingSettings
from am.training.stream import Stream

GAUSSIAN = Gaussian(lambda t: torch.stack([2 * t, -t], -1), lambda t: (1 + t)[:, None])
SMALL = {
    "iterations": 40,
    "batch_size": 16,
    "boundary_batch_size": 8,
    "warmup": 5,
    "ema": 0.9,
    "snapshots": 3,
    "log_every": 4,
}


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build_potential(PotentialSettings(width=8, depth=2), GAUSSIAN, torch.Generator().manual_seed(2))


def action_loss(network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
    return action_matching(network, stream.draw(marginals))


def fit(
    state: Path,
    *,
    model: nn.Module | None = None,
    loss: Loss = action_loss,
    checkpoint_seconds: float = math.inf,
    tensorboard: Path | None = None,
    key: str = "test/small/0",
    marginals: Marginals = GAUSSIAN,
    device: str = "cpu",
    **settings: Any,
) -> Trained:
    return train(
        model or network(),
        loss,
        marginals,
        TrainingSettings(**SMALL | settings),
        key=key,
        state=state,
        fabric=launch(device),
        checkpoint_seconds=checkpoint_seconds,
        tensorboard=tensorboard,
    )


@pytest.fixture(name="fit", scope="session")
def _fit() -> Callable[..., Trained]:
    """Train a small network; the settings of training are keywords."""
    return fit


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
