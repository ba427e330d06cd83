"""Settings that are chosen by held-out cells, where it is known which are right."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import am
from am.metrics.energy import energy_distance
from am.selection import GROUPS, default_setups, energies

pytestmark = pytest.mark.trains

QUICK: dict[str, Any] = {"waves": 20, "degree": 0, "nodes": 3}


def normal(n: int, seed: int, d: int = 2) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_distances_without_each_group_are_those_of_the_other_points() -> None:
    x, y, log_weight = normal(50, 0), normal(40, 1) + 0.5, normal(50, 2, 1)[:, 0]
    groups = torch.arange(50) % GROUPS, torch.arange(40) * 7 % GROUPS
    found = energies(x, y, log_weight, *groups)
    assert float(found[0]) == pytest.approx(energy_distance(x, y, log_weight), abs=1e-6)
    for k in range(GROUPS):
        rest = [group != k for group in groups]
        expected = energy_distance(x[rest[0]], y[rest[1]], log_weight[rest[0]])
        assert float(found[1 + k]) == pytest.approx(expected, abs=1e-6)


def noise(sigma: float) -> list[am.Setup]:
    return [am.Setup("am_closed", QUICK), am.Setup("eam_closed", {**QUICK, "sigma": sigma})]


def test_noise_is_chosen_where_a_point_becomes_a_cloud_and_not_the_other_way_round() -> None:
    point, cloud = normal(120, 0) / 1000, normal(120, 1)
    spreads = am.choose([point, cloud], [0, 1], noise(1.0), folds=2, repeats=2)
    assert spreads.setup.method == "eam_closed"
    assert spreads.tried[0].distance.above > 3 * spreads.tried[0].distance.error
    shrinks = am.choose([cloud, point], [0, 1], noise(1.0), folds=2, repeats=2)
    assert shrinks.setup.method == "am_closed"
    assert shrinks.tried[1].distance.above > 3 * shrinks.tried[1].distance.error


def test_the_simplest_of_what_is_as_good_is_chosen() -> None:
    clouds = [normal(120, 0), normal(120, 1) + 3]
    setups = noise(0.01)  # which changes next to nothing
    for order in (setups, setups[::-1]):
        assert am.choose(clouds, [0, 1], order, folds=2, repeats=1).setup.method == order[0].method


def test_mass_tells_growth_where_distances_do_not() -> None:
    """Two places far from one another that both double: all that is seen of places stays the same."""
    clouds = [torch.cat([normal(n, 2 * i) / 5, normal(n, 2 * i + 1) / 5 + 9]) for i, n in enumerate((60, 120))]
    grows = am.Setup("uam_closed", {**QUICK, "growth": 0.01}, {"coupling": "unbalanced"})
    setups = [am.Setup("am_closed", QUICK), grows]
    known = am.choose(clouds, [0, 1], setups, masses=[120, 240], folds=2, repeats=1)
    assert known.setup.method == "uam_closed"
    assert known.tried[0].mass is not None
    assert known.tried[0].mass.value == pytest.approx(0.5)  # of what should be 2, it has 1
    assert known.path.masses == (120, 240)
    assert am.choose(clouds, [0, 1], setups, folds=2, repeats=1).tried[0].mass is None


def test_features_are_chosen_by_the_loss() -> None:
    """Waves where velocities bend, and none where all are alike."""
    setups = [am.Setup("am_closed", {"waves": waves, "degree": 0, "nodes": 3}) for waves in (40, 0)]
    first = normal(150, 0, 1)
    for end, waves in ((first + 1, 0), (first + torch.sin(3 * first), 40)):
        choice = am.choose([first, end], [0, 1], setups, folds=3, repeats=1)
        assert choice.setup.settings["waves"] == waves
        assert len(choice.tried) == 1
        assert len(choice.setup.settings["ridges"]) == 1


def test_what_runs_away_or_cannot_be_followed_is_not_chosen() -> None:
    clouds = [normal(40, 0), normal(40, 1) + 3]
    lost = am.Setup("am_closed", {**QUICK, "sampling": {"rtol": 1e-300, "atol": 1e-300}})
    good = noise(0.3)[1]
    choice = am.choose(clouds, [0, 1], [lost, good], folds=2, repeats=1)
    assert choice.setup.method == good.method
    with pytest.raises(am.ConfigError, match="no setup can be followed from one time to the next"):
        am.choose(clouds, [0, 1], [lost], folds=2, repeats=1)


def test_a_setup_with_all_weight_on_one_cell_is_not_chosen() -> None:
    """Whose distance to other cells is no number."""
    clouds = [normal(40, 0), normal(40, 1) + 3]
    extreme = am.Setup("uam_closed", {**QUICK, "growth": 1e6, "ridges": [1e-9]}, {"coupling": "unbalanced"})
    choice = am.choose(clouds, [0, 1], [extreme, noise(0.3)[0]], folds=2, repeats=1)
    assert choice.setup.method == "am_closed"
    assert choice.tried[0].distance.value == math.inf


def test_any_method_can_be_chosen_and_is_then_fitted_to_all_cells() -> None:
    clouds = [normal(40, 0), normal(40, 1) + 3]
    still = am.Setup("no_dynamics")
    network = am.Setup("am", {"width": 16, "depth": 2, "iterations": 60, "learning_rate": 1e-2}, {"smoothing": 0.1})
    choice = am.choose(clouds, [0, 1], [still, network], folds=2, repeats=1)
    assert choice.setup == network
    assert choice.path.smoothing == 0.1
    alone = network.model().fit(choice.path)
    assert torch.equal(choice.fit().velocity(0.5, clouds[0]), alone.velocity(0.5, clouds[0]))
    assert "\n* am, width 16" in str(choice)


def test_the_same_seed_chooses_alike_number_by_number() -> None:
    clouds = [normal(40, 0), normal(40, 1) + 3]
    first, again = (am.choose(clouds, [0, 1], noise(0.3), folds=2, repeats=2, seed=5) for _ in range(2))
    assert first.tried == again.tried
    assert first.tried != am.choose(clouds, [0, 1], noise(0.3), folds=2, repeats=2, seed=6).tried


def test_defaults_follow_the_unit_of_the_points() -> None:
    clouds = [normal(40, 0), normal(40, 1)]
    near, far = (default_setups([scale * x for x in clouds], [0, 1], [1, 2]) for scale in (1.0, 10.0))
    for one, other in zip(near, far, strict=True):
        assert other.settings["growth"] == pytest.approx(one.settings["growth"] / 100, rel=0.1)
        assert other.path["relaxation"] == pytest.approx(one.path["relaxation"] * 100, rel=0.1)
    assert all(replace(setup).model() for setup in [*near, *default_setups(clouds, [0, 1])])


def test_what_cannot_be_chosen_from_is_one_sentence() -> None:
    clouds = [normal(25, 0), normal(60, 1)]
    with pytest.raises(ValueError, match="a time has 25 cells: too few for 10 groups in each of 3 folds"):
        am.choose(clouds, [0, 1])
    with pytest.raises(am.ConfigError, match="there is no setup to choose from"):
        am.choose(clouds, [0, 1], [], folds=2)
    for folds, repeats in ((1, 3), (0, 3), (2, 0)):
        with pytest.raises(am.ConfigError, match="two folds and one repeat are the least"):
            am.choose(clouds, [0, 1], folds=folds, repeats=repeats)
    with pytest.raises(am.ConfigError, match="did you mean 'waves'"):
        am.choose(clouds, [0, 1], [am.Setup("am_closed", {"wave": 3})], folds=2)
