"""Features and their derivatives, against automatic differentiation."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from am.objectives.entropic import laplacian
from am.potentials.features import FeatureSettings
from am.potentials.linear import LinearAction, LinearField, SpaceFeatures, VelocityFunctions, legendre
from am.potentials.potential import Potential
from am.randomness import generator

KNOTS = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)


def points(n: int = 7, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=generator("points", n, d), dtype=torch.float64)


def features(d: int = 3, **settings: int) -> SpaceFeatures:
    return SpaceFeatures(d, FeatureSettings(waves=5, **settings), generator("features"))


def test_features_are_coordinates_products_and_waves() -> None:
    x = points()
    values = features().values(x)
    assert values.shape == (7, features().number)
    assert features().number == 3 + 6 + 5
    torch.testing.assert_close(values[:, :3], x)
    torch.testing.assert_close(values[:, 3], x[:, 0] ** 2)
    torch.testing.assert_close(values[:, 4], x[:, 0] * x[:, 1])
    assert features(quadratic_up_to=2).number == 3 + 5


def test_gradients_and_laplacians_of_features_are_exact() -> None:
    x, one = points(), features()
    for m in range(one.number):
        at = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(one.values(at)[:, m].sum(), at, create_graph=True, materialize_grads=True)
        coefficients = torch.eye(one.number, dtype=torch.float64)[[m] * len(x)]
        torch.testing.assert_close(one.field(x, coefficients), slope.detach())
        bend = laplacian(slope, at) if slope.requires_grad else torch.zeros(len(x), dtype=torch.float64)
        torch.testing.assert_close(one.laplacians(x)[:, m], bend.detach())


def jacobian(one: SpaceFeatures, x: Tensor) -> Tensor:
    """(n, d, M), feature by feature."""
    unit = torch.eye(one.number, dtype=torch.float64)
    return torch.stack([one.field(x, unit[[m] * len(x)]) for m in range(one.number)], 2)


def test_slopes_and_products_of_gradients_are_those_of_single_features() -> None:
    x, v, one = points(), points(8)[:7] + 1, features()
    slopes = jacobian(one, x)
    c = torch.randn(7, one.number, generator=generator("c"), dtype=torch.float64)
    torch.testing.assert_close(one.field(x, c), torch.einsum("ndm,nm->nd", slopes, c))
    torch.testing.assert_close(one.along(x, v), torch.einsum("ndm,nd->nm", slopes, v))
    torch.testing.assert_close(one.gram(x), torch.einsum("ndk,ndl->kl", slopes, slopes))


def test_polynomials_of_time_are_orthonormal_and_their_slopes_exact() -> None:
    u = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    values, slopes = legendre(u, 5)
    torch.testing.assert_close(
        torch.trapezoid(values[:, :, None] * values[:, None], u, dim=0), torch.eye(6).double(), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(slopes[1:-1], torch.gradient(values, spacing=(u,), dim=0)[0][1:-1], rtol=1e-4, atol=1e-3)
    assert legendre(u, 0)[0].shape == (len(u), 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_of_the_action_are_those_of_autograd(dtype: torch.dtype) -> None:
    action = LinearAction(3, FeatureSettings(waves=5), KNOTS, generator("action"))
    action.fit_scale(3 * torch.randn(100, 3, generator=generator("scale")) + 1)
    action.offset += torch.randn(action.offset.shape, generator=generator("offset"))
    x, time = points().to(dtype), torch.linspace(0, 1, 7, dtype=dtype)
    for one in (action, action.interval(0)):
        found, expected = one.derivatives(time, x), Potential.derivatives(one, time, x)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.dtype == dtype
            torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(one.space(time, x), expected.space)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_interval_has_coefficients_of_its_own(dtype: torch.dtype) -> None:
    """Single precision rounds 0.7 down, which is a knot nevertheless."""
    knots = torch.tensor([0.0, 0.7, 1.0], dtype=torch.float64)
    action = LinearAction(3, FeatureSettings(waves=5), knots, generator("action"))
    x = points(2).to(dtype)
    for k, (begin, end) in enumerate(pairwise(knots.tolist())):
        inside = torch.tensor([(begin + end) / 2, (begin + 3 * end) / 4], dtype=dtype)
        torch.testing.assert_close(action(inside, x), action.interval(k)(inside, x))
    knot = torch.full((2,), 0.7, dtype=dtype)
    before, after = action.interval(0), action.interval(1)
    assert not torch.allclose(before(knot, x), after(knot, x))
    torch.testing.assert_close(action(knot, x), (before(knot, x) + after(knot, x)) / 2)
    torch.testing.assert_close(action.space(knot, x), after.space(knot, x))  # particles go on with it


def velocities(d: int = 3) -> VelocityFunctions:
    return VelocityFunctions(d, FeatureSettings(waves=5), generator("features"))


def test_each_component_of_a_velocity_has_the_same_functions() -> None:
    x, v, one = points(), points(8)[:7] + 1, velocities()
    share = torch.arange(7, dtype=torch.float64)
    unit = torch.eye(3 * one.number, dtype=torch.float64)
    fields = torch.stack([one.field(x, unit[[m]]) for m in range(3 * one.number)], 2)
    whole = torch.einsum("n,ndk,ndl->kl", share, fields, fields)
    torch.testing.assert_close(whole, torch.block_diag(*[one.gram(x, share)] * 3))
    torch.testing.assert_close(one.carried(x, v, share).flatten(), torch.einsum("n,ndk,nd->k", share, fields, v))
    c = torch.randn(7, 3 * one.number, generator=generator("c"), dtype=torch.float64)
    torch.testing.assert_close(one.field(x, c), torch.einsum("ndk,nk->nd", fields, c))


def test_gradients_of_features_are_velocities_of_the_same_waves() -> None:
    x = points(200)
    values = velocities().values(x)
    gradients = jacobian(features(), x).flatten(1)
    fitted = values @ torch.linalg.lstsq(values, gradients).solution
    torch.testing.assert_close(fitted, gradients)


def test_the_pullback_of_a_field_is_its_jacobian() -> None:
    settings = FeatureSettings(waves=5)
    field = LinearField(SpaceFeatures(3, settings, generator("features")), settings, KNOTS, generator("field"))
    x, time = points(), torch.linspace(0, 1, 7, dtype=torch.float64)
    value, rows = field.with_pullback(time, x)
    expected: Tensor = torch.autograd.functional.jacobian(lambda at: field(time, at).sum(0), x)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(value, field(time, x))
    torch.testing.assert_close(torch.stack(rows), expected)
