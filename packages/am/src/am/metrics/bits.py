"""Log-densities of images as bits per dimension."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from am.metrics.samples import MetricError


class Bits(NamedTuple):
    """What images take, in bits a coordinate."""

    mean: float
    error: float
    """standard error of the mean by the probes, not by the choice of images"""
    median: float
    """over images: a few that the flow loses leave it as it is"""
    incompressible: float
    """share of images that take more bits than they do as they are stored, log2(levels)"""


def in_bits(log_density: Tensor, dimension: int, levels: int) -> Tensor:
    """Bits a coordinate: -log2 q(x) / d + log2(levels / 2), as a level is 2 / levels wide.

    ``log_density`` holds natural logarithms of densities q on [-1, 1]^d, in any shape.
    """
    return -log_density.double() / (dimension * math.log(2)) + math.log2(levels / 2)


def bits_per_dim(log_density: Tensor, dimension: int, levels: int) -> Bits:
    """Bits that a coordinate of each image takes, and what can be said of them all.

    With uniform noise between levels they bound the bits of the levels themselves from above (Theis et al., ICLR 2016,
    section 3.1).

    Parameters
    ----------
    log_density
        (probes, n) natural logarithms of densities on [-1, 1]^d: of each image as many independent estimates.
    dimension
        d
    levels
        Different values of a coordinate.

    Raises
    ------
    MetricError
        There is only one probe.
    """
    probes, n = log_density.shape
    if probes < 2:
        raise MetricError(f"an error needs two probes or more of each image, there are {probes}")
    bits = in_bits(log_density, dimension, levels)
    images = bits.mean(0)
    return Bits(
        mean=float(images.mean()),
        error=float((bits.var(0).sum() / probes).sqrt() / n),
        median=float(images.quantile(0.5)),
        incompressible=float((images > math.log2(levels)).double().mean()),
    )
