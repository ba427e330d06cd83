"""The hydrogen marginals against closed forms and an independent wave function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate as quadrature
from scipy import special, stats
from torch import Tensor
from torchdiffeq import odeint

from am.marginals.hydrogen import BOHR_RADIUS as A0
from am.marginals.hydrogen import Eigenstate, Hydrogen
from am.marginals.marginals import ScoredMarginals

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """psi by SciPy's spherical harmonics and Laguerre polynomials, in complex arithmetic."""

    states: tuple[Eigenstate, ...]
    duration: float

    @property
    def library(self) -> Hydrogen:
        return _library(self)

    def reach(self) -> float:
        n = max(state.n for state in self.states)
        return n * A0 * (2 * n + 30)

    def psi(self, time: float, r: Array, cosine: Array, phi: Array) -> NDArray[np.complex128]:
        total = math.sqrt(sum(abs(state.amplitude) ** 2 for state in self.states))
        value = np.zeros(np.broadcast_shapes(r.shape, cosine.shape, phi.shape), dtype=np.complex128)
        for state in self.states:
            phase = np.exp(-1j * state.energy * time * self.duration)
            angular = special.sph_harm_y(state.l, state.m, np.arccos(cosine), phi)
            value += state.amplitude / total * phase * radial(state, r) * angular
        return value

    def psi_at(self, time: float, x: Array) -> NDArray[np.complex128]:
        r = np.linalg.norm(x, axis=-1)
        return self.psi(time, r, x[..., 2] / r, np.arctan2(x[..., 1], x[..., 0]))

    def radial_density(self, time: float, r: Array) -> Array:
        """Density of the radius: only terms of equal l and m interfere."""
        total = sum(abs(state.amplitude) ** 2 for state in self.states)
        density = np.zeros_like(r)
        for a in self.states:
            for b in self.states:
                if (a.l, a.m) == (b.l, b.m):
                    phase = np.exp(-1j * (a.energy - b.energy) * time * self.duration)
                    coefficient = (complex(a.amplitude) * complex(b.amplitude).conjugate() * phase).real / total
                    density += coefficient * r**2 * radial(a, r) * radial(b, r)
        return density

    def radial_cdf(self, time: float) -> tuple[Array, Array]:
        r = np.linspace(0, self.reach(), 40_001)
        return r, quadrature.cumulative_simpson(self.radial_density(time, r), x=r, initial=0)


@cache
def _library(reference: Reference) -> Hydrogen:
    return Hydrogen(reference.states, reference.duration)


def radial(state: Eigenstate, r: Array) -> Array:
    n, l = state.n, state.l  # noqa: E741
    norm = math.sqrt((2 / (n * A0)) ** 3 * math.factorial(n - l - 1) / (2 * n * math.factorial(n + l)))
    rho = 2 * r / (n * A0)
    return norm * np.exp(-rho / 2) * rho**l * special.genlaguerre(n - l - 1, 2 * l + 1)(rho)


SUPERPOSITIONS = {
    "published": Reference((Eigenstate(3, 2, -1), Eigenstate(2, 1, 0)), 14_000.0),
    "one state": Reference((Eigenstate(3, 1, 1),), 1.0),
    "equal m": Reference((Eigenstate(3, 0, 0), Eigenstate(2, 1, 0, 0.5j), Eigenstate(1, 0, 0, 0.7)), 5_000.0),
    "many": Reference(
        (
            Eigenstate(4, 1, 1),
            Eigenstate(3, 2, -1, 0.5 + 0.5j),
            Eigenstate(3, 1, 1, -0.7j),
            Eigenstate(2, 0, 0, 0.3),
            Eigenstate(4, 3, -2, 0.8),
        ),
        9_000.0,
    ),
}
TIMES = (0.0, 0.37, 1.0)


@pytest.fixture(params=SUPERPOSITIONS)
def reference(request: pytest.FixtureRequest) -> Reference:
    return SUPERPOSITIONS[request.param]


@pytest.fixture(autouse=True)
def _double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(marginals: Hydrogen, time: float, n: int, seed: int = 0) -> Tensor:
    return marginals.sample(torch.full((n,), time), generator(seed))


@cache
def ball(reach: float) -> tuple[Tensor, Tensor]:
    """Points and weights of a quadrature over a ball: Gauss-Legendre in r and cos(theta), even in phi."""
    (r, wr), (u, wu) = np.polynomial.legendre.leggauss(160), np.polynomial.legendre.leggauss(12)
    r, wr = reach / 2 * (1 + r), reach / 2 * wr
    phi = 2 * np.pi * np.arange(12) / 12
    rr, uu, pp = np.meshgrid(r, u, phi, indexing="ij")
    weights = (wr * r**2)[:, None, None] * wu[:, None] * np.full(12, 2 * np.pi / 12)
    rho = rr * np.sqrt(1 - uu**2)
    x = np.stack([rho * np.cos(pp), rho * np.sin(pp), rr * uu], -1)
    return torch.from_numpy(x.reshape(-1, 3)), torch.from_numpy(weights.reshape(-1))


def expectation(reference: Reference, time: float, values: Tensor) -> float:
    x, weights = ball(reference.reach())
    density = reference.library.log_density(torch.full((len(x),), time), x).exp()
    return float((density * weights * values).sum())


# -- density -------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", TIMES)
def test_density_integrates_to_one(reference: Reference, time: float) -> None:
    x, _ = ball(reference.reach())
    assert expectation(reference, time, torch.ones(len(x))) == pytest.approx(1, abs=1e-10)


@st.composite
def eigenstates(draw: st.DrawFn) -> Eigenstate:
    n = draw(st.integers(1, 6))
    l = draw(st.integers(0, n - 1))  # noqa: E741
    return Eigenstate(n, l, draw(st.integers(-l, l)))


@settings(deadline=None, max_examples=25)
@given(eigenstates())
def test_moments_of_the_radius_of_an_eigenstate(state: Eigenstate) -> None:
    # Bethe and Salpeter 1957, section 3.
    n, l = state.n, state.l  # noqa: E741
    reference = Reference((state,), 1.0)
    x, _ = ball(reference.reach())
    r = x.norm(dim=-1)
    assert expectation(reference, 0.3, torch.ones(len(x))) == pytest.approx(1, abs=1e-9)
    assert expectation(reference, 0.3, r) == pytest.approx(A0 / 2 * (3 * n**2 - l * (l + 1)), rel=1e-9)
    assert expectation(reference, 0.3, r**2) == pytest.approx(
        A0**2 * n**2 / 2 * (5 * n**2 + 1 - 3 * l * (l + 1)), rel=1e-9
    )
    assert expectation(reference, 0.3, 1 / r) == pytest.approx(1 / (A0 * n**2), rel=1e-9)


@pytest.mark.parametrize("time", TIMES)
def test_log_density_matches_an_independent_wave_function(reference: Reference, time: float) -> None:
    x = draws(reference.library, time, 500)
    ours = reference.library.log_density(torch.full((len(x),), time), x).numpy()
    theirs = 2 * np.log(np.abs(reference.psi_at(time, x.numpy())))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


OSCILLATOR = 128 * math.sqrt(2) / 243 * A0  # <1,0,0| z |2,1,0>, Griffiths, chapter 9


def angular_frequency(duration: float) -> float:
    return (Eigenstate(2, 1, 0).energy - Eigenstate(1, 0, 0).energy) * duration


@pytest.mark.parametrize("time", TIMES)
def test_a_dipole_along_z_oscillates(time: float) -> None:
    reference = Reference((Eigenstate(1, 0, 0), Eigenstate(2, 1, 0)), 700.0)
    known = OSCILLATOR * math.cos(angular_frequency(700.0) * time)
    x, _ = ball(reference.reach())
    assert expectation(reference, time, x[:, 2]) == pytest.approx(known, abs=1e-9)
    z = draws(reference.library, time, 40_000)[:, 2]
    assert abs(float(z.mean()) - known) < 4 * float(z.std()) / 200


@pytest.mark.parametrize(("m", "handedness"), [(1, 1), (-1, -1)])
@pytest.mark.parametrize("time", TIMES)
def test_a_dipole_across_z_rotates(time: float, m: int, handedness: int) -> None:
    # Y_1^{+-1} = -+ sqrt(3 / 8 pi) sin(theta) exp(+- i phi)
    reference = Reference((Eigenstate(1, 0, 0), Eigenstate(2, 1, m)), 700.0)
    angle = angular_frequency(700.0) * time
    known = -handedness * OSCILLATOR / math.sqrt(2) * np.array([math.cos(angle), handedness * math.sin(angle)])
    x, _ = ball(reference.reach())
    quadrature_mean = [expectation(reference, time, x[:, i]) for i in (0, 1)]
    np.testing.assert_allclose(quadrature_mean, known, atol=1e-9)
    xy = draws(reference.library, time, 40_000)[:, :2]
    assert bool(((xy.mean(0) - torch.from_numpy(known)).abs() < 4 * xy.std(0) / 200).all())


def test_states_of_one_shell_have_the_static_dipole_of_the_stark_effect() -> None:
    reference = Reference((Eigenstate(2, 0, 0), Eigenstate(2, 1, 0)), 700.0)
    x, _ = ball(reference.reach())
    for time in TIMES:
        assert expectation(reference, time, x[:, 2]) == pytest.approx(-3 * A0, rel=1e-9)
        z = draws(reference.library, time, 40_000)[:, 2]
        assert abs(float(z.mean()) + 3 * A0) < 4 * float(z.std()) / 200


# -- score and velocity --------------------------------------------------------------------------


def central_difference(function: object, x: Tensor, step: float) -> Tensor:
    """Derivatives along each coordinate, last: f is (n, 3) -> (n, ...)."""
    parts = []
    for i in range(3):
        e = step * torch.eye(3)[i]
        parts.append((function(x + e) - function(x - e)) / (2 * step))  # type: ignore[operator]
    return torch.stack(parts, -1)


@pytest.mark.parametrize("time", TIMES)
def test_score_matches_finite_differences(reference: Reference, time: float) -> None:
    x = draws(reference.library, time, 500)
    t = torch.full((len(x),), time)

    def log_density(y: Tensor) -> Tensor:
        return torch.from_numpy(2 * np.log(np.abs(reference.psi_at(time, y.numpy()))))

    score = reference.library.score(t, x)
    error = (score - central_difference(log_density, x, 1e-4)).norm(dim=-1)
    # Third derivatives of log |psi|^2 grow like the cube of the score near a node.
    assert bool((error < 1e-7 * (1 + score.norm(dim=-1) ** 3)).all())


@pytest.mark.parametrize("time", TIMES)
def test_velocity_is_the_gradient_of_the_phase(reference: Reference, time: float) -> None:
    x = draws(reference.library, time, 500)
    t = torch.full((len(x),), time)

    def phase_difference(i: int) -> Tensor:
        e = 1e-4 * np.eye(3)[i]
        ratio = reference.psi_at(time, x.numpy() + e) / reference.psi_at(time, x.numpy() - e)
        return torch.from_numpy(np.angle(ratio) / 2e-4)

    velocity = reference.library.velocity(t, x) / reference.duration
    error = (velocity - torch.stack([phase_difference(i) for i in range(3)], -1)).norm(dim=-1)
    steepness = reference.library.score(t, x).norm(dim=-1) + velocity.norm(dim=-1)
    assert bool((error < 1e-7 * (1 + steepness**3)).all())


@pytest.mark.parametrize("time", [0.2, 0.37, 0.9])
def test_velocity_solves_the_continuity_equation(reference: Reference, time: float) -> None:
    marginals = reference.library
    x = draws(marginals, time, 2000)
    t = torch.full((len(x),), time)

    def flux(y: Tensor) -> Tensor:
        return marginals.log_density(t, y).exp()[:, None] * marginals.velocity(t, y)

    step = 1e-5
    change = (marginals.log_density(t + step, x).exp() - marginals.log_density(t - step, x).exp()) / (2 * step)
    parts = central_difference(flux, x, 1e-3)
    divergence = parts.diagonal(dim1=-2, dim2=-1).sum(-1)
    scale = change.abs().mean() + parts.abs().mean()
    assert float((change + divergence).abs().max() / scale) < 1e-5
    if len(reference.states) > 1:
        assert float(change.abs().mean() / scale) > 0.05  # both terms matter


# -- special places ------------------------------------------------------------------------------

PLACES = {
    "origin": [0.0, 0.0, 0.0],
    "beside the origin": [1e-12, -1e-12, 1e-12],
    "north": [0.0, 0.0, 20.0],
    "south": [0.0, 0.0, -20.0],
    "beside the axis": [1e-9, 1e-9, 20.0],
    "equator": [15.0, -15.0, 0.0],
    "far": [600.0, -600.0, 600.0],
    "far on the axis": [0.0, 0.0, 1000.0],
    "very far": [3e4, 0.0, 1.0],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("place", PLACES)
def test_everything_is_finite_everywhere(reference: Reference, place: str, dtype: torch.dtype) -> None:
    x = torch.tensor([PLACES[place]], dtype=dtype)
    for time in TIMES:
        t = torch.tensor([time], dtype=dtype)
        log_density = reference.library.log_density(t, x)
        assert not bool(log_density.isnan().any())
        assert float(log_density) < 0  # -inf on a node
        assert bool(reference.library.score(t, x).isfinite().all())
        assert bool(reference.library.velocity(t, x).isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [1e-12, 1e-6, 1.0, 1e3])
def test_near_a_nodal_line_against_the_closed_form(distance: float, dtype: torch.dtype) -> None:
    # |psi_{2,1,1}|^2 is proportional to rho^2 exp(-r / a0), its phase is phi.
    marginals = Hydrogen([Eigenstate(2, 1, 1)], duration=3.0)
    z = 20.0
    x = torch.tensor([[distance * 0.6, distance * 0.8, z]], dtype=dtype)
    t = torch.zeros(1, dtype=dtype)
    r = math.hypot(distance, z)
    exact = torch.tensor([[1.2 / distance, 1.6 / distance, 0.0]]) - x.double() / (r * A0)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(marginals.score(t, x).double(), exact, rtol=tolerance, atol=tolerance)
    swirl = 3 * torch.tensor([[-0.8 / distance, 0.6 / distance, 0.0]])
    torch.testing.assert_close(marginals.velocity(t, x).double(), swirl, rtol=tolerance, atol=tolerance)


def test_the_ground_state_is_smooth_up_to_the_origin() -> None:
    marginals = Hydrogen([Eigenstate(1, 0, 0)], duration=1.0)
    zero = torch.zeros(1)
    at_origin = marginals.log_density(zero, torch.zeros(1, 3))
    assert float(at_origin) == pytest.approx(-math.log(math.pi * A0**3), abs=1e-12)
    x = torch.tensor([[0.0, 3e-9, -4e-9]])
    torch.testing.assert_close(marginals.score(zero, x), -2 / A0 * x / 5e-9, rtol=1e-9, atol=1e-12)


def test_single_precision_agrees_with_double(reference: Reference) -> None:
    t = torch.linspace(0, 1, 5000)
    x = reference.library.sample(t, generator())
    exact = reference.library.log_density(t, x)
    single = reference.library.log_density(t.float(), x.float()).double()
    distance_to_node = 1 / (1 + reference.library.score(t, x).norm(dim=-1))
    # Rounding moves a point by r * 6e-8 (and its time by 6e-8 of the duration).
    allowed = 1e-5 + 3e-6 * (x.norm(dim=-1) + reference.duration * abs(Eigenstate(1, 0, 0).energy)) / distance_to_node
    assert bool(((single - exact).abs() < allowed).all())


# -- draws ---------------------------------------------------------------------------------------


def cells(reference: Reference, time: float) -> tuple[list[Array], Array]:
    """Edges in (r, cos(theta), phi), and the probability of each cell by quadrature of |psi|^2."""
    r, cdf = reference.radial_cdf(time)
    inner = np.interp([0.1, 0.3, 0.5, 0.7, 0.9, 0.98], cdf, r)
    edges = [np.concatenate([[0.0], inner, [r[-1]]]), np.linspace(-1, 1, 6), np.linspace(-np.pi, np.pi, 9)]
    masses = []
    nodes = []
    for axis, count in zip(edges, (24, 6, 6), strict=True):
        node, weight = np.polynomial.legendre.leggauss(count)
        half = np.diff(axis)[:, None] / 2
        nodes.append((axis[:-1, None] + half * (1 + node)).reshape(-1))
        masses.append((half * weight).reshape(-1))
    rr, uu, pp = np.meshgrid(*nodes, indexing="ij", sparse=True)
    density = np.abs(reference.psi(time, rr, uu, pp)) ** 2 * rr**2
    weighted = np.einsum("ijk,i,j,k->ijk", density, *masses)
    shape = [n for axis, count in zip(edges, (24, 6, 6), strict=True) for n in (len(axis) - 1, count)]
    return edges, weighted.reshape(shape).sum((1, 3, 5))


def goodness_of_fit(reference: Reference, time: float, x: Tensor) -> tuple[float, float]:
    """p-values: Kolmogorov-Smirnov on r, chi-square on cells of (r, cos(theta), phi)."""
    r = x.norm(dim=-1)
    spherical = torch.stack([r, x[:, 2] / r, torch.atan2(x[:, 1], x[:, 0])], -1).numpy()
    grid, cdf = reference.radial_cdf(time)
    radius = stats.kstest(spherical[:, 0], lambda q: np.interp(q, grid, cdf)).pvalue

    edges, probability = cells(reference, time)
    assert probability.sum() == pytest.approx(1, abs=1e-6)
    observed, _ = np.histogramdd(spherical, edges)
    expected = len(x) * probability
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    keep = expected > 0
    statistic = ((observed[keep] - expected[keep]) ** 2 / expected[keep]).sum()
    return float(radius), float(stats.chi2.sf(statistic, keep.sum() - 1))


def test_draws_follow_the_density_at_several_times(reference: Reference) -> None:
    n = 20_000
    x = reference.library.sample(torch.tensor(TIMES).repeat(n), generator(1)).reshape(n, len(TIMES), 3)
    for i, time in enumerate(TIMES):
        assert min(goodness_of_fit(reference, time, x[:, i])) > 1e-3


@pytest.mark.parametrize("n", [1, 2, 3, 6, 10])
def test_radii_reach_far_into_the_tail(n: int) -> None:
    # Where l = n - 1 the radius has a Gamma distribution of shape 2 n + 1 and scale n a0 / 2.
    (term,) = Hydrogen([Eigenstate(n, n - 1, 0)], 1.0)._terms
    upper = torch.tensor([1e-9, 1e-6, 1e-3, 0.5])
    exact = stats.gamma(2 * n + 1, scale=n * A0 / 2).isf(upper.numpy())
    np.testing.assert_allclose(term.radius(1 - upper).numpy(), exact, rtol=1e-6)


def test_the_goodness_of_fit_sees_a_wrong_time() -> None:
    reference = SUPERPOSITIONS["published"]
    _, chi_square = goodness_of_fit(reference, 0.42, draws(reference.library, 0.37, 20_000))
    assert chi_square < 1e-6


@pytest.mark.parametrize(("name", "begin", "end"), [("published", 0.1, 0.55), ("many", 0.3, 0.42)])
def test_draws_moved_along_the_bohmian_flow_follow_the_density(name: str, begin: float, end: float) -> None:
    reference = SUPERPOSITIONS[name]
    marginals = reference.library
    start = draws(marginals, begin, 4000, seed=2)
    moved = odeint(
        lambda t, x: marginals.velocity(t.expand(len(x)), x),
        start,
        torch.tensor([begin, end]),
        rtol=1e-4,
        atol=1e-3,
        method="dopri5",
    )[-1]
    assert min(goodness_of_fit(reference, end, moved)) > 1e-3
    assert min(goodness_of_fit(reference, end, start)) < 1e-6  # and they had to move
    fresh = draws(marginals, end, 4000, seed=3)
    for direction in torch.eye(3):
        assert stats.ks_2samp((moved @ direction).numpy(), (fresh @ direction).numpy()).pvalue > 1e-3


def test_draws_are_a_function_of_the_generator() -> None:
    marginals = SUPERPOSITIONS["many"].library
    one, again, other = draws(marginals, 0.4, 1000, 5), draws(marginals, 0.4, 1000, 5), draws(marginals, 0.4, 1000, 6)
    assert torch.equal(one, again)
    assert not bool((one == other).any())
    assert len(torch.unique(one, dim=0)) == 1000


def test_draws_do_not_touch_the_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draws(SUPERPOSITIONS["many"].library, 0.4, 100)
    assert torch.equal(before, torch.get_rng_state())


def test_single_precision_draws_are_the_double_precision_ones_rounded(reference: Reference) -> None:
    t = torch.linspace(0, 1, 5000, dtype=torch.float32)
    exact = reference.library.sample(t, generator())
    torch.set_default_dtype(torch.float32)
    single = reference.library.sample(t, generator())
    assert (single.dtype, exact.dtype) == (torch.float32, torch.float64)
    assert torch.equal(single, exact.float())


def test_no_draws_are_no_error() -> None:
    assert SUPERPOSITIONS["published"].library.sample(torch.empty(0), generator()).shape == (0, 3)


def test_the_smallest_uniform_numbers_give_a_point() -> None:
    marginals = SUPERPOSITIONS["published"].library
    x, _ = marginals._transform(torch.zeros(2), torch.zeros(5, 2))
    assert bool(x.isfinite().all())


def test_is_a_path_of_marginals_with_a_score() -> None:
    assert isinstance(SUPERPOSITIONS["published"].library, ScoredMarginals)
    assert SUPERPOSITIONS["published"].library.dimension == 3


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantum_numbers", "message"),
    [
        ((0, 0, 0), "n must be at least 1"),
        ((2, 2, 0), "l must be between 0 and n - 1 = 1"),
        ((2, -1, 0), "l must be between 0 and n - 1 = 1"),
        ((3, 1, 2), "m must be between -l = -1 and l = 1"),
        ((3, 1, -2), "m must be between -l = -1 and l = 1"),
    ],
)
def test_impossible_quantum_numbers_are_refused(quantum_numbers: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Eigenstate(*quantum_numbers)


def test_superpositions_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one eigenstate"):
        Hydrogen([], 1.0)
    with pytest.raises(ValueError, match="may appear once"):
        Hydrogen([Eigenstate(2, 1, 0), Eigenstate(2, 1, 0, 0.5)], 1.0)
    with pytest.raises(ValueError, match="amplitudes are zero"):
        Hydrogen([Eigenstate(2, 1, 0, 0.0)], 1.0)
