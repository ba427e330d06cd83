"""Which groups of cells become which."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy.stats import binomtest

import am
from am.cells.fates import _wilson
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


def test_a_column_that_is_missing_is_one_sentence(cells: AnnData) -> None:
    model = am.fit(cells, "day", held_out=0)
    with pytest.raises(DataError, match="obs has no column 'kind'; it has: day, type"):
        am.transitions(model, cells, "kind")
    some = cells.copy()
    some.obs["type"] = some.obs["type"].where(some.obs["day"] == 0)
    with pytest.raises(DataError, match="no cell of time 1 has a 'type'"):
        am.transitions(model, some, "type")
