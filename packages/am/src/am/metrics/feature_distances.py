"""Distances between samples of features, whatever network they come from."""

from __future__ import annotations

import torch
from torch import Tensor

from am.metrics.samples import MetricError, prepared


def kernel_distance(x: Tensor, y: Tensor, x_log_weight: Tensor | None = None) -> float:
    """Unbiased squared MMD of features (n, d) and (m, d) with the kernel (x . y / d + 1)^3, which may be negative.

    The estimator of the kernel inception distance: Binkowski et al., ICLR 2018. With weights it is consistent only.

    Raises
    ------
    MetricError
        Samples as in :func:`am.metrics.samples.prepared`, or of one point.
    """
    *_, wx, wy = prepared(x, y, x_log_weight)
    if min(len(x), len(y)) < 2 or not float(wx.max()) < 1:
        raise MetricError("a sample of one point, or one point with all the weight, has no pairs")
    x, y = x.detach().double(), y.detach().double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / x.shape[1] + 1) ** 3

    def within(a: Tensor, w: Tensor) -> Tensor:
        return w @ kernel(a, a).fill_diagonal_(0) @ w / (1 - w.square().sum())

    return float(within(x, wx) + within(y, wy) - 2 * wx @ kernel(x, y) @ wy)


def frechet_distance(x: Tensor, y: Tensor, x_log_weight: Tensor | None = None) -> float:
    """Squared 2-Wasserstein distance of the Gaussians with the samples' means and covariances, (n, d) and (m, d).

    |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x^1/2 C_y C_x^1/2)^1/2): Dowson and Landau, J. Multivariate Analysis 12, 1982.

    Raises
    ------
    MetricError
        Samples as in :func:`am.metrics.samples.prepared`, or of fewer than two points.
    """
    x, y, weight, _ = prepared(x, y, x_log_weight)
    if min(len(x), len(y)) < 2:
        raise MetricError("a covariance needs two points or more")
    mean = (weight[:, None] * x).sum(0)
    # With equal weights, the unbiased covariance.
    spread = (x - mean).T @ (weight[:, None] * (x - mean)) / (1 - weight.square().sum())
    other = torch.cov(y.T).view(y.shape[1], y.shape[1])
    values, vectors = torch.linalg.eigh(spread)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    return float((mean - y.mean(0)).square().sum() + spread.trace() + other.trace() - 2 * cross)
