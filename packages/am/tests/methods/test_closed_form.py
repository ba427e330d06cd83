"""Closed forms of Action Matching and of its rivals, on paths whose answer is known."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import am
from am.dynamics.trajectory import DynamicsError
from am.objectives.path import PathSample
from am.objectives.score_matching import score_matching
from am.training.checkpoint import CheckpointError
from am.training.loop import train
from am.training.settings import TrainingSettings
from am.training.solve import simplest

pytestmark = pytest.mark.trains

PLAIN = {"waves": 0, "ridges": (1e-13,)}
CLOSED = {
    "am_closed": am.ClosedFormActionMatching,
    "eam_closed": am.ClosedFormEntropicActionMatching,
    "uam_closed": am.ClosedFormUnbalancedActionMatching,
}


class Squeezed:
    """N(m_t, Sigma_t) with m_t = t (1, -2) and Sigma_t = exp(2 B t) S S for commuting B and S, B not diagonal.

    Its points are the corners of a cube: mean and covariance of a set of 2^d points are exactly those.
    """

    dimension = 2
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)
    rates = torch.tensor([0.5, -0.7], dtype=torch.float64)
    sizes = torch.tensor([1.5, 0.6], dtype=torch.float64)

    def mean(self, time: Tensor) -> Tensor:
        return time[:, None] * torch.tensor([1.0, -2.0]).to(time)

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """Corners in turn, so that every four points have the moments of the Gaussian."""
        index = torch.arange(len(time))
        signs = torch.stack([1.0 - 2 * (index % 2), 1.0 - 2 * (index // 2 % 2)], 1).double()
        wide = torch.exp(time.double()[:, None] * self.rates) * self.sizes
        return (signs * wide) @ self.turn.T + self.mean(time.double())

    def velocity(self, x: Tensor, time: Tensor) -> Tensor:
        """Of the optimal linear map: m' + B (x - m)."""
        b = self.turn @ torch.diag(self.rates) @ self.turn.T
        return torch.tensor([1.0, -2.0]).double() + (x - self.mean(time)) @ b


class Moving(Squeezed):
    """The same with velocities of its corners."""

    def moving(self, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Corners and their velocities."""
        x = self.sample(time, generator)
        return x, self.velocity(x, time.double())


@pytest.mark.parametrize("path", [Squeezed(), Moving()])
def test_linear_fields_between_gaussians_are_found_exactly(path: Squeezed) -> None:
    model = am.ClosedFormActionMatching(**PLAIN, degree=3, draws=40).fit(path)
    time = torch.linspace(0, 1, 50, dtype=torch.float64)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        model.method.velocity(model.network, time, x), path.velocity(x, time), rtol=1e-6, atol=1e-6
    )


def test_the_drift_of_a_diffusion_has_the_score_in_it() -> None:
    """N(m_t, Sigma_t) as the law of dx = u dt + sigma dW: u = v + sigma^2 / 2 grad log q."""
    path, sigma = Squeezed(), 0.6
    settings = {**PLAIN, "degree": 12, "draws": 40}
    model = am.ClosedFormEntropicActionMatching(**settings, sigma=sigma).fit(path)
    time = torch.linspace(0, 1, 50, dtype=torch.float64)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = (x - path.mean(time)) @ path.turn
    score = -(centred / (torch.exp(time[:, None] * path.rates) * path.sizes) ** 2) @ path.turn.T
    expected = path.velocity(x, time) + sigma**2 / 2 * score
    torch.testing.assert_close(model.method.velocity(model.network, time, x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["am_closed", "eam_closed"])
def test_actions_have_mean_zero_along_the_path(name: str) -> None:
    """The mean of x^2 under a Gaussian that widens exponentially is no polynomial of time."""
    path = Squeezed()
    model = CLOSED[name](**PLAIN, degree=8, draws=40).fit(path)
    for time in torch.linspace(0, 1, 11, dtype=torch.float64):
        x = path.sample(time.expand(4), torch.Generator())
        found = model.network(time.expand(4), x).detach()
        assert float(found.mean().abs()) < 1e-6 < float(found.std())


@pytest.mark.parametrize("coupling", ["optimal", "unbalanced"])
@pytest.mark.parametrize("name", ["am_closed", "eam_closed"])
def test_actions_have_mean_zero_over_the_cells_of_a_snapshot(name: str, coupling: Any) -> None:
    """Where nothing asks for it, the mean is far from zero: particles go off to one side."""
    path = snapshots(coupling=coupling)
    model = CLOSED[name](waves=20).fit(path)
    for k, time in enumerate((0.0, 0.5, 1.0)):
        assert float(model.action(time, path.points[k]).mean().abs()) < 1e-4
    begin, end, first, second = path.joined(0)  # type: ignore[misc]
    halfway = model.action(0.25, (begin + end) / 2)
    assert float((halfway * (first + second) / 2).sum().abs()) < 1e-4 < float(halfway.std())


def test_a_known_growth_rate_is_found() -> None:
    """Two places that do not move, with masses e^(a t) and e^(b t): features can tell them, and s is rate / lambda."""

    class Growing:
        dimension = 1
        rates = torch.tensor([0.9, -0.4], dtype=torch.float64)

        def log_mass(self, time: Tensor) -> Tensor:
            return torch.logsumexp(time.double()[:, None] * self.rates, 1) - math.log(2)

        def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
            """Evenly spread shares: as exact as points are many."""
            share = (torch.arange(len(time)).double() + 0.5) / len(time)
            first = torch.softmax(time.double()[:, None] * self.rates, 1)[:, 0]
            return torch.where(share < first, 0.0, 1.0)[:, None].double()

    growth = 1e4  # motion is dear, so mass is made where it is
    path = Growing()
    model = am.ClosedFormUnbalancedActionMatching(
        growth=growth, waves=0, quadratic_up_to=0, ridges=(1e-13,), draws=20_000, degree=2
    ).fit(path)
    at = torch.tensor([[0.0], [1.0]])
    for time in (0.1, 0.5, 0.9):
        torch.testing.assert_close(model.growth_rate(time, at).double(), path.rates, rtol=0, atol=2e-3)


def snapshots(**settings: Any) -> am.SnapshotPath:
    """Two clouds that move to and fro: at the middle, the field turns round."""
    first = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    return am.SnapshotPath([first, first + torch.tensor([2.0, 0.0]), first], [0, 0.5, 1], **settings)


def test_each_interval_between_snapshots_has_an_action_of_its_own() -> None:
    model = am.ClosedFormActionMatching(waves=5, draws=500, ridges=(1e-6,)).fit(snapshots())
    x = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(model.velocity(0.499, x), torch.tensor([[4.0, 0.0]]), rtol=0, atol=0.1)
    torch.testing.assert_close(model.velocity(0.5, x), torch.tensor([[-4.0, 0.0]]), rtol=0, atol=0.1)


@pytest.mark.parametrize("times", [[0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.75, 1.0], [0.3, 0.4], [0.2, 0.5], [0.5, 0.9]])
def test_particles_follow_each_action_to_the_end_of_its_interval(times: list[float]) -> None:
    """With steps as long as an interval: a field of the next interval at the last stage would be noticed."""
    path = snapshots()
    sampling = {"method": "rk4", "steps": 2}
    model = am.ClosedFormActionMatching(waves=5, draws=500, ridges=(1e-6,), sampling=sampling).fit(path)
    start = path.points[0] + torch.tensor([4 * min(times[0], 1 - times[0]), 0.0])
    found = model.sample(start, times)
    assert found.x.shape == (len(times), 60, 2)
    for t, x in zip(times, found.x, strict=True):
        expected = path.points[0] + torch.tensor([4 * min(t, 1 - t), 0.0])
        torch.testing.assert_close(x, expected, rtol=0, atol=0.05)


def test_particles_go_back_by_the_reversed_action() -> None:
    """From the last snapshot to the first, through a path whose intervals are not equally long."""
    first = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    path = am.SnapshotPath([first, first + torch.tensor([2.0, 0.0]), first + torch.tensor([2.0, 3.0])], [0, 0.2, 1])
    model = am.ClosedFormActionMatching(waves=5, draws=500, ridges=(1e-6,)).fit(path)
    back = model.network.reversed()
    found = model.method.sample(back, path.points[2], torch.tensor([0.0, 0.4, 0.8, 1.0]), torch.Generator()).x
    expected = [path.points[2], first + torch.tensor([2.0, 1.5]), path.points[1], first]
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=0.05)


def test_weights_grow_on_from_interval_to_interval() -> None:
    still = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    path = am.SnapshotPath([still, still, still], [0, 0.4, 1], masses=[100, 300, 50])
    model = am.ClosedFormUnbalancedActionMatching(waves=5, draws=500).fit(path)
    found = model.sample(still, [0.0, 0.2, 0.4, 1.0])
    assert found.log_weight is not None
    mass = found.log_weight.exp().mean(1)
    torch.testing.assert_close(mass, torch.tensor([1.0, math.sqrt(3), 3.0, 0.5]), rtol=1e-2, atol=0)


def test_the_simplest_ridge_within_one_standard_error_is_taken() -> None:
    """Three folds that agree on what is 0.1 worse, and are of two minds about what is 0.1 worse in the mean."""
    losses = torch.tensor([[1.0, 1.1, 1.6], [2.0, 2.1, 1.8], [3.0, 3.1, 2.9]])
    assert simplest(losses, [1e-3, 1e-2, 1e-1]) == 2
    assert simplest(losses[:, :2], [1e-3, 1e-2]) == 0
    assert simplest(losses[:1], [1e-3, 1e-2, 1e-1]) == 0


def test_mass_that_comes_and_goes_is_followed_to_the_next_snapshot() -> None:
    """Two places, of which one gains what the other loses: every pair stays where it is, and its share changes."""
    rng = torch.Generator().manual_seed(0)
    left, right = torch.randn(60, 2, generator=rng) / 10, torch.randn(60, 2, generator=rng) / 10 + 3
    clouds = [torch.cat([left, right[:20]]), torch.cat([left[:20], right])]
    path = am.SnapshotPath(clouds, [0, 1], "unbalanced", relaxation=0.1, masses=[80, 120])
    model = am.ClosedFormUnbalancedActionMatching(growth=30.0, waves=20).fit(path)  # to grow is cheap
    pushed = model.sample(path.points[0], [0, 1])
    assert pushed.log_weight is not None
    weight = pushed.log_weight[1].exp() / 80
    assert float(weight.sum()) == pytest.approx(1.5, rel=0.05)
    assert float(weight[60:].sum()) == pytest.approx(1.5 * 60 / 80, rel=0.05)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("coupling", ["optimal", "independent", "unbalanced"])
def test_all_forms_learn_from_all_couplings(name: str, coupling: str) -> None:
    path = snapshots(coupling=coupling, masses=[60, 90, 60])
    model = CLOSED[name](waves=3, draws=200, folds=2).fit(path)
    assert bool(model.velocity(0.2, path.points[0]).isfinite().all())
    assert model.losses[0]["step"] == 1


@pytest.mark.parametrize("name", CLOSED)
def test_the_same_seed_solves_the_same_bit_for_bit_and_is_saved(name: str, tmp_path: Path) -> None:
    path = snapshots()
    first, again, other = (CLOSED[name](waves=5, draws=300).fit(path, seed=seed) for seed in (0, 0, 1))
    x = path.points[0]
    assert torch.equal(first.velocity(0.3, x), again.velocity(0.3, x))
    assert not torch.equal(first.velocity(0.3, x), other.velocity(0.3, x))
    loaded = am.load(first.save(tmp_path))
    assert isinstance(loaded, CLOSED[name])
    assert torch.equal(first.velocity(0.3, x), loaded.velocity(0.3, x))


def test_what_is_solved_is_not_solved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = snapshots()
    first = am.ClosedFormActionMatching(waves=5, draws=300).fit(path, state=tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("solved again")

    monkeypatch.setattr("am.training.solve.Solver", refuse)
    again = am.ClosedFormActionMatching(waves=5, draws=300).fit(path, state=tmp_path)
    assert torch.equal(first.velocity(0.3, path.points[0]), again.velocity(0.3, path.points[0]))
    for other in ({"draws": 301}, {"draws": 300, "weight": "decreasing"}):
        with pytest.raises(AssertionError, match="solved again"):
            am.ClosedFormActionMatching(waves=5, **other).fit(path, state=tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        am.ClosedFormActionMatching(waves=5, draws=300).fit(path, state=tmp_path)


def test_the_ridge_is_chosen_by_cells_that_were_held_out() -> None:
    """Of pure noise nothing is to be learned but the mean: a form with many features takes a large ridge."""
    rng = torch.Generator().manual_seed(0)
    noise = am.SnapshotPath([torch.randn(30, 5, generator=rng) for _ in range(2)], [0, 1], "independent")
    shift = torch.randn(400, 1, generator=rng)
    sure = am.SnapshotPath([shift, shift + 0.3 * torch.sin(3 * shift)], [0, 1])  # no polynomial
    ridges = [am.ClosedFormActionMatching(draws=2000).fit(path).losses[0]["ridge"] for path in (noise, sure)]
    assert ridges[0] > 3 * ridges[1]


def test_the_smallest_loss_is_below_what_training_reaches(tmp_path: Path) -> None:
    """The same loss by steps, of the same features."""
    path = snapshots()
    model = am.ClosedFormActionMatching(waves=5, draws=4000, estimator="conditional").fit(path)
    method: Any = model.method
    network = method.build(path, torch.Generator().manual_seed(0))
    settings = TrainingSettings(iterations=100, learning_rate=1e-2, log_every=100)
    trained = train(network, method.loss, path, settings, key="steps", state=tmp_path)
    last = float(trained.log.read_text().splitlines()[-1].split(",")[2])
    assert model.losses[0]["loss"] < last + 0.05 * abs(last)


@pytest.mark.parametrize("name", CLOSED)
def test_what_the_path_does_not_know_is_refused(name: str) -> None:
    path = am.Gaussian(lambda t: torch.stack([t, t], -1), lambda t: 1 + t[:, None])
    with pytest.raises(ValueError, match="needs velocities"):
        CLOSED[name](estimator="conditional").fit(path)
    with pytest.raises(am.ConfigError, match="there is no setting 'iterations'"):
        CLOSED[name](iterations=3)


def test_times_that_nothing_was_learned_of_are_refused() -> None:
    model = am.ClosedFormActionMatching(waves=3, draws=100).fit(snapshots())
    with pytest.raises(DynamicsError, match="times are in"):
        model.sample(torch.zeros(2, 2), [0.0, 1.5])


def test_infinite_features_are_one_sentence() -> None:
    class Far:
        dimension = 2

        def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
            return torch.full((len(time), 2), math.inf)

    with pytest.raises(am.TrainingError, match="features of the points are not finite"):
        am.ClosedFormActionMatching(waves=3, draws=100).fit(Far())


# -- rivals ------------------------------------------------------------------------------------------------


def test_the_score_of_a_gaussian_is_found_exactly() -> None:
    path = Squeezed()
    model = am.Model("ald_sm_closed", **PLAIN, degree=12, draws=40).fit(path)
    time = torch.linspace(0, 1, 50, dtype=torch.float64)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = (x - path.mean(time)) @ path.turn
    expected = -(centred / (torch.exp(time[:, None] * path.rates) * path.sizes) ** 2) @ path.turn.T
    torch.testing.assert_close(model.network(time, x).detach(), expected, rtol=1e-6, atol=1e-6)


class Widening:
    """The same 20 points, which move away from each other."""

    dimension = 2
    cloud = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """In turn."""
        return (1 + time.double()[:, None]) * self.cloud[torch.arange(len(time)) % 20]


def test_the_loss_of_score_matching_has_no_slope_at_the_solution() -> None:
    """The objective that steps would go down, on the same points at the same times."""
    path, nodes = Widening(), 9
    model = am.Model("ald_sm_closed", waves=3, degree=2, ridges=(1e-14,), nodes=nodes, draws=40, folds=2).fit(path)
    at, share = (torch.from_numpy(numbers) for numbers in np.polynomial.legendre.leggauss(nodes))
    time = ((1 + at) / 2).repeat_interleave(40)
    density = (2 / share / nodes).repeat_interleave(40)
    x = path.sample(time, torch.Generator())
    sample = PathSample(time, x, x[:0], x[:0], density)

    def slope() -> float:
        model.network.zero_grad()
        score_matching(model.network, sample)[0].backward()
        return float(model.network.theta.grad.norm())

    solved = slope()
    model.network.theta.data *= 1.1
    assert solved < 1e-6 * slope()


def rotated(angle: float = 0.6) -> tuple[am.SnapshotPath, Tensor]:
    """Corners of a square, and the same turned by less than an eighth: each has its own corner as its partner."""
    square = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return am.SnapshotPath([square, square @ turn.T], [0, 1]), turn.double()


def test_flow_matching_turns_what_no_gradient_turns() -> None:
    """x_t = M_t x_0 with M_t = (1 - t) 1 + t R. A gradient sees of it how the square shrinks and grows."""
    path, turn = rotated()
    time = torch.linspace(0, 1, 30, dtype=torch.float64)
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = torch.eye(2, dtype=torch.float64)
    rate = (turn - one) @ torch.linalg.inv((1 - time)[:, None, None] * one + time[:, None, None] * turn)
    model = am.Model("otcfm_closed", **PLAIN, degree=12).fit(path)
    found = model.method.velocity(model.network, time, x)
    torch.testing.assert_close(found, torch.einsum("nij,nj->ni", rate, x), rtol=1e-6, atol=1e-6)
    model = am.ClosedFormActionMatching(**PLAIN, degree=12).fit(path)
    found = model.method.velocity(model.network, time, x)
    torch.testing.assert_close(found, (rate[:, 0, 0, None] + rate[:, 1, 1, None]) / 2 * x, rtol=1e-6, atol=1e-6)


def test_flow_matching_between_gaussians_is_linear() -> None:
    """E[x_1 - x_0 | x_t] of independent x_0 of N(0, 1) and x_1 of N(3, 4)."""
    rng = torch.Generator().manual_seed(0)
    clouds = [torch.randn(4000, 1, generator=rng), 3 + 2 * torch.randn(4000, 1, generator=rng)]
    model = am.Model("icfm_closed", **PLAIN, degree=8, draws=20_000).fit(am.SnapshotPath(clouds, [0, 1]))
    x = torch.linspace(-1, 4, 20)[:, None]
    for t in (0.1, 0.5, 0.9):
        expected = 3 + (4 * t - (1 - t)) / ((1 - t) ** 2 + 4 * t**2) * (x - 3 * t)
        torch.testing.assert_close(model.velocity(t, x), expected, rtol=0, atol=0.15)


def test_flow_matching_is_least_squares_on_the_same_points() -> None:
    """By a design matrix of monomials of time and of functions that are written out here."""
    rng, nodes, times = torch.Generator().manual_seed(0), 6, [0.0, 0.4, 1.0]
    clouds = [torch.randn(60, 2, generator=rng).double() * (1 + k) for k in range(3)]
    path = am.SnapshotPath(clouds, times)
    settings = {"waves": 4, "degree": 1, "ridges": (1e-13,), "nodes": nodes}
    model = am.Model("otcfm_closed", **settings).fit(path)
    network: Any = model.network
    frequencies, phases = network.space_features.frequencies, network.space_features.phases

    def design(u: Tensor, x: Tensor) -> Tensor:
        z = network.scaled(x)
        space = torch.cat([torch.ones_like(z[:, :1]), z, torch.sin(z @ frequencies.T + phases)], 1)
        return torch.cat([space, u[:, None] * space], 1)

    at, share = (torch.from_numpy(numbers) for numbers in np.polynomial.legendre.leggauss(nodes))
    for k, (begin, end) in enumerate(pairwise(times)):
        start, stop = path.joined(k)[:2]  # type: ignore[index]
        u, root = ((1 + at) / 2).repeat_interleave(len(start)), share.sqrt().repeat_interleave(len(start))[:, None]
        x = torch.cat([(1 - part) * start + part * stop for part in (1 + at) / 2])
        target = ((stop - start) / (end - begin)).repeat(nodes, 1)
        solution = torch.linalg.lstsq(root * design(u, x), root * target).solution
        found = network.interval(k)(begin + (end - begin) * u, x).detach()
        torch.testing.assert_close(found, design(u, x) @ solution, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["icfm_closed", "otcfm_closed", "ald_sm_closed"])
def test_rivals_are_solved_bit_for_bit_and_saved(name: str, tmp_path: Path) -> None:
    path = snapshots(coupling="unbalanced")
    first, again, other = (am.Model(name, waves=5, draws=300).fit(path, seed=seed) for seed in (0, 0, 1))
    x, time = path.points[0], torch.full((60,), 0.3)
    assert torch.equal(first.network(time, x), again.network(time, x))
    assert not torch.equal(first.network(time, x), other.network(time, x))
    assert torch.equal(am.load(first.save(tmp_path)).network(time, x), first.network(time, x))


def test_a_coupling_is_that_of_the_method() -> None:
    """All mass goes to the next snapshot, whatever the path says."""
    path = snapshots()
    found = [am.Model("otcfm_closed", waves=5).fit(snapshots(coupling=c)) for c in ("optimal", "unbalanced")]
    first, second = (model.velocity(0.2, path.points[0]) for model in found)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-3)
    torch.testing.assert_close(first, torch.tensor([4.0, 0.0]).expand(60, 2), rtol=0, atol=0.05)
    apart = am.Model("icfm_closed", waves=5).fit(path).velocity(0.01, path.points[0])
    assert float((apart - first).square().mean()) > 0.5
