"""The quadratic form of a loss, against the loss itself and against problems with known answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from am.objectives.entropic import laplacian
from am.objectives.path import WEIGHTS
from am.objectives.quadratic import Moments, Quadratic, Quadrature
from am.potentials.features import FeatureSettings
from am.potentials.linear import LinearAction, SpaceFeatures, legendre
from am.randomness import generator

RULE = Quadrature(0.2, 0.7, 9, 2)


def double(*shape: int, seed: object = 0) -> Tensor:
    return torch.randn(shape, generator=generator("numbers", shape, seed), dtype=torch.float64)


def cloud(time: float) -> tuple[Tensor, Tensor]:
    """Points on curves, and their velocities."""
    first, second = double(40, 2, seed="first"), double(40, 2, seed="second")
    return first + time * second + time**2, second + 2 * time


def jacobian(features: SpaceFeatures, z: Tensor) -> Tensor:
    """(n, d, M), feature by feature."""
    unit = torch.eye(features.number, dtype=torch.float64)
    return torch.stack([features.field(z, unit[[m] * len(z)]) for m in range(features.number)], 2)


def moments(features: SpaceFeatures) -> Moments:
    parts = []
    for time in RULE.times().tolist():
        z, v = cloud(time)
        parts.append(
            (
                features.gram(z) / len(z),
                features.values(z).T @ features.values(z) / len(z),
                features.values(z).mean(0),
                features.laplacians(z).mean(0),
                features.along(z, v).mean(0),
            )
        )
    ends = torch.stack([features.values(cloud(time)[0]).mean(0) for time in (RULE.begin, RULE.end)])
    return Moments(*(torch.stack(part) for part in zip(*parts, strict=True)), ends)


@dataclass
class Direct:
    """The loss by automatic differentiation, at the nodes of time; least over functions of time alone."""

    action: LinearAction
    weight: str
    sigma: float
    growth: float
    moving: bool

    @torch.no_grad()
    def __call__(self, theta: Tensor) -> float:
        self.action.theta.data = theta.view_as(self.action.theta)
        weight, shares = WEIGHTS[self.weight], _shares()
        total = 0.0
        for time, share in zip(RULE.times().tolist(), shares, strict=True):
            x, v = cloud(time)
            t = torch.full((len(x),), time, dtype=torch.float64)
            value, ds_dt, ds_dx = self.action.derivatives(t, x)
            running = ds_dx.square().sum(1) / 2 + self.growth / 2 * (value - value.mean()).square()
            running = running + self.sigma**2 / 2 * _laplacian(self.action, t, x)
            w = weight.value(t)
            if self.moving:
                total += share * float((w * (running - (ds_dx * v).sum(1))).mean())
            else:
                total += share * float((w * (running + ds_dt) + weight.slope(t) * value).mean())
        if not self.moving:
            for sign, time in ((1, RULE.begin), (-1, RULE.end)):
                t = torch.full((40,), time, dtype=torch.float64)
                total += sign * float((weight.value(t) * self.action(t, cloud(time)[0])).mean())
        return total


def _shares() -> list[float]:
    """Weights of the nodes, by integrating the polynomials that are one at a node and zero at the others."""
    nodes = RULE.times()
    powers = torch.stack([nodes**k for k in range(len(nodes))])
    k = torch.arange(len(nodes)).double() + 1
    found: list[float] = torch.linalg.solve(powers, (RULE.end**k - RULE.begin**k) / k).tolist()
    return found


def _laplacian(action: LinearAction, time: Tensor, x: Tensor) -> Tensor:
    with torch.enable_grad():
        at = x.clone().requires_grad_()
        return laplacian(action.derivatives(time, at).space, at).detach()


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("weight", ["constant", "decreasing", "parabolic"])
@pytest.mark.parametrize(("sigma", "growth"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.3)])
def test_the_form_is_the_loss(sigma: float, growth: float, weight: str, moving: bool) -> None:
    settings = FeatureSettings(waves=4, degree=RULE.degree)
    knots = torch.tensor([0.0, RULE.begin, RULE.end, 1.0], dtype=torch.float64)
    action = LinearAction(2, settings, knots, generator("action")).interval(1)
    form = RULE.form(moments(action.space_features), WEIGHTS[weight], sigma=sigma, growth=growth, moving=moving)
    direct = Direct(action, weight, sigma, growth, moving)
    for seed in range(3):
        theta = double(len(form.b), seed=seed)
        whole = torch.zeros_like(action.theta.data)
        whole[1] = theta.view(-1, RULE.degree + 1)
        assert float(form.loss(theta)) == pytest.approx(direct(whole), rel=1e-9, abs=1e-9)


def test_kronecker_sums_are_sums_over_all_features() -> None:
    """A and b of products of features of space and time, point by point, share by share."""
    features = SpaceFeatures(2, FeatureSettings(waves=3), generator("features"))
    form = RULE.form(moments(features), WEIGHTS["decreasing"], sigma=0.4, growth=0.6, moving=True)
    a, b = torch.zeros_like(form.a), torch.zeros_like(form.b)
    for time, share in zip(RULE.times().tolist(), _shares(), strict=True):
        z, v = cloud(time)
        u = torch.tensor([(time - RULE.begin) / (RULE.end - RULE.begin)], dtype=torch.float64)
        p = legendre(u, RULE.degree)[0][0]
        slopes = torch.einsum("ndm,j->ndmj", jacobian(features, z), p).flatten(2)
        values = torch.einsum("nm,j->nmj", features.values(z), p).flatten(1)
        values -= values.mean(0)
        bends = torch.einsum("nm,j->nmj", features.laplacians(z), p).flatten(1)
        w = share * (1 - time)
        a += w * (torch.einsum("ndk,ndl->kl", slopes, slopes) + 0.6 * values.T @ values) / len(z)
        b += w * (torch.einsum("ndk,nd->k", slopes, v) - 0.4**2 / 2 * bends.sum(0)) / len(z)
    torch.testing.assert_close(form.a, a)
    torch.testing.assert_close(form.b, b)


def quadratic() -> Quadratic:
    root = double(6, 6)
    return Quadratic(root @ root.T, double(6, seed="b"))


def test_the_least_loss_is_minus_half_of_b_theta_and_what_is_above_it_is_quadratic() -> None:
    form = quadratic()
    best = form.minima([1e-15])[0]
    assert float(form.loss(best)) == pytest.approx(-float(form.b @ best) / 2)
    away = double(6, seed="away")
    excess = float(form.loss(best + away) - form.loss(best))
    assert excess == pytest.approx(float(away @ form.a @ away) / 2)


def test_every_ridge_has_the_minimum_that_its_own_solve_has() -> None:
    form, ridges = quadratic(), [1e-6, 0.1, 3.0]
    for ridge, theta in zip(ridges, form.minima(ridges), strict=True):
        expected = torch.linalg.solve(form.a + ridge * form.a.diagonal().diag(), form.b)
        torch.testing.assert_close(theta, expected)


def test_a_feature_that_the_loss_cannot_see_gets_no_coefficient() -> None:
    form = Quadratic(torch.diag(torch.tensor([2.0, 0.0]).double()), torch.tensor([1.0, 0.0]).double())
    torch.testing.assert_close(form.minima([1e-12])[0], torch.tensor([0.5, 0.0]).double())


@pytest.mark.parametrize("steps", [0, 100])
def test_a_mass_known_on_a_grid_of_times_is_made_by_growth_alone(steps: int) -> None:
    """Sums at the nodes agree with values at the ends, or a small ridge enlarges the gap without bound."""
    rule = Quadrature(0.2, 0.9, nodes=12, degree=3)

    def mass(times: Tensor) -> Tensor:
        return torch.exp(2 * ((times * steps).round() / steps if steps else times))

    rate = rule.log_slope(mass)
    assert_close(rate, torch.full_like(rate, 2.0), rtol=0.05 if steps else 1e-4, atol=0)
    x, share = np.polynomial.legendre.leggauss(12)
    u = torch.from_numpy(x + 1) / 2
    inside = 0.7 * torch.from_numpy(share) / 2 * mass(0.2 + 0.7 * u)
    first, last = mass(torch.tensor([0.2, 0.9], dtype=torch.float64))
    for k in range(4):  # of u^k
        gap = (last - first * 0**k) - (inside * k * u ** max(k - 1, 0) / 0.7).sum() - (inside * rate * u**k).sum()
        assert abs(float(gap)) < 1e-12
