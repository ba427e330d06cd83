"""``am fit`` on some cells of a file: chosen by columns of ``obs``, or group by group."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

from am.config import read_yaml, write_yaml

pytestmark = pytest.mark.trains

SPEED = {"wt": 2.0, "ko": -1.0}
"""Of the two conditions, in units of the embedding per day, along the first component."""
SMALL = {
    "potential": {"width": 32, "depth": 2},
    "training": {"batch_size": 64, "boundary_batch_size": 64, "warmup": 10, "learning_rate": 1e-2, "ema": 0.98},
}


def conditions(n: int = 40) -> AnnData:
    """Two populations that start at one place and move apart; their cells alternate in the file."""
    rng = np.random.default_rng(0)
    day, condition = np.repeat([0, 1, 2], 2 * n), np.tile(["wt", "ko"], 3 * n)
    table = AnnData(np.zeros((6 * n, 1), np.float32), obs=pd.DataFrame({"day": day, "condition": condition}))
    table.obs["dish"] = [f"{c}/{i % 2}" for i, c in enumerate(condition)]
    table.obs_names = [f"cell{i}" for i in range(6 * n)]
    table.obsm["X_pca"] = rng.normal(size=(6 * n, 2)) + np.stack([day * table.obs["condition"].map(SPEED), 0 * day], 1)
    return table


@pytest.fixture
def fit(am: Any, tmp_path: Path) -> Callable[..., Any]:
    """Call the command on both conditions; the copy lies in ``out``."""
    conditions().write_h5ad(tmp_path / "my.h5ad")
    write_yaml(SMALL, tmp_path / "settings.yaml")

    def run(*options: object, iterations: int = 100, out: str = "out") -> Any:
        given = ("--time-key", "day", "--settings", tmp_path / "settings.yaml", "--out", tmp_path / out)
        return am(
            "fit",
            tmp_path / "my.h5ad",
            "--method",
            "am",
            "--held-out",
            0,
            *given,
            "--accelerator",
            "cpu",
            "--iterations",
            iterations,
            *options,
        )

    return run


def speeds(path: Path) -> pd.Series[float]:
    """Mean velocity of the chosen cells along the first component, by condition."""
    table = read_h5ad(path)
    return pd.Series(table.obsm["X_am_velocity"][:, 0]).groupby(table.obs["condition"].to_numpy()).mean()


def test_one_condition_alone_moves_as_it_does(fit: Any, tmp_path: Path) -> None:
    told = fit("--where", "condition=wt")
    assert told.code == 0
    found = speeds(tmp_path / "out" / "my_am.h5ad")
    assert found["wt"] == pytest.approx(SPEED["wt"], rel=0.15)
    assert np.isnan(found["ko"])  # which was not chosen
    assert read_yaml(tmp_path / "out" / "settings.yaml")["where"] == ["condition=wt"]


def test_groups_are_fitted_as_each_would_be_alone(fit: Any, tmp_path: Path) -> None:
    assert fit("--group-key", "condition").code == 0
    assert fit("--where", "condition=ko", out="alone").code == 0
    found = speeds(tmp_path / "out" / "my_am.h5ad")
    for name, speed in SPEED.items():
        assert found[name] == pytest.approx(speed, rel=0.2)
        assert (tmp_path / "out" / name / "model.safetensors").is_file()
    both, alone = (read_h5ad(tmp_path / out / "my_am.h5ad") for out in ("out", "alone"))
    chosen = both.obs["condition"] == "ko"
    for key in ("X_am_velocity", "X_am_forward", "X_am_backward"):
        np.testing.assert_array_equal(both.obsm[key][chosen], alone.obsm[key][chosen])
    quality = pd.read_csv(tmp_path / "out" / "quality.csv")
    assert quality["group"].tolist() == ["ko"] * 3 + ["wt"] * 3  # two intervals, and both together
    assert (quality["pushed"] < quality["no_dynamics"]).all()


def test_the_page_of_groups_opens_with_the_gravest_verdict(fit: Any, tmp_path: Path) -> None:
    """Cells of ko stand still; those of wt move, and a network of two steps does not know it."""
    table = conditions()
    still = (table.obs["condition"] == "ko").to_numpy()
    table.obsm["X_pca"][still, 0] -= SPEED["ko"] * table.obs["day"].to_numpy()[still]
    table.write_h5ad(tmp_path / "my.h5ad")
    assert fit("--group-key", "condition", iterations=2).code == 0
    quality = pd.read_csv(tmp_path / "out" / "quality.csv").groupby("group")["verdict"].unique()
    assert quality["ko"].tolist() == ["still"]
    assert not {"still", "noise"} & {*quality["wt"]}
    page = (tmp_path / "out" / "quality.html").read_text()
    assert page.index("<strong>wt: from day") < page.index("<p>ko: from day")


def test_groups_share_the_unit_of_time_and_its_start(fit: Any, tmp_path: Path) -> None:
    """One group is told in hours and the other in days: velocities in the copy are all per hour, from the same hour."""
    table = conditions()
    hours = (24 * table.obs["day"]).map("{}h".format)
    table.obs["day"] = hours.where(table.obs["condition"] == "wt", (1 + table.obs["day"]).map("{}d".format))
    table.write_h5ad(tmp_path / "my.h5ad")
    assert fit("--group-key", "condition").code == 0
    found = speeds(tmp_path / "out" / "my_am.h5ad")
    for name, speed in SPEED.items():
        assert found[name] == pytest.approx(speed / 24, rel=0.2)
        settings = read_yaml(tmp_path / "out" / name / "settings.yaml")
        assert settings["time_unit"] == "hours"
        assert settings["units"]["intervals"][0]["from"] == (0 if name == "wt" else 24)


def test_explain_finds_the_figures_of_all_groups(fit: Any, am: Any, tmp_path: Path) -> None:
    assert fit("--group-key", "condition", iterations=2).code == 0
    told = am("explain", tmp_path / "out")
    assert told.code == 0
    assert told.out.count("trajectories.png") == 2


@pytest.mark.parametrize(
    ("options", "warns"),
    [((), True), (("--where", "condition=wt,ko"), False), (("--group-key", "condition"), False)],
    ids=["pooled", "chosen", "grouped"],
)
def test_who_pools_conditions_is_told(
    fit: Any, caplog: pytest.LogCaptureFixture, options: tuple[str, ...], warns: bool
) -> None:
    assert fit(*options, iterations=2).code == 0
    sentence = "all cells are fitted as one population, whatever their 'condition'; --group-key condition fits each"
    assert (sentence in caplog.text) == warns


def test_cells_without_a_group_are_counted(fit: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = conditions()
    table.obs.loc[table.obs_names[:2], "condition"] = None
    table.write_h5ad(tmp_path / "my.h5ad")
    assert fit("--group-key", "condition", iterations=2).code == 0
    assert "2 of 240 cells have no 'condition': they are in no group" in caplog.text
    assert np.isnan(read_h5ad(tmp_path / "out" / "my_am.h5ad").obsm["X_am_velocity"][:2]).all()


def test_a_column_whose_values_are_times_is_no_hint(fit: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Batches that each hold one time alone cannot be fitted apart."""
    table = conditions()
    del table.obs["condition"]
    del table.obs["dish"]
    table.obs["batch"] = table.obs["day"].map("day {}".format)
    table.write_h5ad(tmp_path / "my.h5ad")
    assert fit(iterations=2).code == 0
    assert "one population" not in caplog.text


def test_values_with_signs_have_folders_of_their_own(fit: Any, tmp_path: Path) -> None:
    assert fit("--group-key", "dish", iterations=2).code == 0
    groups = read_yaml(tmp_path / "out" / "settings.yaml")["groups"]
    assert groups.keys() == {"ko/1", "wt/0"}
    assert json.loads(read_h5ad(tmp_path / "out" / "my_am.h5ad").uns["am"]["groups"]) == groups
    for folder in groups.values():
        assert (tmp_path / "out" / folder / "model.safetensors").parent.parent == tmp_path / "out"
        assert (tmp_path / "out" / folder / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--where", "condition"), "--where 'condition': give COLUMN=VALUE, as in condition=wt"),
        (("--where", "conditoin=wt"), "obs has no column 'conditoin'"),
        (("--where", "condition=wr"), "the column 'condition' of obs has no 'wr'; choose from: ko, wt"),
        (("--where", "condition=wt", "--where", "condition=ko"), "'condition' is given twice; give its values in one"),
        (("--where", "condition=wt", "--where", "dish=ko/1"), "no cell has condition=wt and dish=ko/1 together"),
        (("--where", "day=0"), "all 80 cells have the time 0"),
        (("--group-key", "conditoin"), "obs has no column 'conditoin'"),
        (("--group-key", "day"), "--group-key day: that is the column of times; name a column of conditions"),
        (("--group-key", "condition", "--where", "condition=wt"), "--where leaves one group of it; take one of both"),
    ],
)
def test_a_choice_that_cannot_be_made_is_one_sentence(
    fit: Any, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    assert expected in fit(*options).sentence
    assert not (tmp_path / "out").exists()
