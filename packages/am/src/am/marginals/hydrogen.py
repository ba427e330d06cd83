r"""The electron of a hydrogen atom: q_t = \|psi_t\|^2 for a superposition of eigenstates.

Units are those of the paper's experiment: hbar = m = e = eps0 = 1, so that the Bohr radius is
a0 = 4 pi and the energy of shell n is E_n = -1 / (2 a0^2 n^2). Formulas: Griffiths, *Introduction
to Quantum Mechanics*, section 4.2 (eigenstates); Bohm, Phys. Rev. 85, 166 (1952) (velocity).

Draws are exact and independent. With psi = sum_i a_i, where a_i = c_i R_i(r) Theta_i(theta)
exp(i m_i phi - i E_i t):

* a proposal takes a term i with probability \|c_i\|^2, a radius from r^2 R_i^2 and a polar angle
  from Theta_i^2 (both by inverting their tabulated distribution functions);
* integrating over phi leaves only cross terms of equal m, so (r, theta) is accepted with
  probability sum_m \|sum_{i: m_i = m} a_i\|^2 / (g sum_i \|a_i\|^2), g being the size of the largest
  group of equal m. Where all m differ this is 1, and nothing is ever rejected;
* phi given (r, theta) has a trigonometric polynomial as its density, whose distribution function
  is inverted by a safeguarded Newton iteration (for two states it is Kepler's equation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from am.marginals.inverse_cdf import InverseCdf

BOHR_RADIUS = 4 * math.pi
"""a0 in the experiment's units of length."""


@dataclass(frozen=True)
class Eigenstate:
    """One term c |n, l, m> of a superposition."""

    n: int
    l: int  # noqa: E741  (the quantum number's name)
    m: int
    amplitude: complex = 1.0

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"eigenstate (n={self.n}, l={self.l}, m={self.m}): n must be at least 1")
        if not 0 <= self.l < self.n:
            raise ValueError(
                f"eigenstate (n={self.n}, l={self.l}, m={self.m}): l must be between 0 and n - 1 = {self.n - 1}"
            )
        if abs(self.m) > self.l:
            raise ValueError(
                f"eigenstate (n={self.n}, l={self.l}, m={self.m}): m must be between -l = {-self.l} and l = {self.l}"
            )

    @property
    def energy(self) -> float:
        """E_n, in the experiment's units (hbar = 1: also an angular frequency)."""
        return -1.0 / (2 * BOHR_RADIUS**2 * self.n**2)


class _Term:
    """A normalised eigenstate, split into radial, polar and azimuthal factors.

    psi = amplitude * norm * exp(-r / (n a0)) L(rho) S(x), with rho = 2 r / (n a0), L the associated
    Laguerre polynomial and S = rho^l Y_lm the regular solid harmonic, a polynomial in x, y, z: no
    division by r, and none by sin(theta), is ever made.
    """

    def __init__(self, state: Eigenstate, amplitude: complex) -> None:
        n, l, m = state.n, state.l, abs(state.m)  # noqa: E741
        self.m = state.m
        self.energy = state.energy
        self.amplitude = amplitude
        self.decay = 1 / (n * BOHR_RADIUS)
        self.laguerre = special.genlaguerre(n - l - 1, 2 * l + 1).coef[::-1].tolist()
        # d^m P_l / du^m: coefficients of u^j, all of the parity of l - m.
        self.legendre = Polynomial(special.legendre(l).coef[::-1]).deriv(m).coef.tolist()
        self.l_minus_m = l - m
        radial = math.sqrt((2 * self.decay) ** 3 * math.factorial(n - l - 1) / (2 * n * math.factorial(n + l)))
        angular = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m))
        sign = (-1) ** m if state.m > 0 else 1  # Condon and Shortley
        self.norm = sign * radial * angular

        reach = n * BOHR_RADIUS * (2 * n + 30)  # the density there is below 1e-20 of its maximum
        self.radius = InverseCdf(lambda r: (r * self._radial(r)) ** 2, 0.0, reach)
        self.cosine = InverseCdf(lambda u: self._polar(u) ** 2, -1.0, 1.0)
        self._l = l

    def _radial(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        rho = 2 * self.decay * r
        power: NDArray[np.float64] = rho ** (self.l_minus_m + abs(self.m))
        value: NDArray[np.float64] = power * np.exp(-rho / 2) * Polynomial(self.laguerre)(rho)
        return value

    def _polar(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sqrt(np.clip(1 - u**2, 0, None)) ** abs(self.m) * Polynomial(self.legendre)(u)

    def meridian(self, r: Tensor, u: Tensor) -> Tensor:
        """Norm times radial times polar factor: real, (n,), (n,) -> (n,); u = cos(theta)."""
        rho = 2 * self.decay * r
        polar = (1 - u * u).clamp_min(0).sqrt() ** abs(self.m) * _horner(self.legendre, u)
        return (
            self.norm
            * rho ** (self.l_minus_m + abs(self.m))
            * torch.exp(-rho / 2)
            * _horner(self.laguerre, rho)
            * polar
        )

    def spatial(self, x: Tensor, r: Tensor, decay: float) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the eigenstate times exp(decay * r), at cartesian points."""
        rho = 2 * self.decay * r
        scaled = 2 * self.decay * x
        px, py, z = scaled.unbind(-1)
        real, imag = torch.ones_like(px), torch.zeros_like(px)
        for _ in range(abs(self.m)):
            real, imag = real * px - imag * py, real * py + imag * px
        polar = torch.zeros_like(z)
        for j, c in enumerate(self.legendre):
            if c:
                polar = polar + c * z**j * (rho * rho) ** ((self.l_minus_m - j) // 2)
        factor = self.norm * torch.exp((decay - self.decay) * r) * _horner(self.laguerre, rho) * polar
        return factor * real, factor * imag * (1 if self.m >= 0 else -1)


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * x + c
    return value


class Hydrogen:
    """q_t(x) = |psi(x, t)|^2 for a superposition of eigenstates of the hydrogen atom.

    Parameters
    ----------
    states
        The terms; amplitudes are normalised together.
    duration
        Physical time (units of the module) that the unit interval of t stands for.

    Raises
    ------
    ValueError
        No state, a state given twice, or amplitudes that are all zero.
    """

    dimension = 3

    def __init__(self, states: Sequence[Eigenstate], duration: float) -> None:
        if not states:
            raise ValueError("a superposition needs at least one eigenstate")
        labels = [(s.n, s.l, s.m) for s in states]
        if len(set(labels)) < len(labels):
            raise ValueError(f"each eigenstate may appear once, got {labels}")
        total = math.sqrt(sum(abs(s.amplitude) ** 2 for s in states))
        if not total > 0:
            raise ValueError("all amplitudes are zero")
        self.duration = duration
        self._terms = [_Term(s, s.amplitude / total) for s in states]
        self._decay = min(term.decay for term in self._terms)
        self._groups = sorted({term.m for term in self._terms})
        self._largest_group = max(sum(t.m == m for t in self._terms) for m in self._groups)

    def _phase(self, term: _Term, time: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the amplitude times exp(-i (E - E_first) t)."""
        angle = -(term.energy - self._terms[0].energy) * self.duration * time
        c, s = torch.cos(angle), torch.sin(angle)
        a, b = term.amplitude.real, term.amplitude.imag
        return a * c - b * s, a * s + b * c

    def _wavefunction(self, time: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Real part, imaginary part (both times exp(decay * r)) and decay * r."""
        r = (x * x).sum(-1).clamp_min(1e-30).sqrt()
        real, imag = torch.zeros_like(r), torch.zeros_like(r)
        for term in self._terms:
            u, v = term.spatial(x, r, self._decay)
            c, s = self._phase(term, time)
            real, imag = real + c * u - s * v, imag + c * v + s * u
        return real, imag, self._decay * r

    def log_density(self, time: Tensor, x: Tensor) -> Tensor:
        """Log q_t(x), per unit of volume: (n,), (n, 3) -> (n,); -inf on a node."""
        u, v, decay = self._wavefunction(time, x)
        return torch.log(u * u + v * v) - 2 * decay

    def score(self, time: Tensor, x: Tensor) -> Tensor:
        """Gradient of log q_t at x: (n,), (n, 3) -> (n, 3), per unit of length."""
        return self._gradient(time, x, lambda u, v: (2 * u, 2 * v, torch.full_like(u, -2)))

    def velocity(self, time: Tensor, x: Tensor) -> Tensor:
        """Bohmian velocity grad arg psi, per unit of t (so times ``duration``): (n, 3).

        It moves q_s to q_t, as every solution of the continuity equation does; it is not in
        general the gradient field that action matching finds.
        """
        return self._gradient(time, x, lambda u, v: (-self.duration * v, self.duration * u, torch.zeros_like(u)))

    def _gradient(self, time: Tensor, x: Tensor, parts: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> Tensor:
        """(a grad u + b grad v) / |psi|^2 + c grad(decay r), where ``parts`` gives a, b and c of psi = u + i v."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            u, v, decay = self._wavefunction(time, x)
            a, b, c = parts(u.detach(), v.detach())
            square = _square(u.detach(), v.detach())
            return torch.autograd.grad((u, v, decay), x, (a / square, b / square, c))[0]

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """Exact independent draws, one from q_t for each entry t of ``time``: (n,) -> (n, 3)."""
        out = torch.empty(len(time), 3, dtype=torch.float64, device=time.device)
        pending = torch.arange(len(time), device=time.device)
        while len(pending):
            uniform = torch.rand(5, len(pending), generator=generator, dtype=torch.float64, device=time.device)
            x, accept = self._transform(time[pending].to(torch.float64), uniform)
            out[pending[accept]] = x[accept]
            pending = pending[~accept]
        return out.to(torch.get_default_dtype())

    def _transform(self, time: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals and whether to accept them, from (5, n) uniform numbers."""
        share = torch.tensor([abs(t.amplitude) ** 2 for t in self._terms], dtype=torch.float64, device=time.device)
        choice = torch.searchsorted(share.cumsum(0)[:-1].contiguous(), uniform[0], right=True)
        r, u = torch.empty_like(time), torch.empty_like(time)
        for i, term in enumerate(self._terms):
            mine = choice == i
            r[mine] = term.radius(uniform[1, mine])
            u[mine] = term.cosine(uniform[2, mine])

        total = torch.zeros_like(r)
        groups = {m: (torch.zeros_like(r), torch.zeros_like(r)) for m in self._groups}
        for term in self._terms:
            f = term.meridian(r, u)
            c, s = self._phase(term, time)
            real, imag = groups[term.m]
            groups[term.m] = real + c * f, imag + s * f
            total = total + abs(term.amplitude) ** 2 * f * f
        mass = sum((a * a + b * b for a, b in groups.values()), torch.zeros_like(r))
        if self._largest_group == 1:
            accept = torch.ones_like(r, dtype=torch.bool)
        else:
            accept = uniform[4] * self._largest_group * total < mass

        phi = _invert_trigonometric(mass, _cross_terms(groups), uniform[3])
        rho = r * (1 - u * u).clamp_min(0).sqrt()
        return torch.stack([rho * torch.cos(phi), rho * torch.sin(phi), r * u], -1), accept


def _square(u: Tensor, v: Tensor) -> Tensor:
    """Squared modulus of psi, kept from zero: on a node, where a gradient of log psi has no value, it becomes 0."""
    return (u * u + v * v).clamp_min(torch.finfo(u.dtype).tiny)


def _cross_terms(groups: dict[int, tuple[Tensor, Tensor]]) -> dict[int, tuple[Tensor, Tensor]]:
    r"""Coefficients of cos(k phi) and sin(k phi), k > 0, in \|sum_m b_m exp(i m phi)\|^2."""
    terms: dict[int, tuple[Tensor, Tensor]] = {}
    orders = sorted(groups)
    for i, low in enumerate(orders):
        for high in orders[i + 1 :]:
            (a, b), (c, d) = groups[low], groups[high]
            # 2 Re[b_high conj(b_low) exp(i k phi)]
            cos, sin = 2 * (c * a + d * b), -2 * (d * a - c * b)
            k = high - low
            if k in terms:
                cos, sin = cos + terms[k][0], sin + terms[k][1]
            terms[k] = cos, sin
    return terms


def _invert_trigonometric(mean: Tensor, terms: dict[int, tuple[Tensor, Tensor]], uniform: Tensor) -> Tensor:
    """Solve F(phi) = 2 pi uniform for the distribution function of a non-negative density.

    The density is 1 + sum_k (cos_k cos(k phi) + sin_k sin(k phi)) / mean on [0, 2 pi).
    """
    target = 2 * math.pi * uniform
    terms = {k: (c / mean, s / mean) for k, (c, s) in terms.items()}
    low, high = torch.zeros_like(target), torch.full_like(target, 2 * math.pi)
    phi = target.clone()
    for _ in range(50):
        excess, density = phi - target, torch.ones_like(phi)
        for k, (c, s) in terms.items():
            cos, sin = torch.cos(k * phi), torch.sin(k * phi)
            excess = excess + (c * sin + s * (1 - cos)) / k
            density = density + c * cos + s * sin
        if excess.abs().max() < 1e-12:
            break
        low, high = torch.where(excess < 0, phi, low), torch.where(excess < 0, high, phi)
        newton = phi - excess / density
        inside = (newton > low) & (newton < high)
        phi = torch.where(inside, newton, (low + high) / 2)
    return phi
