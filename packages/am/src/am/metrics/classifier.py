"""Images through the eyes of a classifier that was trained on the same data: its features and its confidence."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from am.extras import brought_by


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
        with brought_by("images", "a classifier of images"):
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
