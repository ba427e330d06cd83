"""The potential of a Schroedinger bridge as a mixture of Gaussians, one for each interval between snapshots."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from am.potentials.potential import Potential
from am.potentials.scale import ScaledNetwork


class LightBridge(ScaledNetwork, Potential):
    r"""The action of a bridge whose adjusted potential is a mixture of K Gaussians, in closed form at every time.

    .. math::
        s_t(x) = \sigma^2 \log \sum_k \alpha_k \prod_i D_{ki}^{-1/2}
            \exp \frac{(S_{ki} - 1) z_i^2 + 2 z_i r_{ki} - u r_{ki}^2}{2 \epsilon D_{ki}}, \quad
        D_{ki} = 1 - u + u S_{ki}

    u is the share of an interval of length h that has passed, z = (x - m) / L, and epsilon = sigma^2 h / L^2; m and L
    are centre and spread of the data. The adjusted potential is the mixture of weights alpha_k, means r_k and diagonal
    covariances epsilon S_k. s obeys ds/dt + |grad s|^2 / 2 + sigma^2 / 2 laplacian s = 0 on each interval, whatever
    the numbers are. So what is left of the loss of entropic Action Matching are its boundary terms, and these are the
    objective of LightSB. Korotin, Gushchin and Burnaev, "Light Schroedinger Bridge", ICLR 2024, equations 8 to 11.

    Parameters
    ----------
    dimension, components
        d, and the number K of Gaussians on each interval.
    knots
        (I + 1,) increasing times, which bound the intervals.
    sigma
        Noise of the reference process, in units of length per square root of time.

    Examples
    --------
    >>> import torch
    >>> from am.potentials.light_bridge import LightBridge
    >>> bridge = LightBridge(2, 3, torch.tensor([0.0, 1.0]), sigma=0.5)
    >>> bridge.space(torch.zeros(5), torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """

    knots: Tensor

    def __init__(self, dimension: int, components: int, knots: Tensor, sigma: float) -> None:
        super().__init__(dimension)
        self.sigma = sigma
        self.register_buffer("knots", knots.double())
        shape = len(knots) - 1, components
        self.log_weight = nn.Parameter(torch.zeros(shape))
        """(I, K) log alpha."""
        self.mean = nn.Parameter(torch.zeros(*shape, dimension))
        """(I, K, d) r."""
        self.log_stretch = nn.Parameter(torch.full((*shape, dimension), 0.1).log())
        """(I, K, d) log S."""

    def begin_at(self, points: Tensor) -> None:
        """Let the means of the Gaussians be (I, K, d) points."""
        with torch.no_grad():
            self.mean.copy_(self.scaled(points))

    def forward(self, time: Tensor, x: Tensor, interval: int | None = None) -> Tensor:
        """s_t(x), on the interval that begins at t where it is at a knot: (n,), (n, d) -> (n,)."""
        return self.sigma**2 * self.log_terms(time, x, interval)[0].logsumexp(-1)

    def space(self, time: Tensor, x: Tensor, interval: int | None = None) -> Tensor:
        """Drift grad s_t(x), without automatic differentiation: (n,), (n, d) -> (n, d) per unit of t."""
        log_terms, slopes = self.log_terms(time, x, interval)
        return self.spread * torch.einsum("nk,nki->ni", log_terms.softmax(-1), slopes)

    def log_terms(self, time: Tensor, x: Tensor, interval: int | None = None) -> tuple[Tensor, Tensor]:
        """Logarithms of the K terms of the sum, (n, K), and sigma^2 / L times their gradients, (n, K, d)."""
        k = self._interval(time) if interval is None else torch.full_like(time, interval, dtype=torch.long)
        knots = self.knots.to(time)
        length = (knots[k + 1] - knots[k])[:, None, None]
        u = (time - knots[k])[:, None, None] / length
        epsilon = (self.sigma / self.spread) ** 2 * length
        z, r, stretch = self.scaled(x)[:, None], self.mean[k], self.log_stretch[k].exp()
        widening = 1 - u + u * stretch
        exponent = ((stretch - 1) * z.square() + 2 * z * r - u * r.square()) / (epsilon * widening)
        log_terms = self.log_weight[k] + (exponent - widening.log()).sum(-1) / 2
        return log_terms, ((stretch - 1) * z + r) / (widening * length)

    def _interval(self, time: Tensor) -> Tensor:
        knots = self.knots[1:-1].to(time)  # as times are rounded
        return torch.searchsorted(knots, time.detach().contiguous(), right=True)
