"""Images through the eyes of a classifier that was trained on the same data: its features and its confidence."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from am.metrics.samples import MetricError, prepared


class Classifier:
    """A perceptron with one hidden layer, fitted to labelled images by scikit-learn, the same every time.

    Parameters
    ----------
    images, label
        (n, d) and (n,): training images alone.
    width
        Hidden units, which are its features.
    """

    def __init__(self, images: NDArray[np.float32], label: NDArray[np.int64], width: int = 64) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        self.dimension = images.shape[1]
        self._network = MLPClassifier((width,), alpha=1e-2, max_iter=200, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._network.fit(images, label)

    def features(self, x: Tensor) -> Tensor:
        """Hidden units: (n, d or more) images and what they are conditioned on -> (n, width)."""
        weight, bias = self._network.coefs_[0], self._network.intercepts_[0]
        return torch.from_numpy(np.maximum(self._images(x) @ weight + bias, 0))

    def confidence(self, x: Tensor) -> Tensor:
        """Probability of each class: (n, d or more) -> (n, classes)."""
        return torch.from_numpy(self._network.predict_proba(self._images(x)))

    def _images(self, x: Tensor) -> NDArray[np.float64]:
        return x[:, : self.dimension].double().clamp(-1, 1).cpu().numpy()


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
