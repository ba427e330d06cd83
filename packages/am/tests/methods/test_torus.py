"""Action Matching on a torus: one coordinate without ends, on which harmonics are known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from am.marginals.images import Torus
from am.methods.contract import TrainedMethod
from am.randomness import generator
from am.runs import build_dataset, build_method
from am.training.loop import train

pytestmark = pytest.mark.trains

N = 4000
IMAGE = 0.6
"""The one pixel of the one image, which stands at half of it."""


def test_particles_gather_around_the_image_from_all_sides(tmp_path: Path) -> None:
    path = Torus(torch.tensor([[IMAGE]]), (1, 1, 1), 256)
    training = {"iterations": 600, "batch_size": 512, "boundary_batch_size": 512, "learning_rate": 1e-2, "ema": 0.98}
    method = build_method("am", {"potential": {"width": 32, "depth": 2}, "training": training}, "test")
    assert isinstance(method, TrainedMethod)
    torch.manual_seed(0)
    network = method.build(path, generator("build"))
    trained = train(network, method.loss, path, method.settings.training, key="key", state=tmp_path)
    network.load_state_dict(trained.weights)

    begin, end = 0.4, 0.75
    start = path.sample(torch.full((N,), begin), generator("start"))
    x = method.sample(network, start, torch.tensor([begin, end]), generator("sample")).x[-1]
    back = build_dataset({"name": "digits", "task": "torus"}, "test").wrapped(x)
    assert float(back.min()) >= -1
    assert float(back.max()) < 1
    assert float(x.abs().max()) > 1  # some took the short way, across the end
    torch.testing.assert_close(torch.exp(1j * math.pi * back), torch.exp(1j * math.pi * x), rtol=1e-4, atol=1e-4)
    for harmonic in (1, 2):
        found = torch.exp(1j * harmonic * math.pi * back).mean()
        exact = math.exp(-((harmonic * math.pi * (1 - end)) ** 2) / 2)
        angle = harmonic * math.pi * IMAGE / 2
        assert abs(complex(found) - exact * complex(math.cos(angle), math.sin(angle))) < 0.05
