"""Points with their times: the file comes back as it went, and every other file is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

from am.io.snapshots import DataError, Snapshots, read_snapshots, write_snapshots

COLUMNS = ("x", "y", "z")


@pytest.fixture(scope="module")
def data() -> Snapshots:
    """Four training points, and for seeds 0 and 3 two test points at each of the times 0 and 0.5."""
    x = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    time = np.array([0.0, 0.5, 1.0, 1.0] + 2 * [0.0, 0.0, 0.5, 0.5])
    split = np.repeat(["train", "test"], [4, 8])
    return Snapshots(x, time, split, np.repeat([-1, 0, 3], 4))


@pytest.fixture(scope="module")
def good(data: Snapshots, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("snapshots") / "new" / "data.h5ad"
    write_snapshots(data, COLUMNS, path)
    return path


def refusal(path: Path) -> str:
    """The sentence that reading ends in, without the path that it starts with."""
    with pytest.raises(DataError) as caught:
        read_snapshots(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path}: ")


def changed(good: Path, path: Path, **columns: Any) -> Path:
    """The good file with other columns; None removes one."""
    table = read_h5ad(good)
    for name, values in columns.items():
        table.obs = table.obs.drop(columns=name) if values is None else table.obs.assign(**{name: values})
    table.write_h5ad(path)
    return path


def test_snapshots_come_back_as_they_went(data: Snapshots, good: Path) -> None:
    back = read_snapshots(good)
    np.testing.assert_array_equal(back.x, data.x, strict=True)
    np.testing.assert_array_equal(back.time, data.time, strict=True)
    np.testing.assert_array_equal(back.seed, data.seed, strict=True)
    np.testing.assert_array_equal(back.split, data.split)
    assert [file.name for file in good.parent.iterdir()] == ["data.h5ad"]


def test_the_file_is_an_ordinary_table_for_others(data: Snapshots, good: Path) -> None:
    table = read_h5ad(good)
    assert list(table.var_names) == list(COLUMNS)
    assert list(table.obs.columns) == ["time", "split", "seed"]
    assert table.obs_names.is_unique
    np.testing.assert_array_equal(table.X, data.x)


def test_a_table_of_another_writer_is_read(tmp_path: Path) -> None:
    """Double precision, other columns and whole times as integers."""
    obs = pd.DataFrame(
        {"cell": ["a", "b"], "seed": [-1, 0], "split": ["train", "test"], "time": [0, 1]}, index=["a", "b"]
    )
    AnnData(np.array([[1.0, 2.0], [3.0, 4.0]]), obs=obs).write_h5ad(tmp_path / "a.h5ad")
    back = read_snapshots(tmp_path / "a.h5ad")
    assert back.x.dtype == np.float32
    np.testing.assert_array_equal(back.test(seed=0, time=1.0), [[3.0, 4.0]])


def test_each_seed_has_its_own_test_points(data: Snapshots) -> None:
    np.testing.assert_array_equal(data.test(0, 0.0), data.x[4:6])
    np.testing.assert_array_equal(data.test(0, 0.5), data.x[6:8])
    np.testing.assert_array_equal(data.test(3, 0.0), data.x[8:10])
    np.testing.assert_array_equal(data.test(3, 0.5 + 1e-12), data.x[10:])


def test_what_there_is_no_test_point_of_is_answered_with_what_there_is(data: Snapshots) -> None:
    for seed in (1, -1):  # -1 marks training points
        with pytest.raises(DataError, match=rf"^the data hold no test points of seed {seed}; seeds: \[0, 3\]$"):
            data.test(seed, 0.0)
    with pytest.raises(
        DataError, match=r"^the data hold no test points of seed 3 at time 1\.0; times: \[0\.0, 0\.5\]$"
    ):
        data.test(3, 1.0)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.h5ad") == "no such file of data"
    assert refusal(tmp_path) == "a folder, and no Zarr store; name a file in it"


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.75, 0.99])
def test_a_file_that_was_cut_off_is_refused(good: Path, tmp_path: Path, share: float) -> None:
    whole = good.read_bytes()
    (tmp_path / "a.h5ad").write_bytes(whole[: int(share * len(whole))])
    assert refusal(tmp_path / "a.h5ad").startswith("not a whole h5ad file (")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5ad").write_text("time,split,seed\n0,train,-1\n")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file.attrs["title"] = "no table"
    assert refusal(tmp_path / "text.h5ad").startswith("a text table; make an h5ad of it: ")
    assert refusal(tmp_path / "other.h5ad") == "it has no obs, and so no cells; it has: nothing"


@pytest.mark.parametrize("column", ["time", "split", "seed"])
def test_a_column_that_is_missing_is_named(good: Path, tmp_path: Path, column: str) -> None:
    others = ", ".join(name for name in ("time", "split", "seed") if name != column)
    path = changed(good, tmp_path / "a.h5ad", **{column: None})
    assert refusal(path) == f"obs has no column '{column}'; it has: {others}"


def test_times_that_are_words_are_refused(good: Path, tmp_path: Path) -> None:
    path = changed(good, tmp_path / "a.h5ad", time=[f"day {i}" for i in range(12)])
    assert refusal(path) == "the column 'time' of obs holds something that is not a number"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_that_are_not_finite_are_counted_and_the_first_named(good: Path, tmp_path: Path, bad: float) -> None:
    table = read_h5ad(good)
    table.X[3, 1] = table.X[3, 2] = table.X[8, 0] = bad
    table.write_h5ad(tmp_path / "x.h5ad")
    assert refusal(tmp_path / "x.h5ad") == "2 of 12 points are not finite, the first is row 3"
    time = np.append(bad, np.ones(11))
    assert refusal(changed(good, tmp_path / "time.h5ad", time=time)) == (
        "1 of 12 points are not finite, the first is row 0"
    )


@pytest.mark.parametrize("seed", [np.full(12, 0.5), np.append(np.nan, np.zeros(11)), np.full(12, True), ["one"] * 12])
def test_seeds_that_are_not_whole_numbers_are_refused(good: Path, tmp_path: Path, seed: Any) -> None:
    path = changed(good, tmp_path / "a.h5ad", seed=seed)
    assert refusal(path) == "the column 'seed' of obs holds something that is not a whole number"


@pytest.mark.parametrize(("split", "named"), [("trian", "trian"), (None, "nan")])
def test_a_split_that_is_neither_train_nor_test_is_refused(
    good: Path, tmp_path: Path, split: str | None, named: str
) -> None:
    path = changed(good, tmp_path / "a.h5ad", split=pd.Categorical([split] + ["test"] * 11))
    assert refusal(path) == f"the column 'split' of obs holds '{named}'; choose from: test, train"


def test_a_file_without_points_is_refused(good: Path, tmp_path: Path) -> None:
    AnnData(obs=read_h5ad(good).obs).write_h5ad(tmp_path / "a.h5ad")
    assert refusal(tmp_path / "a.h5ad") == "it has no table X of points"
