"""Part of a benchmark's training cells: in the units of all of them, which the file does not hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ot
import pytest
from numpy.typing import NDArray

from am.config import ConfigError
from am.datasets.cells import CellDataset
from am.datasets.embryoid_partial import CELLS, FILE, EmbryoidPartial
from am.io.snapshots import DataError
from am.runs import build_dataset

Arrays = dict[str, NDArray[Any]]
TRAIN = slice(2750, CELLS)
"""Rows of the training split; the validation cells come first, then the test cells."""


@pytest.fixture
def benchmark() -> Arrays:
    """A benchmark of the real size: cells far from the origin, of unlike spreads, with times."""
    rng = np.random.default_rng(0)
    time = rng.integers(5, size=CELLS)
    x = rng.normal(size=(CELLS, 5)) * np.arange(1, 6) + 50 + 3 * time[:, None]
    return {"x": x, "time": time, "source": np.repeat(["val", "test", "sbirr"], [1000, 1750, CELLS - 2750])}


def written(folder: Path, benchmark: Arrays, **changed: Any) -> None:
    """The file: validation and test cells, and 1,000 training cells."""
    x, there = benchmark["x"], slice(0, 3750)
    arrays = {"pcs": x[there], "time": benchmark["time"][there], "source": benchmark["source"][there]}
    np.savez(folder / FILE, **{**arrays, "full_mean": x.mean(0), "full_std": x.std(0), **changed})


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CellDataset]:
    """The data set of a benchmark's file, with settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", str(tmp_path))

    def load(benchmark: Arrays, **settings: Any) -> CellDataset:
        written(tmp_path, benchmark)
        dataset = build_dataset({"name": "embryoid_partial", **settings}, "here")
        assert isinstance(dataset, CellDataset)
        return dataset

    return load


@pytest.mark.parametrize("dimensions", [3, 5])
def test_units_are_those_of_all_training_cells(
    loaded: Callable[..., CellDataset], benchmark: Arrays, dimensions: int
) -> None:
    dataset = loaded(benchmark, dimensions=dimensions)
    x, time, source = (benchmark[name] for name in ("x", "time", "source"))
    scaled = ((x - x[TRAIN].mean(0)) / x[TRAIN].std(0))[:, :dimensions]
    learned = dict(dataset.training_points(0, 0, ""))
    for step, moment in enumerate(dataset.observed):
        chosen = (time == step) & (np.arange(CELLS) < 3750)
        np.testing.assert_allclose(learned[moment], scaled[chosen & (source != "test")], atol=1e-5)
        np.testing.assert_allclose(
            dataset.test_points(moment, 300, 0, ""), scaled[chosen & (source == "test")][:300], atol=1e-5
        )
    assert not dataset.leaky


def test_nothing_that_is_learned_from_depends_on_a_test_cell(
    loaded: Callable[..., CellDataset], benchmark: Arrays
) -> None:
    ours, leaky = (dict(loaded(benchmark, scaler=s).training_points(0, 0, ""))[0.5] for s in ("training", "all"))
    benchmark["x"][benchmark["source"] == "test"] *= 2
    again, changed = (dict(loaded(benchmark, scaler=s).training_points(0, 0, ""))[0.5] for s in ("training", "all"))
    np.testing.assert_allclose(again, ours, atol=1e-5)
    assert np.abs(changed - leaky).mean() > 0.1


def test_where_a_time_is_held_out_units_come_from_the_other_cells_at_hand(
    loaded: Callable[..., CellDataset], benchmark: Arrays
) -> None:
    def learned() -> dict[float, NDArray[np.float32]]:
        return dict(loaded(benchmark, held_out="1/4").training_points(0, 0, ""))

    ours = learned()
    assert list(ours) == [0, 0.5, 0.75, 1]
    together = np.concatenate(list(ours.values()))
    np.testing.assert_allclose([together.mean(0), together.std(0)], [[0] * 5, [1] * 5], atol=1e-4)
    benchmark["x"][benchmark["time"] == 1] += 1000
    for time, x in learned().items():
        np.testing.assert_array_equal(x, ours[time])


def test_all_cells_that_judge_nothing_are_learned_from(loaded: Callable[..., CellDataset], benchmark: Arrays) -> None:
    dataset = loaded(benchmark)
    assert sum(len(x) for _, x in dataset.training_points(0, 0, "")) == 2000
    assert sum(len(x) for x in dataset.population().points.values()) == 3750


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"pcs": np.ones((3750, 4))}, r"pcs has the shape \(3750, 4\)"),
        ({"source": np.array(["val"])}, r"source has the shape \(1,\)"),
        ({"time": np.full(3750, 7)}, "whole numbers from 0 to 4"),
        ({"full_std": np.full(5, 1e-3)}, "not of all 16,819 cells"),
    ],
)
def test_a_file_that_is_another_is_one_sentence(
    loaded: Callable[..., CellDataset], benchmark: Arrays, tmp_path: Path, changed: Arrays, sentence: str
) -> None:
    dataset = loaded(benchmark)
    written(tmp_path, benchmark, **changed)
    with pytest.raises(DataError, match=sentence):
        next(dataset.training_points(0, 0, ""))


def test_what_is_missing_is_one_sentence(loaded: Callable[..., CellDataset], benchmark: Arrays, tmp_path: Path) -> None:
    dataset = loaded(benchmark)
    np.savez(tmp_path / FILE, pcs=benchmark["x"])
    with pytest.raises(DataError, match="no npz file with the array time"):
        next(dataset.training_points(0, 0, ""))
    (tmp_path / FILE).unlink()
    with pytest.raises(DataError, match=f"there is no {FILE} .*looked for it at .*AM_DATA"):
        dataset.sources()
    with pytest.raises(ConfigError, match="dimensions"):
        build_dataset({"name": "embryoid_partial", "dimensions": 6}, "here")


def test_the_real_file_has_the_official_test_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their counts, and how far the snapshots are apart, by transport between test cells that is computed here."""
    beside = Path(__file__).parents[5] / "shared/data"
    monkeypatch.setenv("AM_DATA", os.pathsep.join(filter(None, (os.environ.get("AM_DATA", ""), str(beside)))))
    dataset = EmbryoidPartial(EmbryoidPartial.settings_type())
    try:
        dataset.sources()
    except DataError as error:
        pytest.skip(str(error))
    assert [len(x) for _, x in dataset.training_points(0, 0, "")] == [502, 447, 437, 433, 450]
    tests = [dataset.test_points(time, 350, 0, "") for time in dataset.observed]
    assert sum(dataset._cells.test) == 5 * 350
    far = [ot.emd2([], [], ot.dist(a, b, "euclidean")) for a, b in pairwise(tests)]
    np.testing.assert_allclose(far, [1.655, 1.487, 0.878, 1.823], atol=2e-3)
    # Test and validation cells are a sixth of all, so training cells have nearly the spread of all.
    np.testing.assert_allclose(dataset._moments()[1], dataset._file["full_std"], rtol=0.02)
