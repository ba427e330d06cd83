"""Any distance, from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor

from am.metrics.energy import energy_distance
from am.metrics.feature_distances import frechet_distance, kernel_distance
from am.metrics.mmd import mmd_squared
from am.metrics.samples import MetricError, prepared
from am.metrics.settings import (
    ClassifierFrechet,
    ClassifierKernel,
    DistanceSettings,
    EfficientNetKernel,
    Energy,
    Fid,
    InceptionScore,
    Kid,
    MissingClasses,
    Mmd,
    NearestTraining,
    PairedSettings,
    PictureSettings,
    Psnr,
    Sinkhorn,
    SlicedWasserstein,
    Ssim,
    Unrecognised,
    Wasserstein1,
    Wasserstein2,
)
from am.metrics.sinkhorn import sinkhorn_divergence
from am.metrics.transport import sliced_wasserstein, wasserstein1, wasserstein2

if TYPE_CHECKING:
    from am.metrics.viewer import Viewer


def evaluate(
    metric: DistanceSettings,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
    x_log_weight: Tensor | None = None,
    viewer: Viewer | None = None,
) -> float:
    """Distance between (n, d) and (m, d) samples.

    ``generator`` serves metrics that are random themselves; ``x_log_weight`` are (n,) logarithms of the weights
    of ``x``, up to a constant; ``viewer`` serves metrics of images. Errors are those of the metric.
    """
    x, y = x[: metric.max_points], y[: metric.max_points]
    weight = None if x_log_weight is None else x_log_weight[: metric.max_points]
    match metric:
        case Mmd():
            value = mmd_squared(x, y, metric.scales, weight)
            return abs(value) if metric.absolute else value
        case Energy():
            return energy_distance(x, y, weight)
        case Wasserstein1():
            return wasserstein1(x, y, weight)
        case Wasserstein2():
            return wasserstein2(x, y, weight)
        case SlicedWasserstein():
            return sliced_wasserstein(x, y, generator, metric.projections, metric.order, weight)
        case Sinkhorn():
            return sinkhorn_divergence(x, y, metric.blur, metric.p, weight)
        case ClassifierFrechet():
            seen = _needed(viewer).classifier.features
            return frechet_distance(seen(x), seen(y), weight)
        case ClassifierKernel():
            seen = _needed(viewer).classifier.features
            return kernel_distance(seen(x), seen(y), weight)
        case Unrecognised():
            *_, weights, _ = prepared(x, y, weight)
            return float(weights @ (~_sure(viewer, x, metric.confidence).any(1)).double().to(weights))
        case MissingClasses():
            if weight is not None:
                raise MetricError("classes are counted, and weights do not count: this metric takes none")
            return float((~_sure(viewer, x, metric.confidence).any(0)).sum())
        case EfficientNetKernel():
            features = _needed(viewer).through_efficientnet
            return kernel_distance(features(x), features(y), weight)
        case _:
            assert_never(metric)


def evaluate_pictures(
    metric: PictureSettings, images: Tensor, viewer: Viewer, log_weight: Tensor | None = None
) -> float:
    """A metric of (n, c h w) images of values in [-1, 1] alone; errors are those of the metric."""
    from am.metrics.inception import frechet_inception_distance, inception_score, kernel_inception_distance
    from am.metrics.nearest import relative_nearness

    if log_weight is not None:
        raise MetricError("images are counted, and weights do not count: this metric takes none")
    images = images[: metric.max_points]
    match metric:
        case Fid():
            return frechet_inception_distance(viewer.inception(images)[0], viewer.training_features)
        case InceptionScore():
            return inception_score(viewer.inception(images)[1], metric.splits)
        case Kid():
            own, theirs = viewer.inception(images)[0], viewer.training_features
            return kernel_inception_distance(own, theirs, metric.subsets, metric.subset_size)
        case NearestTraining():
            return relative_nearness(viewer.rounded(images), viewer.learned, viewer.fresh)
        case _:
            assert_never(metric)


def evaluate_pairs(metric: PairedSettings, x: Tensor, y: Tensor, viewer: Viewer) -> float | None:
    """Nearness of predictions ``x`` to the images ``y``, (n, d) both, or None where they belong to other images.

    They belong together, row by row, where what they are conditioned on is the same. Errors are those of the metric.
    """
    from am.metrics.paired import paired, peak_signal_to_noise, structural_similarity

    x, y = x[: metric.max_points], y[: metric.max_points]
    if not paired(viewer.given(x), viewer.given(y)):
        return None
    images = [viewer.eight_bit(viewer.pictures(points)) for points in (x, y)]
    match metric:
        case Psnr():
            return peak_signal_to_noise(*images)
        case Ssim():
            return structural_similarity(*images)
        case _:
            assert_never(metric)


def _needed(viewer: Viewer | None) -> Viewer:
    if viewer is None:
        raise MetricError("this metric needs images, and these points are none")
    return viewer


def _sure(viewer: Viewer | None, x: Tensor, confidence: float) -> Tensor:
    return _needed(viewer).classifier.confidence(x) > confidence
