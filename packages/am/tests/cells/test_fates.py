"""Which groups of cells become which."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix
from scipy.stats import binomtest, t

import am
from am.cells import clone_fates, growth
from am.cells.fates import Grouped, _wilson
from am.io.snapshots import DataError


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Left stays left; right goes on to the far right, which is called another name there."""
    rng = np.random.default_rng(0)
    places = {(0, "left"): -5.0, (0, "right"): 5.0, (1, "left"): -5.0, (1, "far"): 9.0}
    table = AnnData(np.zeros((240, 1), np.float32))
    table.obs["day"] = np.repeat([float(day) for day, _ in places], 60)
    table.obs["type"] = np.repeat([name for _, name in places], 60)
    x = rng.normal(size=(240, 2)) * 0.7
    x[:, 0] += np.repeat(list(places.values()), 60)
    table.obsm["X_pca"] = x
    return table


def test_groups_that_are_apart_become_what_they_are_pushed_to(cells: AnnData) -> None:
    table = am.transitions(am.fit(cells, "day", held_out=0), cells, "type").set_index(["from_group", "to_group"])
    assert table.loc[("left", "left"), "share"] > 0.99
    assert table.loc[("right", "far"), "share"] > 0.95
    assert table.loc[("right", "left"), "share"] < 0.05
    assert ("far", "left") not in table.index  # no cell of the first day is far
    assert table.loc[("left", "far"), "observed"] == 0.5
    assert (table["cells"] == 60).all()
    inside = (table["low"] >= 0) & (table["low"] <= table["share"]) & (table["share"] <= table["high"])
    assert (inside & (table["high"] <= 1)).all()


@pytest.mark.parametrize(("successes", "cells"), [(0, 20), (7, 30), (30, 30)])
def test_intervals_are_those_of_wilson(successes: int, cells: int) -> None:
    exact = binomtest(successes, cells).proportion_ci(method="wilson")
    assert _wilson(successes / cells, cells) == pytest.approx((exact.low, exact.high))


def test_weights_count_as_the_cells_that_they_are_worth(cells: AnnData) -> None:
    """Left shrinks to a third: of what a group of left and right cells becomes, three quarters are far."""
    grown = cells.copy()
    day, kind = grown.obs["day"].to_numpy(), grown.obs["type"].to_numpy()
    keep = (day == 0) | (kind == "far") | (np.arange(240) % 3 == 0)
    grown = grown[keep].copy()
    grown.obs["type"] = np.where(grown.obs["day"] == 0, "start", grown.obs["type"])
    model = am.fit(grown, "day", masses="counts", settings={"growth": 1.0}, held_out=0)
    table = am.transitions(model, grown, "type").set_index(["from_group", "to_group"])
    assert table.loc[("start", "far"), "share"] == pytest.approx(0.75, abs=0.08)
    assert table.loc[("start", "far"), "observed"] == pytest.approx(0.75)


@pytest.mark.parametrize("sparse", [False, True])
def test_clones_tell_prediction_from_what_is_near(sparse: bool) -> None:
    """Two types move by ten: without a push, every cell of the one is where the other will be."""
    rng = np.random.default_rng(0)
    table = AnnData(np.zeros((160, 1), np.float32))
    table.obs["day"] = np.repeat([0.0, 1.0], 80)
    table.obs["type"] = np.tile(np.repeat(["a", "b"], 40), 2)
    place = np.repeat([-5.0, 5.0, 5.0, 15.0], 40)
    table.obsm["X_pca"] = rng.normal(size=(160, 2)) * 0.3 + np.stack([place, 0 * place], 1)
    clone = np.tile(np.repeat(np.arange(20), 4), 2)  # of one type each
    clone[clone == 19] = 20 + np.arange(8)[: (clone == 19).sum()]  # each seen once
    members = (clone[:, None] == np.arange(28)).astype(float)
    table.obsm["X_clone"] = csr_matrix(members) if sparse else members
    model = am.fit(table, "day", method="am_closed", held_out=0)
    (row,) = clone_fates(model, table, "type").to_dict("records")
    assert row["clones"] == 19
    assert row["predicted"] == pytest.approx(0, abs=0.01)
    # All those of b, and none of a, are among cells of another type when they are not pushed.
    assert row["neighbours"] == pytest.approx(2 * 9 / 19, abs=0.01)
    # 40 of a and 40 of b, but for the four of a clone's own.
    assert row["all_cells"] == pytest.approx(2 * (40 / 76) ** 2)
    assert row["over_all_cells"] == pytest.approx(row["all_cells"] - row["predicted"])
    spread = np.std([0.0] * 10 + [2.0] * 9, ddof=1) / np.sqrt(19) * t.ppf(0.975, 18)
    assert row["over_neighbours_high"] - row["over_neighbours"] == pytest.approx(spread, rel=0.02)


def test_a_clones_own_mates_are_no_neighbours(cells: AnnData) -> None:
    """Labels that are pure noise: whoever counts the mates themselves predicts better than chance."""
    model = am.fit(cells, "day", method="am_closed", held_out=0)
    grouped = Grouped.of(model, cells, "type")
    later = grouped.fates(1)
    mates = later.rows[:7]
    x = grouped.x[mates]
    far = np.linalg.norm(x[:, None] - grouped.x[later.rows[7:]], axis=2).argsort(1)[:, :15] + 7
    expected = later.groups[far].mean(1)
    assert later.near(x, mates) == pytest.approx(expected)
    with pytest.raises(DataError, match="obsm has no 'X_clone'; it has: X_pca"):
        clone_fates(model, cells, "type")
    alone = cells.copy()
    alone.obsm["X_clone"] = np.eye(240)
    with pytest.raises(DataError, match="no clone of 'X_clone' has cells of a 'type' at two neighbouring times"):
        clone_fates(model, alone, "type")


def test_growth_by_group_is_the_mean_of_its_cells(cells: AnnData) -> None:
    table = cells[:, :0].copy()
    table.obs["am_growth"] = np.arange(240) * 0.5
    table.uns["am"] = {"time_key": "day"}
    found = growth(table, "type").set_index(["group", "time"])
    assert found["growth"].to_dict() == {
        ("left", 0): 59 / 4,
        ("right", 0): 30 + 59 / 4,
        ("left", 1): 60 + 59 / 4,
        ("far", 1): 90 + 59 / 4,
    }
    assert found["error"].isna().all()
    assert (found["cells"] == 60).all()
    table.obs["am_growth_error"] = np.where(np.arange(240) % 2, 1.0, 3.0)
    table.obs["type"] = table.obs["type"].where(table.obs["type"] != "far")
    found = growth(table, "type")
    assert found["error"].tolist() == [2, 2, 2]
    assert found["time"].tolist() == [0, 1, 0]
    with pytest.raises(DataError, match="obs has no 'am_growth'"):
        growth(cells, "type")


def test_a_column_that_is_missing_is_one_sentence(cells: AnnData) -> None:
    model = am.fit(cells, "day", held_out=0)
    for lost, said in (("day", "obs has no column 'day'; it has: type"), ("X_pca", "obsm has no 'X_pca'; it has")):
        other = cells.copy()
        del (other.obs if lost == "day" else other.obsm)[lost]
        with pytest.raises(DataError, match=said):
            am.transitions(model, other, "type")
    with pytest.raises(DataError, match="obs has no column 'kind'; it has: day, type"):
        am.transitions(model, cells, "kind")
    some = cells.copy()
    some.obs["type"] = some.obs["type"].where(some.obs["day"] == 0)
    with pytest.raises(DataError, match="no cell of time 1 has a 'type'"):
        am.transitions(model, some, "type")
