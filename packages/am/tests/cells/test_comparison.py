"""``am.compare``: which method predicts cells and times that were held out, and how far to believe the order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

import am
from am.cells import Comparison, compare
from am.cells.comparison import _behind, is_short
from am.cells.population import Dynamics, Population
from am.cells.quality import held_out
from am.config import ConfigError
from am.dynamics.trajectory import DynamicsError
from am.extras import MissingExtraError
from am.io.snapshots import DataError
from am.io.time_course import TimeCourse
from am.metrics.energy import energy_distance
from am.training.loop import TrainingError, _Loop

pytestmark = pytest.mark.trains
mpl.use("Agg")

DAYS = (2, 3, 7)
METHODS = ("am_closed", "otcfm_closed")
BASIS = "X_pca"


def translated(n: int = 40, days: tuple[int, ...] = DAYS) -> AnnData:
    """Fresh cells at each day, moved by a constant velocity: no dynamics must lose."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(n, 2)) * [2, 1] + np.array([3.0, -1.5]) * day for day in days])
    table = AnnData(np.zeros((len(x), 1), np.float32), obs=pd.DataFrame({"day": np.repeat(days, n).astype(float)}))
    table.obs_names = [f"cell{i}" for i in range(len(x))]
    table.obsm[BASIS] = x
    return table


@pytest.fixture(scope="module")
def cells() -> AnnData:
    return translated()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def found(cells: AnnData, state: Path) -> Comparison:
    return compare(cells, "day", methods=METHODS, held_out=0.5, state=state)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the fits that were made, and a stop before the one after ``stop``."""
    made: list[str] = []
    learn = Population.learn

    def watched(population: Population, *arguments: Any, **options: Any) -> Dynamics:
        made.append(population.key)
        return learn(population, *arguments, **options)

    monkeypatch.setattr(Population, "learn", watched)
    return made


def means(table: pd.DataFrame, held_out: str) -> pd.DataFrame:
    return table[(table["held_out"] == held_out) & table["from"].isna()].set_index("method")


@pytest.mark.parametrize("task", ["cells", "time"])
def test_what_follows_a_translation_wins_and_standing_still_loses(found: Comparison, task: str) -> None:
    rows = means(found.table, task)
    best = rows.loc[list(METHODS), "distance"].idxmin()
    assert rows.loc[best, ["behind", "behind_low", "behind_high"]].tolist() == [0, 0, 0]
    assert rows.loc[best, "distance"] < rows.loc["no_dynamics", "distance"] / 5
    assert rows.loc["no_dynamics", "behind_low"] > 1
    assert not rows.loc["no_dynamics", "tied"]
    assert rows["control"].to_dict() == {name: name not in METHODS for name in rows.index}
    title = {"cells": "Held-out cells", "time": "Held-out times"}[task]
    (sentence,) = (line for line in found.verdict.splitlines() if line.startswith(title))
    assert f"{best} is nearest" in sentence
    assert "no_dynamics" not in sentence


def test_distances_are_those_of_cells_that_no_fit_saw(found: Comparison, cells: AnnData) -> None:
    """By hand: what stands still is the cells of a day against those of the next, in units of the basis."""
    x, day = cells.obsm[BASIS], cells.obs["day"].to_numpy()
    still = found.table[found.table["method"] == "no_dynamics"].set_index(["held_out", "from", "to"])["distance"]
    assert still["time", 2, 3] == pytest.approx(energy_distance(x[day == 2], x[day == 3]), rel=1e-4)
    folds = held_out(TimeCourse(x, day, BASIS), 0.5, "fit/0", None, 2)
    pairs = [[x[out & (day == at)] for at in (3, 7)] for out in folds]
    assert still["cells", 3, 7] == pytest.approx(np.mean([energy_distance(*pair) for pair in pairs]), rel=1e-4)
    assert means(found.table, "cells").loc["no_dynamics", "distance"] == pytest.approx(
        np.mean([still["cells", 2, 3], still["cells", 3, 7]])
    )


def test_transport_is_a_control_where_it_has_not_seen_the_answer(found: Comparison) -> None:
    assert list(means(found.table, "time").index) == [*METHODS, "no_dynamics", "ot_interpolation"]
    assert list(means(found.table, "cells").index) == [*METHODS, "no_dynamics"]


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(size=10)
    without = (values.sum() - values) / 9
    row = _behind(np.array([values.mean(), *without]))
    reach = 2.2621571628 * values.std(ddof=1) / np.sqrt(10)  # t of nine degrees of freedom
    assert [row["behind_low"], row["behind_high"]] == pytest.approx([values.mean() - reach, values.mean() + reach])
    assert row["tied"] == (row["behind_low"] <= 0)


def test_what_is_finished_is_not_done_again(
    found: Comparison, cells: AnnData, state: Path, tmp_path: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Population.learn

    def killed(population: Population, *arguments: Any, **options: Any) -> Dynamics:
        if len(fits) == 3:
            raise KeyboardInterrupt
        return watched(population, *arguments, **options)

    def again(**options: Any) -> Comparison:
        return compare(cells, "day", methods=METHODS, held_out=0.5, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Population, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            again(state=tmp_path)
    resumed = again(state=tmp_path)
    assert len(fits) == len(set(fits)) == 2 * 3
    pd.testing.assert_frame_equal(resumed.table.drop(columns="seconds"), found.table.drop(columns="seconds"))
    fits.clear()
    pd.testing.assert_frame_equal(again(state=state).table, found.table)
    assert fits == []


def test_other_cells_and_another_method_are_tried(
    found: Comparison, cells: AnnData, state: Path, fits: list[str]
) -> None:
    compare(cells, "day", methods=(METHODS[0], "icfm_closed"), held_out=0.5, state=state)
    assert fits == [f"compare/icfm_closed/0/{part}" for part in ("cells 0", "cells 1", "time 3")]
    fits.clear()
    moved = cells.copy()
    moved.obsm[BASIS][0] += 1
    compare(moved, "day", methods=METHODS[:1], held_out=0, state=state)
    assert fits == ["compare/am_closed/0/time 3"]


@pytest.mark.parametrize(
    ("half", "distance", "short"),
    [(0.109, 0.1, False), (0.112, 0.1, True), (0.091, 0.1, False), (0.02, 0.017, False), (0.9, 0.88, True)],
)
def test_a_tenth_is_of_the_distance_of_the_gain_or_of_the_floor(half: float, distance: float, short: bool) -> None:
    assert is_short(half, distance, still=1.0, floor=0.05) is short
    assert is_short(np.nan, distance, still=1.0, floor=0.05)


def test_a_training_whose_second_half_still_gains_is_cut_short() -> None:
    made = compare(translated(20), "day", methods=["am", "am_closed"], iterations=100, held_out=0)
    rows = means(made.table, "time")
    assert rows["cut_short"].to_dict() == {"am": True} | dict.fromkeys(rows.index.drop("am"), False)
    assert rows["half"].isna().to_dict() == {"am": False} | dict.fromkeys(rows.index.drop("am"), True)
    assert "Cut short, so that more iterations may change their place: am." in made.verdict


def test_a_method_that_cannot_be_followed_is_a_row_and_costs_the_others_nothing(
    cells: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = Dynamics.push

    def torn(dynamics: Dynamics, *arguments: Any, **options: Any) -> Any:
        if "/otcfm_closed/" in dynamics.key:
            raise DynamicsError("particles ran away")
        return push(dynamics, *arguments, **options)

    monkeypatch.setattr(Dynamics, "push", torn)
    made = compare(cells, "day", methods=METHODS, held_out=0)
    assert "otcfm_closed failed: particles ran away." in made.verdict
    rows = means(made.table, "time")
    assert np.isnan(rows.loc["otcfm_closed", "distance"])
    assert rows.loc["am_closed", "behind"] == 0


@pytest.mark.parametrize(
    "error", [TrainingError("the loss is not finite"), MissingExtraError("otcfm_closed needs a package")]
)
def test_a_method_that_cannot_be_trained_is_a_row_and_is_tried_again(
    cells: AnnData, tmp_path: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    watched = Population.learn

    def failing(population: Population, *arguments: Any, **options: Any) -> Dynamics:
        if "/otcfm_closed/" in population.key:
            raise error
        return watched(population, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Population, "learn", failing)
        made = compare(cells, "day", methods=METHODS[::-1], held_out=0, state=tmp_path)
    assert f"otcfm_closed failed: {error}." in made.verdict
    rows = means(made.table, "time")
    assert rows.loc["otcfm_closed", "failure"] == str(error)
    assert rows.loc["am_closed", ["distance", "behind"]].notna().all()
    fits.clear()
    again = compare(cells, "day", methods=METHODS[::-1], held_out=0, state=tmp_path)
    assert fits == ["compare/otcfm_closed/0/time 3"]
    assert means(again.table, "time")["failure"].isna().all()


def test_a_named_method_without_its_package_is_a_row(cells: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("am.extras._is_installed", lambda package: package != "torchcfm")
    made = compare(cells, "day", methods=["otcfm", "am_closed"], held_out=0)
    rows = means(made.table, "time")
    assert list(rows.index[:2]) == ["otcfm", "am_closed"]
    assert "needs torchcfm, which is not installed" in rows.loc["otcfm", "failure"]
    assert rows.loc["am_closed", "behind"] == 0
    with pytest.raises(MissingExtraError, match="needs torchcfm"):
        compare(cells, "day", methods=["otcfm"], held_out=0)


def test_a_signal_ends_the_comparison_and_not_a_method(cells: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that wants the machine back must not make a row of a method that did nothing wrong."""
    advance = _Loop._advance

    def signalled(loop: Any, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return advance(loop, *arguments)

    monkeypatch.setattr(_Loop, "_advance", signalled)
    with pytest.raises(TrainingError, match="stopped by signal"):
        compare(cells, "day", methods=["am", "am_closed"], iterations=50, held_out=0)


def test_of_two_times_cells_alone_are_held_out() -> None:
    made = compare(translated(20, (2, 7)), "day", methods=["am_closed"], held_out=0.5)
    assert set(made.table["held_out"]) == {"cells"}
    with pytest.raises(ConfigError, match="nothing is known of time held out"):
        am.pl.comparison(made, "time")


def test_the_figure_has_the_nearest_method_on_top(found: Comparison) -> None:
    axes = am.pl.comparison(found, "time")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    rows = means(found.table, "time").sort_values("distance")
    assert labels == [f"{name} (control)" if row["control"] else name for name, row in rows.iterrows()]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"methods": ["am_close"]}, ConfigError, "am_closed"),
        ({"methods": ["no_dynamics"]}, ConfigError, "the method 'no_dynamics' cannot be fitted to snapshots"),
        ({"methods": ["auto", "auto"]}, ConfigError, "the method 'auto' is named twice"),
        ({"methods": []}, ConfigError, "no method is named"),
        ({"held_out": 0.99}, DataError, "to train on"),
        ({"held_out": 1.5}, DataError, "between 0 and 1"),
        ({"dimensions": 0}, ConfigError, "dimensions is 0; 1 is the least"),
        ({"cells": np.zeros((9, 2))}, DataError, "cells are a ndarray; an AnnData, or the path"),
        ({"basis": "X_umap"}, DataError, "obsm has no 'X_umap'"),
        ({"time_key": "days"}, DataError, "days"),
    ],
)
def test_a_mistake_is_one_sentence(cells: AnnData, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        compare(**{"cells": cells, "time_key": "day", "methods": METHODS, **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_to_hold_out_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="there is no inner time to hold out"):
        compare(translated(20, (2, 7)), "day", methods=["am_closed"], held_out=0)


def test_the_command_writes_table_and_figure_and_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path, fits: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    command: Callable[..., Any] = request.getfixturevalue("am")
    translated(20).write_h5ad(tmp_path / "my.h5ad")
    asked = ("compare", tmp_path / "my.h5ad", "--time-key", "day", "--held-out", 0, "--out", tmp_path / "out")
    told = command(*asked, "--methods", "am_closed")
    assert told.code == 0, told
    assert "Held-out times: am_closed is nearest" in told.out
    assert [text for text in caplog.messages if "left" in text] == ["1 of 1: am_closed, time 3 held out; 0 s left"]
    assert not any("unknowns" in text for text in caplog.messages)  # what each training would say
    table = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert table.loc[table["method"] == "am_closed", "behind"].tolist() == [0, 0]
    for name in ("comparison.csv", "comparison.pdf", "comparison.png"):
        assert (tmp_path / "out" / f"{name}.provenance.json").exists()
    assert command(*asked, "--methods", "am_closed, otcfm_closed").code == 0
    assert fits == ["compare/am_closed/0/time 3", "compare/otcfm_closed/0/time 3"]
    assert "am" not in read_h5ad(tmp_path / "my.h5ad").uns
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "comparison.csv").write_text("a table of the user's")
    refused = command(*asked[:-1], tmp_path / "mine", "--methods", "am_closed").sentence
    assert "comparison.csv: it is there, and am compare did not write it" in refused
