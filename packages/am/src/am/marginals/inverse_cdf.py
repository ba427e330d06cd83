"""Draws from a one-dimensional density by inverting its distribution function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_QUADRATURE_NODES, _QUADRATURE_WEIGHTS = np.polynomial.legendre.leggauss(8)
_ITERATIONS, _TOLERANCE, _TINY = 60, 1e-9, 1e-300  # of a bin's width


class InverseCdf:
    """Quantile function of a smooth density on an interval.

    The distribution function is tabulated by Gauss-Legendre quadrature on equal bins and
    continued inside each bin as the cubic that matches its values and slopes (Hermite); the
    inverse is found by Newton iterations that cannot leave the bin. For polynomial densities, and
    polynomials times an exponential, its error is below 1e-9 of the interval, except where the
    inverse is ill-conditioned: within 1e-6 of the probabilities 0 and 1, and at zeros of the density.

    Parameters
    ----------
    density
        Vectorised, non-negative, need not be normalised.
    low, high
        The interval; the density must be negligible outside it.
    bins
        Number of equal bins.
    """

    def __init__(
        self,
        density: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        low: float,
        high: float,
        bins: int = 16384,
    ) -> None:
        edges = np.linspace(low, high, bins + 1)
        half = (high - low) / bins / 2
        nodes = edges[:-1, None] + half * (1 + _QUADRATURE_NODES)
        mass = np.concatenate([[0.0], np.cumsum(half * (density(nodes) @ _QUADRATURE_WEIGHTS))])
        self._edges = torch.from_numpy(edges)
        self._cdf = torch.from_numpy(mass / mass[-1])
        # Slopes per bin, so that a bin is the unit interval.
        self._slope = torch.from_numpy(density(edges) / mass[-1] * 2 * half)

    def __call__(self, uniform: Tensor) -> Tensor:
        """Map uniform numbers in [0, 1), of any shape, to draws (float64)."""
        u = uniform.to(torch.float64)
        edges, cdf, slopes = (a.to(u.device) for a in (self._edges, self._cdf, self._slope))
        i = (torch.searchsorted(cdf, u, right=True) - 1).clamp_(0, len(cdf) - 2)
        f0, s0, s1 = cdf[i], slopes[i], slopes[i + 1]
        rise = cdf[i + 1] - f0
        c2, c3 = 3 * rise - 2 * s0 - s1, s0 + s1 - 2 * rise
        target = u - f0
        w = (target / rise.clamp_min(_TINY)).clamp_(0, 1)
        low, high = torch.zeros_like(w), torch.ones_like(w)
        for _ in range(_ITERATIONS):
            excess = w * (s0 + w * (c2 + w * c3)) - target
            slope = s0 + w * (2 * c2 + 3 * w * c3)
            low, high = torch.where(excess < 0, w, low), torch.where(excess > 0, w, high)
            newton = w - excess / slope.clamp_min(_TINY)
            # Where the density has a zero Newton's method may leave the bracket, and is slow: halve it instead.
            step = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2) - w
            w = w + step
            if not bool((step.abs() > _TOLERANCE).any()):
                break
        return edges[i] + w * (edges[1] - edges[0])
