"""Mixed precision: the gradient that it gives, and what stays in single precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from am.marginals.images import PATHS
from am.methods.contract import TrainedMethod
from am.randomness import generator
from am.runs import build_method
from am.training.devices import precision
from am.training.loop import Trained
from am.training.stream import Stream

SHAPE = (3, 16, 16)
NETWORKS = {
    "unet": {"kind": "unet", "unet": {"channels": 64, "multipliers": [1, 1], "blocks": 1, "attention": [8]}},
    "guided": {"kind": "guided", "convolution": {"channels": 16, "depth": 2}},
    "patches": {"kind": "patches", "width": 32, "depth": 2},
}


def step(kind: str, estimator: str, name: Any, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient of the same step in a precision."""
    settings = {"potential": NETWORKS[kind], "estimator": estimator, "weight": "decreasing_squared"}
    method = build_method("am", settings, "test")
    assert isinstance(method, TrainedMethod)
    images = 2 * torch.rand(32, math.prod(SHAPE), generator=generator("images")) - 1
    path = PATHS["colorization"](images, SHAPE, 256)
    torch.manual_seed(0)
    network = method.build(path, generator("build"))
    with torch.no_grad():
        for parameter in network.parameters():  # what starts at zero would hide mistakes
            parameter.add_(0.03 * torch.randn(parameter.shape))
    network.to(device)
    with precision(name, torch.device(device)):
        loss, _ = method.loss(network, path, Stream("step", 0, 16, 16, device))
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("estimator", ["marginal", "conditional"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_gradient_of_the_loss_is_that_of_single_precision_to_a_few_percent(
    kind: str, estimator: str, device: str
) -> None:
    (exact, gradient), (rounded, other) = (step(kind, estimator, name, device) for name in ("32-true", "bf16-mixed"))
    assert rounded.dtype == torch.float32
    assert rounded != exact
    error = float((other - gradient).norm() / gradient.norm())
    assert 1e-4 < error < 0.05  # it was rounded, and by no more than that
    assert float(torch.cosine_similarity(other, gradient, dim=0)) > 0.998


def test_the_gradient_of_an_action_of_images_is_the_same_on_any_device(device: str) -> None:
    path = PATHS["generation"](2 * torch.rand(8, math.prod(SHAPE), generator=generator("images")) - 1, SHAPE, 256)
    method = build_method("am", {"potential": NETWORKS["unet"]}, "test")
    assert isinstance(method, TrainedMethod)
    torch.manual_seed(0)
    network = method.build(path, generator("build")).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape))
    time = torch.rand(8, generator=generator("time"))
    x = path.sample(time, generator("points"))
    here, there = network.gradient(time, x), network.to(device).gradient(time.to(device), x.to(device)).cpu()
    assert float((there - here).norm() / here.norm()) < 0.01  # a GPU rounds the factors of convolutions to TF32


def test_training_in_mixed_precision_learns_the_same_each_time_and_about_what_single_precision_learns(
    fit: Callable[..., Trained], tmp_path: Path
) -> None:
    whole = fit(tmp_path / "whole", precision="bf16-mixed", iterations=60, log_every=1)
    exact = fit(tmp_path / "exact", iterations=60, log_every=1)
    assert all(weight.dtype == torch.float32 for weight in whole.weights.values())
    difference = sum(float((whole.weights[name] - weight).square().sum()) for name, weight in exact.weights.items())
    norm = sum(float(weight.square().sum()) for weight in exact.weights.values())
    assert 0 < difference < 0.01 * norm
    again = fit(tmp_path / "again", precision="bf16-mixed", iterations=60, log_every=1)
    for name, weight in whole.weights.items():
        assert torch.equal(again.weights[name], weight)
