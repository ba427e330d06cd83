"""Pairs of images: what is near is scored as such, by the formulas of their sources, and strangers are not compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from am.io.raw import find_raw
from am.metrics.evaluate import evaluate_pairs
from am.metrics.paired import paired, peak_signal_to_noise, structural_similarity
from am.metrics.samples import MetricError
from am.metrics.settings import Psnr, Ssim
from am.metrics.viewer import Viewer
from am.randomness import generator
from am.runs import build_dataset


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    """(6, 3, 32, 32) of uint8: from a cat and a palace."""
    dataset = build_dataset({"name": "natural_patches", "stride": 32, "dequantise": False}, "here")
    return Viewer(dataset, find_raw).eight_bit(torch.from_numpy(dataset.test_points(1.0, 6, 0, "key")))


def noised(images: Tensor, amount: float) -> Tensor:
    noise = amount * torch.randn(images.shape, generator=generator("noise"))
    return (images + noise).round().clamp(0, 255).byte()


def test_a_known_error_has_its_decibels() -> None:
    x = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    y = x.clone()
    y[0] += 10  # a mean squared error of 50 over both
    assert peak_signal_to_noise(x, y) == pytest.approx(10 * math.log10(255**2 / 50))
    with pytest.raises(MetricError, match="bit by bit"):
        peak_signal_to_noise(x, x)


def similarity(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, equations 13 to 17, written out: (h, w) each, where the whole window fits."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def mean(image: np.ndarray) -> np.ndarray:
        return np.einsum("yxij,ij->yx", np.lib.stride_tricks.sliding_window_view(image, (11, 11)), window)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return float(np.mean((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))))


def test_structural_similarity_is_that_of_its_source(photographs: Tensor) -> None:
    other = noised(photographs, 20)
    expected = [
        similarity(a.double().numpy(), b.double().numpy())
        for a, b in zip(photographs.flatten(0, 1), other.flatten(0, 1), strict=True)
    ]
    assert structural_similarity(photographs, other) == pytest.approx(np.mean(expected), abs=1e-9)
    assert structural_similarity(photographs, photographs) == pytest.approx(1)
    assert structural_similarity(photographs, noised(photographs, 40)) < structural_similarity(photographs, other)


def test_small_images_have_no_window() -> None:
    digits = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(MetricError, match="needs 11 x 11 pixels or more, not 8 x 8"):
        structural_similarity(digits, digits)


def test_stored_levels_are_met_from_the_middle_and_ends_are_clipped() -> None:
    viewer = Viewer(build_dataset({"name": "natural_patches"}, "here"), find_raw)
    pixels = torch.arange(3072).remainder(256)
    middle = ((2 * pixels + 1) / 256 - 1).float()[None]
    edge = 0.999 / 256
    for points in (middle, middle - edge, middle + edge):
        assert torch.equal(viewer.eight_bit(points).flatten(), pixels.byte())
    assert viewer.eight_bit(torch.full((1, 3072), 7.0)).unique().tolist() == [255]
    assert viewer.eight_bit(torch.full((1, 3072), -7.0)).unique().tolist() == [0]


def test_what_went_around_the_torus_is_seen_as_it_was() -> None:
    seen = []
    for task in ("torus", "generation"):
        dataset = build_dataset({"name": "natural_patches", "task": task}, "here")
        viewer = Viewer(dataset, find_raw)
        seen.append(viewer.eight_bit(viewer.pictures(torch.from_numpy(dataset.test_points(1.0, 5, 0, "key")))))
    assert torch.equal(*seen)


@pytest.mark.parametrize("task", ["colorization", "superresolution", "inpainting"])
def test_a_prediction_is_compared_with_the_image_that_it_was_told_of(task: str) -> None:
    dataset = build_dataset({"name": "natural_patches", "task": task}, "here")
    viewer = Viewer(dataset, find_raw)
    start, truth = (torch.from_numpy(dataset.test_points(time, 20, 0, "key")) for time in (0.0, 1.0))
    nearer = start.lerp(truth, 0.5)
    for metric in (Psnr(), Ssim()):
        far, near = (evaluate_pairs(metric, x, truth, viewer) for x in (start, nearer))
        assert far is not None
        assert near is not None
        assert far < near
        # Fresh images of the truth have conditions of their own.
        fresh = dataset.truth().sample(torch.ones(20), generator("fresh"))
        assert evaluate_pairs(metric, fresh, truth, viewer) is None


def test_an_order_that_was_lost_is_told() -> None:
    asked = torch.arange(12.0).view(6, 2)
    given = asked.clone()
    assert paired(given, asked)
    assert paired(given + 1e-5, asked)  # what solvers leave of what stands still
    given[[0, 1]] = given[[1, 0]]
    with pytest.raises(MetricError, match="2 of 6 predictions have another condition than their image"):
        paired(given, asked)
    with pytest.raises(MetricError, match="as many predictions as images, got 5 and 6"):
        paired(given[:5], asked)
    with pytest.raises(MetricError, match="conditioned on something"):
        paired(given[:, :0], asked[:, :0])
