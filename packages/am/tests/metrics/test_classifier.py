"""The classifier knows digits it never saw, and the Frechet distance is that of Gaussians."""

from __future__ import annotations

import math

import pytest
import torch

from am.io.raw import find_raw
from am.metrics.classifier import Classifier
from am.metrics.evaluate import evaluate
from am.metrics.feature_distances import frechet_distance, kernel_distance
from am.metrics.samples import MetricError
from am.metrics.settings import ClassifierFrechet, ClassifierKernel, MissingClasses, Unrecognised
from am.metrics.viewer import Viewer
from am.randomness import generator
from am.runs import build_dataset


@pytest.fixture(scope="module")
def digits() -> tuple[Viewer, torch.Tensor]:
    """What looks through a classifier of training digits, and test digits."""
    dataset = build_dataset({"name": "digits"}, "here")
    return Viewer(dataset, find_raw), torch.from_numpy(dataset.test_points(1.0, 500, 0, "digits"))


def measured(
    metric: object,
    x: torch.Tensor,
    y: torch.Tensor,
    viewer: Viewer | None,
    log_weight: torch.Tensor | None = None,
) -> float:
    return evaluate(metric, x, y, generator("metric"), log_weight, viewer)  # type: ignore[arg-type]


def test_test_digits_are_recognised_and_noise_is_not(digits: tuple[Viewer, torch.Tensor]) -> None:
    viewer, x = digits
    noise = torch.randn(x.shape, generator=generator("noise"))
    assert measured(Unrecognised(), x, x, viewer) < 0.2
    assert measured(Unrecognised(), noise, x, viewer) > measured(Unrecognised(), x, x, viewer) + 0.1
    assert measured(MissingClasses(), x, x, viewer) == 0
    assert measured(MissingClasses(), x[:1].repeat(5, 1), x, viewer) >= 9


def test_it_is_the_same_every_time_and_looks_at_the_image_alone(digits: tuple[Viewer, torch.Tensor]) -> None:
    viewer, x = digits
    again = Classifier(*build_dataset({"name": "digits"}, "here").labelled_images())  # type: ignore[misc]
    torch.testing.assert_close(viewer.classifier.features(x), again.features(x))
    conditioned = torch.cat([x, torch.ones(len(x), 7)], 1)
    torch.testing.assert_close(viewer.classifier.confidence(conditioned), viewer.classifier.confidence(x))


def test_what_is_near_in_features_is_nearer_than_noise(digits: tuple[Viewer, torch.Tensor]) -> None:
    viewer, x = digits
    blurred = x + 0.2 * torch.randn(x.shape, generator=generator("blur"))
    noise = torch.randn(x.shape, generator=generator("noise"))
    near, nearer, far = (
        measured(ClassifierFrechet(), z, x[250:], viewer) for z in (blurred[:250], x[:250], noise[:250])
    )
    assert nearer < near < far


def test_the_distance_is_that_of_gaussians() -> None:
    """Independent coordinates: squared differences of means and of standard deviations."""
    n, rng = 200_000, generator("gauss")
    scale, other = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([1.5, 1.0, 0.5])
    x = torch.randn(n, 3, generator=rng) * scale
    y = torch.randn(n, 3, generator=rng) * other + torch.tensor([1.0, 0.0, -2.0])
    expected = 1 + 4 + float((scale - other).square().sum())
    assert frechet_distance(x, y) == pytest.approx(expected, rel=0.01)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_weights_count_as_repetitions() -> None:
    rng = generator("weights")
    x, y = torch.randn(50, 2, generator=rng), torch.randn(60, 2, generator=rng)
    weight = torch.tensor([0.0] * 25 + [math.log(3)] * 25)
    repeated = torch.cat([x[:25], *[x[25:]] * 3])
    # Of so many points, those repeated have a slightly other unbiased covariance.
    assert frechet_distance(x, y, weight) == pytest.approx(frechet_distance(repeated, y), abs=0.05)


def test_without_labels_it_is_told() -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(MetricError, match="needs images, and these points are none"):
        measured(Unrecognised(), x, x, None)
    with pytest.raises(MetricError, match="needs labelled images, and the data set has none"):
        measured(Unrecognised(), x, x, Viewer(build_dataset({"name": "natural_patches"}, "here"), find_raw))


def test_the_kernel_distance_is_that_of_all_pairs() -> None:
    """In one dimension (xy + 1)^3 = 1 + 3 xy + 3 x^2 y^2 + x^3 y^3: squared differences of moments, weighted."""
    rng = generator("kernel")
    x, y = 0.5 * torch.randn(100_000, 1, generator=rng), torch.randn(100_000, 1, generator=rng) / 2 + 1
    # Moments of N(0, 1/4): 0, 1/4, 0; of N(1, 1/4): 1, 5/4, 7/4.
    expected = 3 * 1**2 + 3 * 1**2 + (7 / 4) ** 2
    parts = [kernel_distance(a, b) for a, b in zip(x.chunk(50), y.chunk(50), strict=True)]
    assert sum(parts) / 50 == pytest.approx(expected, rel=0.02)
    same = [kernel_distance(a, b) for a, b in zip(x.chunk(100)[:50], x.chunk(100)[50:], strict=True)]
    assert min(same) < 0 < max(same)  # unbiased, so that equal laws are below zero as often as above


def test_noise_is_far_in_the_kernel_distance_too(digits: tuple[Viewer, torch.Tensor]) -> None:
    viewer, x = digits
    noise = torch.randn(x.shape, generator=generator("noise"))
    near, far = (measured(ClassifierKernel(), z[:60], x[250:], viewer) for z in (x, noise))
    assert near < far / 10


def test_weights_count_in_shares_and_not_in_counts(digits: tuple[Viewer, torch.Tensor]) -> None:
    viewer, x = digits
    none = -torch.inf * torch.ones(250)
    mixed = torch.cat([x[:250], torch.zeros_like(x[:250])])  # no digit is grey
    alone = measured(Unrecognised(), x[:250], x, viewer)
    assert measured(Unrecognised(), mixed, x, viewer, torch.cat([torch.zeros(250), none])) == pytest.approx(alone)
    grey = measured(Unrecognised(), mixed[250:], x, viewer)
    assert grey != alone
    assert measured(Unrecognised(), mixed, x, viewer) == pytest.approx((alone + grey) / 2)
    with pytest.raises(MetricError, match="weights do not count"):
        measured(MissingClasses(), x, x, viewer, torch.zeros(len(x)))
