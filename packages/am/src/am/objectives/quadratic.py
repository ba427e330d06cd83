r"""The losses of Action Matching and its rivals as quadratic forms, for what is linear in its features.

With s = sum_k theta_k phi_k the losses of AM, eAM and uAM are theta' A theta / 2 - b' theta, where

.. math::

    A &= \int w E[\nabla\phi \nabla\phi' + \lambda \phi\phi'] dt \\
    b &= w_1 E_{q_1}[\phi] - w_0 E_{q_0}[\phi] - \int (w E[\partial_t\phi] + w' E[\phi]) dt
         - \frac{\sigma^2}{2} \int w E[\Delta\phi] dt

or, from velocities v of curves that carry q_t, the same b without its first terms but with \int w E[\nabla\phi . v] dt.
Where curves carry mass of which each gains or loses g in a unit of time, w is w m, m being the whole mass, and the
integral that of w m E[\nabla\phi . v + g \phi].

A function of time alone is no feature. The losses of AM and eAM cannot see one, and that of uAM is least where the mean
growth is that of the whole mass at each time, \lambda E[s] = m' / m. So the form of uAM is of features less their
means, with E[\phi \phi'] - E[\phi] E[\phi]' in A and without \int w m' E[\phi] dt in b.
Score matching is the entropic loss of particles that do not move, with sigma^2 = 2: its A is that of AM, and its b has
the Laplacians alone. Flow matching has E[f f'] in A and E[f v_i] in b, f being functions of which each component i of
the velocity has coefficients of its own.

Where features are products of a function of space and one of time, both are sums of Kronecker products over nodes of
time. Sources of the losses: Neklyudov et al., ICML 2023; Hyvarinen, JMLR 6 (2005); Lipman et al., ICLR 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from am.objectives.path import TimeWeight
from am.potentials.linear import legendre


class Moments(NamedTuple):
    """Means of M features of space at Q nodes of time, in double precision."""

    gradients: Tensor
    """(Q, M, M) E[grad psi_m . grad psi_n]."""
    products: Tensor
    """(Q, M, M) E[psi_m psi_n]."""
    values: Tensor
    """(Q, M) E[psi_m]."""
    laplacians: Tensor
    """(Q, M) E[laplacian psi_m]."""
    carried: Tensor
    """(Q, M) E[grad psi_m . v], and what points that come and go add; zero where no velocities are known.

    (Q, d, M) E[f_m v_i] of components of a velocity, where ``gradients`` are E[f_m f_n].
    """
    ends: Tensor
    """(2, M) E[psi_m] at both ends of the interval."""


def mean_moments(parts: Sequence[Moments]) -> Moments:
    """Means over parts of equally many points."""
    return Moments(*(torch.stack(part).mean(0) for part in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Quadrature:
    """Gauss-Legendre nodes of time on an interval, and how the loss weighs what is there."""

    begin: float
    end: float
    nodes: int
    degree: int
    """Of the polynomials of time."""
    span: tuple[float, float] | None = None
    """What the polynomials are orthonormal on; the interval, if it is not given."""

    def times(self) -> Tensor:
        """(Q,) nodes, inside the interval."""
        return self.begin + (self.end - self.begin) * self._rule()[0]

    def _rule(self) -> tuple[Tensor, Tensor]:
        import numpy as np

        x, weight = np.polynomial.legendre.leggauss(self.nodes)
        return torch.from_numpy(x + 1) / 2, torch.from_numpy(weight) / 2

    def _polynomials(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes of the polynomials: (n,) -> (n, J), twice."""
        first, last = self.span or (self.begin, self.end)
        p, slope = legendre((times - first) / (last - first), self.degree)
        return p, slope / (last - first)

    def form(
        self,
        moments: Moments,
        weight: TimeWeight,
        *,
        sigma: float = 0.0,
        growth: float = 0.0,
        moving: bool = False,
        still: bool = False,
        gain: Tensor | float = 0.0,
    ) -> Quadratic:
        """The quadratic form of the features psi_m p_j, number m (degree + 1) + j.

        Parameters
        ----------
        sigma
            Noise of eAM; 0 for AM and uAM.
        growth
            lambda of uAM; 0 for AM and eAM.
        moving
            Whether b comes from velocities of curves.
        still
            Whether b comes from noise alone.
        gain
            (Q,) rate at which the whole mass grows at the nodes, where growth explains it.
        """
        _, share = self._rule()
        length, times = self.end - self.begin, self.times()
        p, slope = self._polynomials(times)
        w, w_slope = weight.value(times), weight.slope(times)
        m, q, j = moments.values.shape[1], self.nodes, self.degree + 1
        inside = length * share * w
        spread = moments.products - moments.values[:, :, None] * moments.values[:, None, :]
        space = (moments.gradients + growth * spread).reshape(q, m * m)
        time = (p[:, :, None] * p[:, None, :]).reshape(q, j * j) * inside[:, None]
        a = (space.T @ time).view(m, m, j, j).permute(0, 2, 1, 3).reshape(m * j, m * j)
        b = sigma**2 * self.noise(moments, weight).view(m, j)
        if moving:
            b = b + torch.einsum("q...m,qj->...mj", moments.carried, inside[:, None] * p)
        elif not still:
            slopes = inside[:, None] * slope + (length * share * w_slope + inside * gain)[:, None] * p
            b = b - moments.values.T @ slopes
            ends = torch.tensor([self.begin, self.end], dtype=torch.float64)
            sides = torch.tensor([-1.0, 1.0], dtype=torch.float64) * weight.value(ends)
            b = b + moments.ends.T @ (sides[:, None] * self._polynomials(ends)[0])
        return Quadratic(a, b.flatten(-2))

    def noise(self, moments: Moments, weight: TimeWeight) -> Tensor:
        """What noise adds to b, for each unit of sigma^2: (P,)."""
        _, share = self._rule()
        inside = (self.end - self.begin) * share * weight.value(self.times())
        p, _ = self._polynomials(self.times())
        return -(moments.laplacians.T @ (inside[:, None] * p)).reshape(-1) / 2

    def log_slope(self, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Slope of the logarithm of a positive function at the nodes, by its values alone: (Q,).

        It is the polynomial whose sums at the nodes agree with the values at the ends, even where the function is
        known on a grid of times. A gap between them would act as a mass that comes from nowhere. A small ridge would
        enlarge it without bound where a sum of features is a function of time alone.
        """
        nodes, share = self._rule()
        length, ends = self.end - self.begin, torch.tensor([0.0, 1.0], dtype=torch.float64)
        (p, slope), (at_ends, _) = legendre(nodes, self.degree), legendre(ends, self.degree)
        inside, (first, last) = values(self.times()), values(self.begin + length * ends)
        due = last * at_ends[1] - first * at_ends[0] - slope.T @ (share * inside)
        return p @ torch.linalg.solve(p.T @ ((length * share * inside)[:, None] * p), due)

    def mean(self, moments: Moments, theta: Tensor) -> Tensor:
        """E[sum_k theta_k phi_k] at the nodes, (P,) -> (Q,)."""
        coefficients = self._polynomials(self.times())[0] @ theta.view(moments.values.shape[1], -1).T
        return (coefficients * moments.values).sum(1)

    def through(self, values: Tensor, number: int) -> Tensor:
        """Coefficients of the polynomial on the interval that has (Q,) values at the nodes; the smallest of several."""
        return torch.linalg.pinv(legendre(self._rule()[0], number - 1)[0]) @ values


_FREE = 1e-6
"""Ridge of features that are to be spared, beside that of the others."""


@dataclass(frozen=True)
class Quadratic:
    """theta' A theta / 2 - b' theta, or the sum of several of the same A."""

    a: Tensor
    """(P, P), symmetric and not negative."""
    b: Tensor
    """(P,), or (d, P) where there are d."""
    _known: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def with_linear(self, b: Tensor) -> Quadratic:
        """Another b beside the same A, whose eigenvalues are computed once."""
        return replace(self, b=b)

    def __add__(self, other: Quadratic) -> Quadratic:
        return Quadratic(self.a + other.a, self.b + other.b)

    def loss(self, theta: Tensor) -> Tensor:
        """(..., P) -> (...), or (..., d, P) -> (...)."""
        return ((theta @ self.a / 2 - self.b) * theta).flatten(-self.b.ndim).sum(-1)

    def minima(self, ridges: Sequence[float], spared: int = 0) -> Tensor:
        """The minimum with each ridge: (R, P), or (R, d, P).

        A ridge r adds r / 2 times the sum of squares of unknowns that are scaled to make the diagonal of A one; of the
        first ``spared`` of them, a millionth of that. All come from one eigendecomposition.
        """
        diagonal = self.a.diagonal()
        scale = diagonal.clamp(min=diagonal.max() * 1e-14).rsqrt()
        scale[:spared] /= _FREE**0.5
        if spared not in self._known:
            self._known[spared] = torch.linalg.eigh(scale[:, None] * self.a * scale)
        values, vectors = self._known[spared]
        ridge = torch.tensor(ridges).to(self.a).view(-1, *[1] * self.b.ndim)
        shrunk = (scale * self.b) @ vectors / (values.clamp(min=0) + ridge)
        return shrunk @ vectors.T * scale
