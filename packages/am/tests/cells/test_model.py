"""``am.fit`` of cells in memory: what it writes, predicts and says of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

import am
from am.cells.learners import COUPLINGS
from am.cells.population import Population
from am.cells.quality import held_out
from am.config import ConfigError
from am.io.snapshots import DataError
from am.io.time_course import TimeCourse
from am.marginals.snapshots import Coupling
from am.metrics.energy import energy_distance

pytestmark = pytest.mark.trains

SHIFT = np.array([3.0, -1.5])
"""Per day."""
DAYS = (2, 3, 7)


def translated(n: int = 60, days: tuple[int, ...] = DAYS, seed: int = 0) -> AnnData:
    """Fresh cells at each day, moved by a constant velocity."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=(n, 2)) * [2, 1] + 10 + SHIFT * day for day in days])
    table = AnnData(np.zeros((len(x), 1), np.float32), obs=pd.DataFrame({"day": np.repeat(days, n).astype(float)}))
    table.obs_names = [f"cell{i}" for i in range(len(x))]
    table.obsm["X_pca"] = x
    return table


@pytest.fixture(scope="module")
def cells() -> AnnData:
    return translated()


@pytest.fixture(scope="module")
def model(cells: AnnData) -> am.CellModel:
    return am.fit(cells, "day", method="am_closed")


def test_velocities_are_written_in_the_units_of_the_basis_and_the_column(cells: AnnData, model: am.CellModel) -> None:
    x = cells.obsm["X_pca"].reshape(3, 60, 2).mean(1)
    before, after = x[1] - x[0], (x[2] - x[1]) / 4
    found = cells.obsm["X_am_velocity"].reshape(3, 60, 2).mean(1)
    assert found[[0, 2]] == pytest.approx(np.array([before, after]), abs=0.1)
    assert np.abs(found[2] - SHIFT).max() < 0.2  # the means of 60 cells tell it so well over four days
    assert model.velocity(cells, 3) == pytest.approx(model.velocity(cells.obsm["X_pca"], 3.0))


def test_the_gradient_of_the_action_is_the_velocity(cells: AnnData, model: am.CellModel) -> None:
    x, step = cells.obsm["X_pca"][:60], 1e-2
    sides = [[model.action(np.vstack([x, x[:1] + sign * step * e]), 2)[-1] for sign in (-1, 1)] for e in np.eye(2)]
    # The mean over 61 points that is taken off moves with one of them.
    slope = np.array([high - low for low, high in sides]) / (2 * step) / (60 / 61)
    assert slope == pytest.approx(model.velocity(x[:1], 2)[0], rel=0.02)
    assert cells.obs["am_action"].groupby(cells.obs["day"]).mean().to_numpy() == pytest.approx([0] * 3, abs=1e-4)


def test_cells_that_were_never_seen_are_pushed_there_and_back(model: am.CellModel) -> None:
    fresh = translated(40, seed=9)
    start = fresh.obsm["X_pca"][:40]
    there = model.predict(start, 2, 7).x
    assert np.abs(there - start - 5 * SHIFT).mean() < 0.5
    path = model.predict(fresh[:40], 2, [3, 7])
    assert path.x.shape == (2, 40, 2)
    assert path.weights is None
    assert path.x[1] == pytest.approx(there, abs=1e-4)
    assert model.predict(there, 7, 2).x == pytest.approx(start, abs=0.05)


def test_the_verdict_is_of_cells_that_were_held_out(cells: AnnData, model: am.CellModel) -> None:
    quality = model.quality
    assert quality[["from", "to"]].to_numpy().tolist() == [[2, 3], [3, 7], [2, 7]]
    assert (quality["cells"] == 60).all()
    assert (quality["pushed"] < quality["no_dynamics"]).all()
    assert (quality["gained_low"] < quality["no_dynamics"] - quality["pushed"]).all()
    assert (quality["no_dynamics"] - quality["pushed"] < quality["gained_high"]).all()
    # By hand: what stands still is the held-out cells of one day against those of the next.
    out = held_out(TimeCourse(cells.obsm["X_pca"], cells.obs["day"].to_numpy(), "X_pca"), 0.2, "fit/0", None, 5)
    assert len(out) == 5
    assert (np.sum(out, 0) == 1).all()
    x = [[cells.obsm["X_pca"][fold & (cells.obs["day"] == day)] for day in (2, 3)] for fold in out]
    assert quality["no_dynamics"][0] == pytest.approx(np.mean([energy_distance(*pair) for pair in x]), rel=1e-4)
    assert "as near as two samples of the cells are to each other" in model.verdict
    assert cells.uns["am"]["verdict"] == model.verdict


def test_the_page_is_of_what_was_fitted_and_a_loaded_model_has_none(model: am.CellModel, tmp_path: Path) -> None:
    page = model.report(tmp_path / "quality.html").read_text()
    assert f"From {model.verdict.splitlines()[0][5:]}." in page
    with pytest.raises(ConfigError, match="a loaded model keeps no quality"):
        am.load(model.save(tmp_path / "saved")).report(tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_cells_choose_the_setup_and_those_that_judge_a_fit_do_not(
    cells: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    saw, chosen = [], Population.chosen

    def watched(population: Population, *given: Any) -> Any:
        saw.append(population.course.x)
        return chosen(population, *given)

    monkeypatch.setattr(Population, "chosen", watched)
    model = am.fit(cells.copy(), "day", held_out=0.5)
    assert [len(x) for x in saw] == [180, 90, 90]
    assert not {*map(tuple, saw[1])} & {*map(tuple, saw[2])}  # each fit is judged by the cells that the other saw
    assert str(model).endswith(f"Chosen by cells that were held out: {model.about['chosen']}")
    (row,) = (row for row in model.about["tried"] if row.startswith(model.about["chosen"]))
    assert "distance" in row
    assert model.about["chosen"].startswith(model.about["method"])
    assert len(model.about["tried"]) > 1


@pytest.mark.parametrize("given", [{"settings": {"features": {"waves": 9}}}, {"coupling": "independent"}])
def test_what_is_given_is_not_chosen(given: dict[str, Any]) -> None:
    model = am.fit(translated(30), "day", held_out=0, **given)
    assert model.about["method"] == "am_closed"
    assert "tried" not in model.about


@pytest.mark.parametrize(("n", "share", "chosen"), [(19, 0, False), (22, 0, True), (24, 0.2, False), (25, 0.2, True)])
def test_cells_choose_where_every_fit_sees_enough_of_them_or_the_model_says_so(
    n: int, share: float, chosen: bool
) -> None:
    model = am.fit(translated(n, (2, 7)), "day", held_out=share)
    assert ("chosen" in model.about) == chosen
    assert ("cells chose none, since a fit sees fewer than 20 of a time" in model.verdict) != chosen


def test_what_all_cells_choose_judges_no_part_that_is_too_small_to_choose() -> None:
    """23 cells of a day choose; 18 do not, and those that judge them must not have chosen for them either."""
    model = am.fit(translated(23, (2, 7)), "day", held_out=0.1)  # five at least
    assert "chosen" in model.about
    default = am.fit(translated(23, (2, 7)), "day", held_out=0.1, coupling="optimal")
    pd.testing.assert_frame_equal(model.quality, default.quality)
    assert model.about["settings"] != default.about["settings"]


def test_of_groups_only_the_largest_chooses(tmp_path: Path) -> None:
    """The others are given what it chose, so their fits to fewer cells choose nothing."""
    from am.steps.fit import _Run
    from am.steps.fit_inputs import read_inputs

    table = translated(30)
    table.obs["condition"] = np.where(np.arange(len(table)) % 3 == 0, "few", "many")
    table.write_h5ad(tmp_path / "my.h5ad")
    inputs = read_inputs(tmp_path / "my.h5ad", "day", "pca", "auto", group_key="condition", seed=4)
    runs = [_Run.of(part, inputs, tmp_path, "") for part in inputs.parts]
    assert {run.part.name: run.choosing for run in runs} == {"few": None, "many": 4}


def test_a_fit_that_moves_no_cell_says_so_first() -> None:
    model = am.fit(translated(days=(2, 3)), "day", method="am", settings={"training": {"iterations": 1}})
    first = str(model).splitlines()[0]
    assert first.startswith("from day 2 to 3: ")
    assert first.endswith("; do not interpret")
    row = model.quality.iloc[0]
    assert row["pushed"] == pytest.approx(row["no_dynamics"], rel=0.2)
    assert row["pushed"] > row["noise_floor"]


@pytest.mark.parametrize(("n", "cells"), [(60, 60), (300, 120), (600, 120)])
def test_more_cells_need_fewer_folds(n: int, cells: int) -> None:
    quality = am.fit(translated(n, (2, 7)), "day", settings={"features": {"waves": 5}}).quality
    assert quality["cells"].tolist() == [cells]


def test_replicates_are_held_out_as_wholes() -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    time, replicate = np.repeat([0.0, 1.0], 50), np.tile(np.repeat(["a", "b", "c", "d", "e"], 10), 2)
    folds = held_out(TimeCourse(x, time, "X_pca"), 0.2, "key", replicate.tolist(), 9)
    assert len(folds) == 5
    for out, at in ((out, at) for out in folds for at in (0.0, 1.0)):
        of_each = pd.Series(out[time == at]).groupby(replicate[time == at]).mean()
        assert sorted(of_each) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(("n", "expected"), [(10, 5), (11, 6), (15, 5), (50, 10), (52, 11)])
def test_about_a_fifth_is_held_out_and_four_cells_at_least(n: int, expected: int) -> None:
    course = TimeCourse(np.zeros((2 * n, 1)), np.repeat([0.0, 1.0], n), "X_pca")
    (out,) = held_out(course, 0.2, "key")
    assert [out[:n].sum(), out[n:].sum()] == [expected] * 2
    assert held_out(course, 0, "key") == []


def test_a_saved_model_predicts_the_same(model: am.CellModel, tmp_path: Path) -> None:
    loaded = am.load(model.save(tmp_path / "saved"))
    assert isinstance(loaded, am.CellModel)
    x = translated(5).obsm["X_pca"][:5]
    for call in (
        lambda fitted: fitted.predict(x, 2, 7).x,
        lambda fitted: fitted.predict(x, 7, 2).x,
        lambda fitted: fitted.velocity(x, 3),
        lambda fitted: fitted.action(x, 3),
    ):
        np.testing.assert_array_equal(call(loaded), call(model))


@pytest.mark.parametrize("method", ["am", "otcfm"])
def test_what_the_command_leaves_is_loaded(tmp_path: Path, method: str) -> None:
    from am.steps.fit import fit
    from am.steps.fit_inputs import read_inputs

    translated(20).write_h5ad(tmp_path / "my.h5ad")
    fit(read_inputs(tmp_path / "my.h5ad", "day", "pca", method, iterations=5, held_out=0), tmp_path / "out")
    copy, model = read_h5ad(tmp_path / "out" / "my_am.h5ad"), am.load(tmp_path / "out")
    assert isinstance(model, am.CellModel)
    here = (copy.obs["day"] == 2).to_numpy()
    np.testing.assert_allclose(model.predict(copy[here], 2, 7).x, copy.obsm["X_am_forward"][here], atol=1e-3)
    there = (copy.obs["day"] == 7).to_numpy()
    np.testing.assert_allclose(model.predict(copy[there], 7, 2).x, copy.obsm["X_am_backward"][there], atol=1e-3)


def test_the_command_predicts_cells_of_another_file(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    command: Any = request.getfixturevalue("am")
    translated(20).write_h5ad(tmp_path / "my.h5ad")
    am.fit(str(tmp_path / "my.h5ad"), "day", method="am_closed", held_out=0).save(tmp_path / "fit")
    fresh = translated(15, seed=3)
    fresh.obs["am_growth"] = 1.0  # of another fit
    fresh.write_h5ad(tmp_path / "fresh.h5ad")
    files = (tmp_path / "fit", tmp_path / "fresh.h5ad", "--out", tmp_path / "out.h5ad")
    assert command("predict", *files, "--from-time", 2, "--to-time", 7).code == 0
    copy = read_h5ad(tmp_path / "out.h5ad")
    moved = copy.obsm["X_am_predicted"] - fresh.obsm["X_pca"]
    assert moved[:15].mean(0) == pytest.approx(5 * SHIFT, rel=0.1)
    assert (copy.obs["am_growth"] == 1).all()
    again = command("predict", *files, "--from-time", 2, "--to-time", 7)
    assert again.sentence.endswith("out.h5ad: it is there already; name another file")
    told = command("predict", *files[:3], tmp_path / "b.h5ad", "--from-time", 2, "--to-time", "day 9")
    assert "there is no time 'day 9'" in told.sentence
    told = command("predict", *files[:3], tmp_path / "b.h5ad", "--from-time", 2, "--to-time", 9)
    assert told.sentence == "times must be between 2 and 7, got 9.0"
    assert not (tmp_path / "b.h5ad").exists()


def test_a_file_and_the_same_cells_in_memory_give_the_same(tmp_path: Path) -> None:
    table = translated(20)
    table.obs["day"] = pd.Categorical(table.obs["day"].map("day {:.0f}".format))
    table.write_h5ad(tmp_path / "my.h5ad")
    of_file, of_cells = (am.fit(source, "day", held_out=0) for source in (str(tmp_path / "my.h5ad"), table))
    x = table.obsm["X_pca"][:5]
    np.testing.assert_array_equal(of_file.predict(x, "day 2", "day 7").x, of_cells.predict(x, 2, 7).x)


def test_growth_is_found_where_counts_tell_masses() -> None:
    """Two populations that stand still; one grows from a quarter to three quarters of twice as many."""
    rng = np.random.default_rng(0)
    parts = [(0, -4, 90), (0, 4, 30), (5, -4, 60), (5, 4, 180)]
    x = np.concatenate([rng.normal(size=(n, 2)) * 0.5 + [place, 0] for _, place, n in parts])
    table = AnnData(np.zeros((len(x), 1), np.float32))
    table.obs["day"] = np.repeat([float(day) for day, *_ in parts], [n for *_, n in parts])
    table.obsm["X_pca"] = x
    model = am.fit(table, "day", masses="counts", settings={"growth": 1.0})
    assert model.about["method"] == "uam_closed"
    rates = model.growth_rate(np.array([[-4.0, 0], [4, 0]]), 2.5)
    assert rates == pytest.approx([np.log(60 / 90) / 5, np.log(180 / 30) / 5], abs=0.1)
    grown = model.predict(np.array([[-4.0, 0], [4, 0]]), 0, 5)
    assert grown.weights == pytest.approx([60 / 90, 180 / 30], rel=0.3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.predict(np.zeros((3, 3)), 2, 7), DataError, "(n, 2) finite components of 'X_pca' are needed"),
        (lambda m: m.predict(np.zeros((0, 2)), 2, 7), DataError, "cells have the shape (0, 2)"),
        (lambda m: m.predict(np.zeros((3, 2)), 2, 8), ConfigError, "between 2 and 7"),
        (lambda m: m.predict(np.zeros((3, 2)), 2, [7, 3]), ConfigError, "increase, or decrease"),
        (lambda m: m.predict(np.zeros((3, 2)), 2, []), ConfigError, "no time to push cells to"),
        (lambda m: m.predict(np.zeros((3, 2)), "day two", 3), ConfigError, "there is no time 'day two'"),
        (lambda m: m.predict(np.zeros((3, 2)), 2, None), ConfigError, "there is no time 'None'"),
        (lambda m: m.growth_rate(np.zeros((3, 2)), 2), ConfigError, "weighs no cells"),
    ],
)
def test_a_mistake_is_one_sentence(model: am.CellModel, call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call(model)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"coupling": "unbalnced"}, "there is no coupling 'unbalnced'; did you mean 'unbalanced'?"),
        ({"masses": "count"}, "masses is 'count'; give 'equal', 'counts', or a number for each time"),
        ({"dimensions": 0}, "dimensions is 0; 1 is the least"),
        ({"held_out": float("nan")}, "held_out is nan; a share of the cells between 0 and 1 is needed"),
        ({"held_out": 1}, "held_out is 1; a share of the cells between 0 and 1 is needed"),
        ({"cells": np.zeros((9, 2))}, "cells are a ndarray; an AnnData, or the path of a file of one, is needed"),
    ],
)
def test_what_is_given_wrongly_is_refused_before_anything_is_fitted(given: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, DataError), match=re.escape(words)):
        am.fit(**{"cells": translated(10), "time_key": "day", **given})


def test_all_couplings_of_a_path_are_known() -> None:
    assert get_args(Coupling) == COUPLINGS


def test_masses_may_be_an_array() -> None:
    given = {"settings": {"features": {"waves": 5}}, "held_out": 0}
    model = am.fit(translated(20, (2, 7)), "day", masses=np.array([1, 3]), **given)
    assert (model.about["method"], model.about["masses"]) == ("uam_closed", [1, 3])


def test_a_share_that_leaves_too_few_cells_is_one_sentence() -> None:
    with pytest.raises(DataError, match="leaves 1 to train on and 9 to judge by"):
        am.fit(translated(10), "day", held_out=0.9)


def test_standard_errors_are_those_of_means_of_cells_that_move_alike(cells: AnnData, model: am.CellModel) -> None:
    """A translation is told by the means of the cells: from day 2 to 3 by (SD1^2 + SD2^2) / 60 of each component."""
    error = cells.obsm["X_am_velocity_error"]
    assert error.shape == cells.obsm["X_pca"].shape
    assert "am_growth_error" not in cells.obs  # nothing weighs
    start = error[:60].mean(0)
    assert start == pytest.approx(np.array([2, 1]) * (2 / 60) ** 0.5, rel=0.8)
    assert error[120:].mean() < start.mean() / 2  # four days tell a velocity per day four times as well
    assert "standard errors" not in model.verdict


def test_one_fold_tells_no_standard_errors_and_leaves_none_of_another_fit() -> None:
    cells = translated(30)
    am.fit(cells, "day", method="uam_closed")
    assert {"am_growth", "am_growth_error"} <= set(cells.obs)
    assert "X_am_velocity_error" in cells.obsm
    am.fit(cells, "day", method="am_closed", held_out=0.5)
    assert not {"am_growth", "am_growth_error"} & set(cells.obs)
    assert "X_am_velocity_error" not in cells.obsm


def test_velocities_that_are_less_than_their_error_are_said_to_be_unclear() -> None:
    rng = np.random.default_rng(5)
    still = AnnData(np.zeros((90, 1), np.float32), obs=pd.DataFrame({"day": np.repeat([0.0, 1.0, 2.0], 30)}))
    still.obsm["X_pca"] = rng.normal(size=(90, 2))
    assert "% of the cells are less than two standard errors long" in am.fit(still, "day", method="am_closed").verdict


def test_intervals_of_the_velocity_hold_the_true_one() -> None:
    """Gaussians that move and widen: velocities that the features tell exactly, so that errors are those of cells."""
    settings = {"features": {"waves": 0}, "solving": {"ridges": [1e-6]}}
    covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = [rng.normal(size=(50, 1)), 2 + 1.5 * rng.normal(size=(50, 1))]
        cells = AnnData(np.zeros((100, 1), np.float32), obs=pd.DataFrame({"day": np.repeat([0.0, 1.0], 50)}))
        cells.obsm["X_pca"] = np.concatenate(x)
        am.fit(cells, "day", method="am_closed", settings=settings)
        first = slice(0, 50)
        true = 2 + 0.5 * x[0]  # x -> 2 + 1.5 x along straight lines
        t = (cells.obsm["X_am_velocity"][first] - true) / cells.obsm["X_am_velocity_error"][first]
        covered.append(np.abs(t) < 2.776)  # 95 % of Student's t with four degrees of freedom
    assert 0.85 < np.mean(covered) < 0.99
