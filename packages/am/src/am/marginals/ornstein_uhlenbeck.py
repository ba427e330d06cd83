"""The Ornstein-Uhlenbeck process, whose drift, noise and marginals are known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from am.marginals.gaussian import Gaussian


class OrnsteinUhlenbeck(Gaussian):
    r"""dx = -rate x dt + sigma dW from N(start, spread^2 I).

    .. math:: m(t) = e^{-\theta t} m_0, \quad s^2(t) = e^{-2 \theta t} s_0^2
        + \frac{\sigma^2}{2 \theta} (1 - e^{-2 \theta t})

    (Uhlenbeck and Ornstein 1930). Its drift is a gradient, which entropic Action Matching of the same sigma looks for.

    Parameters
    ----------
    start
        (d,) mean at t = 0.
    spread
        Standard deviation at t = 0, in each coordinate.
    rate
        theta, positive, per unit of t.
    sigma
        Noise, in units of length per square root of t.
    """

    def __init__(self, start: Sequence[float], spread: float, rate: float, sigma: float) -> None:
        centre, self.rate, self.sigma = torch.tensor(start, dtype=torch.float64), rate, sigma

        def mean(time: Tensor) -> Tensor:
            return torch.exp(-rate * time)[:, None] * centre.to(time)

        def scale(time: Tensor) -> Tensor:
            gained = -(sigma**2) / (2 * rate) * torch.expm1(-2 * rate * time)
            return (torch.exp(-2 * rate * time) * spread**2 + gained).sqrt()[:, None]

        super().__init__(mean, scale)

    def drift(self, time: Tensor, x: Tensor) -> Tensor:
        """-rate x: (n,), (n, d) -> (n, d)."""
        return -self.rate * x
