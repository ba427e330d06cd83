"""Log-densities of images as bits per dimension."""

from __future__ import annotations

import math

from torch import Tensor

from am.metrics.samples import MetricError


def bits_per_dim(log_density: Tensor, dimension: int, levels: int) -> tuple[float, float]:
    """Mean bits that a coordinate takes, and its standard error by the probes.

    -log2 q(x) / d + log2(levels / 2): a level is 2 / levels wide. With uniform noise between levels it bounds the bits
    of the levels themselves from above (Theis et al., ICLR 2016, section 3.1).

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
    bits = -log_density.double() / (dimension * math.log(2)) + math.log2(levels / 2)
    return float(bits.mean()), float((bits.var(0).sum() / probes).sqrt() / n)
