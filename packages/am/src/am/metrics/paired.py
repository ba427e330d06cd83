"""How near images are to the very ones that their conditions were taken from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from am.extras import brought_by
from am.metrics.samples import MetricError

ROUNDING = 1e-4
"""What a solver may change of coordinates that stand still; no two images are so near."""


def paired(given: Tensor, asked: Tensor) -> bool:
    """Whether predictions, (n, r) of whose conditions are ``given``, belong to the images that have those ``asked``.

    Raises
    ------
    MetricError
        Nothing is given, or some belong to them and others do not.
    """
    if not given.numel():
        raise MetricError("pairs of images need a task that is conditioned on something")
    if given.shape != asked.shape:
        raise MetricError(f"pairs need as many predictions as images, got {len(given)} and {len(asked)}")
    same = ((given - asked).abs() < ROUNDING).all(1)
    if bool(same.any()) and not bool(same.all()):
        raise MetricError(f"{int((~same).sum())} of {len(same)} predictions have another condition than their image")
    return bool(same.all())


def peak_signal_to_noise(x: Tensor, y: Tensor) -> float:
    """10 log10(255^2 / mean squared error), in decibels: of all pixels of all pairs together, (n, c, h, w) of uint8.

    Raises
    ------
    MetricError
        The images are equal.
    """
    error = float((x.double() - y.double()).square().mean())
    if not error:
        raise MetricError("the images are those that they are compared with, bit by bit: was the truth given away?")
    return 10 * math.log10(255**2 / error)


WINDOW = 11
"""Pixels on a side of the window of :func:`structural_similarity`, beyond which its Gaussian is cut off."""


def structural_similarity(x: Tensor, y: Tensor) -> float:
    """Mean structural similarity of pairs of images (n, c, h, w) of uint8, of which 1 is the best.

    Source: Wang et al., IEEE Trans. Image Processing 13 (2004), with their Gaussian window of 1.5 pixels; computed by
    scikit-image, channel by channel.

    Raises
    ------
    MetricError
        Images are smaller than the window.
    """
    with brought_by("images", "structural similarity"):
        from skimage.metrics import structural_similarity as similarity

    height, width = x.shape[2:]
    if min(height, width) < WINDOW:
        raise MetricError(f"structural similarity needs {WINDOW} x {WINDOW} pixels or more, not {height} x {width}")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    values = [similarity(a, b, channel_axis=0, **options) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    return float(torch.tensor(values, dtype=torch.float64).mean())
