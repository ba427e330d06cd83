"""FID, IS and KID from what Inception makes of images, with the estimators of torch-fidelity."""

from __future__ import annotations

from torch import Tensor

from am.extras import brought_by
from am.metrics.samples import MetricError


def frechet_inception_distance(x: Tensor, y: Tensor) -> float:
    """Squared 2-Wasserstein distance of Gaussians fitted to (n, k) and (m, k) features (Heusel et al., NeurIPS 2017).

    Raises
    ------
    MetricError
        There are fewer than two images.
    """
    with brought_by("images", "FID"):
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    _check(x, y)
    statistics = (fid_features_to_statistics(features) for features in (x, y))
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def inception_score(logits: Tensor, splits: int) -> float:
    """Exp of the mean divergence between the classes of an image and of all, (n, classes): the mean over ``splits``.

    Source: Salimans et al., NeurIPS 2016.

    Raises
    ------
    MetricError
        There are fewer images than splits.
    """
    with brought_by("images", "IS"):
        from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    if len(logits) < splits:
        raise MetricError(f"{splits} splits need as many images, there are {len(logits)}")
    return float(isc_features_to_metric(logits, splits)[KEY_METRIC_ISC_MEAN])


def kernel_inception_distance(x: Tensor, y: Tensor, subsets: int, subset_size: int) -> float:
    """Unbiased squared MMD of features with the kernel (x . y / k + 1)^3, averaged over random subsets of both.

    Source: Binkowski et al., ICLR 2018.

    Raises
    ------
    MetricError
        There are fewer images than a subset has.
    """
    with brought_by("images", "KID"):
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    _check(x, y)
    if min(len(x), len(y)) < subset_size:
        raise MetricError(f"subsets of {subset_size} need as many images, there are {min(len(x), len(y))}")
    options = {"kid_subsets": subsets, "kid_subset_size": subset_size, "verbose": False}
    return float(kid_features_to_metric(x, y, **options)[KEY_METRIC_KID_MEAN])


def _check(x: Tensor, y: Tensor) -> None:
    if min(len(x), len(y)) < 2:
        raise MetricError("a covariance needs two images or more")
