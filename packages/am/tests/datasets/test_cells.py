"""Cells: split once, scaled by what is learned from alone, and never learned from when held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from numpy.typing import NDArray

from am.config import ConfigError
from am.datasets import embryoid, embryoid_mini, myoblast
from am.datasets.cells import CellDataset, Cells
from am.io.embryoid import read_embryoid
from am.io.snapshots import DataError, read_snapshots
from am.methods.contract import TrainedMethod
from am.metrics.energy import energy_distance
from am.metrics.settings import Energy
from am.randomness import generator
from am.runs import DataConfig, Evaluation, build_dataset, build_method, write_settings
from am.steps.prepare import prepare
from am.training.loop import train as fit

Floats = NDArray[np.float64]
EACH, KEPT = 30, 12  # cells of a time, of which so many for tests
STEPS = np.repeat(range(5), EACH)


def write_cells(path: Path, x: Floats, steps: NDArray[np.int64] = STEPS) -> None:
    np.savez(path, X=x, ts=steps)


@pytest.fixture
def cells() -> Floats:
    rng = np.random.default_rng(0)
    return rng.normal(size=(len(STEPS), 8)) * np.arange(1, 9) + 3 * STEPS[:, None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that AM_DATA names, far from other data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", str(tmp_path / "given"))
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


@pytest.fixture
def mini(folder: Path, cells: Floats) -> Callable[..., CellDataset]:
    """The data set of a file with few cells, with settings."""

    def made(x: Floats = cells, **settings: Any) -> CellDataset:
        write_cells(folder / "val_rna.npz", x)
        settings = {"dimensions": 4, "test_cells": KEPT} | settings
        dataset = build_dataset({"name": "embryoid_mini", **settings}, "here")
        assert isinstance(dataset, CellDataset)
        return dataset

    return made


def training_file(name: str, path: Path, **settings: Any) -> bytes:
    """What `am prepare --no-test` writes for methods to learn from."""
    evaluation = Evaluation(times=(1.0,), n_samples=5, metrics=(Energy(),))
    config = path.with_suffix(".yaml")
    write_settings(
        DataConfig(experiment="e", seeds=(0,), dataset={"name": name, **settings}, evaluation=evaluation), config
    )
    prepare(config, path, ())
    return path.read_bytes()


def changed(cells: Cells, chosen: Any) -> Cells:
    x = cells.x.copy()
    x[chosen] = 1e4 * np.random.default_rng(1).standard_cauchy(x[chosen].shape) - 1e5
    return replace(cells, x=x)


@pytest.mark.parametrize("held_out", [1 / 4, 2 / 4, 3 / 4])
def test_no_byte_of_what_is_learned_from_depends_on_a_held_out_time(
    folder: Path, cells: Floats, tmp_path: Path, held_out: float
) -> None:
    out = 4 * held_out == STEPS
    wild = cells.copy()
    wild[out] = 1e4 * np.random.default_rng(1).standard_cauchy(wild[out].shape) - 1e5
    files = {}
    for kind, x in (("true", cells), ("wild", wild)):
        write_cells(folder / "val_rna.npz", x)
        for held in (held_out, None):
            settings = {"dimensions": 4, "test_cells": KEPT, "held_out": held}
            files[kind, held] = training_file("embryoid_mini", tmp_path / f"{kind}{held}.h5ad", **settings)
    assert files["true", held_out] == files["wild", held_out]
    assert files["true", None] != files["wild", None]
    learned = read_snapshots(tmp_path / f"true{held_out}.h5ad")
    assert set(learned.time) == {0, 0.25, 0.5, 0.75, 1} - {held_out}
    assert set(learned.split) == {"train"}


@pytest.mark.parametrize("held_out", [1 / 4, 2 / 4, 3 / 4])
def test_the_leaky_protocol_differs_in_the_scaler_alone(
    mini: Callable[..., CellDataset], cells: Floats, held_out: float
) -> None:
    """The same cells in the same order, held-out ones missing from both; one map from ours to theirs."""
    ours, theirs = (mini(held_out=held_out, scaler=scaler) for scaler in ("training", "all"))
    assert (ours.leaky, theirs.leaky) == (False, True)
    learned = [dict(dataset.training_points(0, 0, "")) for dataset in (ours, theirs)]
    assert [*learned[0]] == [*learned[1]] == [time for time in ours.observed if time != held_out]
    tests = [[dataset.test_points(time, KEPT, 0, "") for time in dataset.observed] for dataset in (ours, theirs)]
    seen = cells[ours._learned][:, :4]
    centre, spread = cells[:, :4].mean(0), cells[:, :4].std(0)
    for x, y in zip([*learned[0].values(), *tests[0]], [*learned[1].values(), *tests[1]], strict=True):
        np.testing.assert_allclose((x * seen.std(0) + seen.mean(0) - centre) / spread, y, atol=1e-5)
    # Theirs changes with the held-out cells, ours does not.
    wild = cells + 100 * (4 * held_out == STEPS)[:, None]
    again = [dict(mini(wild, held_out=held_out, scaler=s).training_points(0, 0, ""))[0.0] for s in ("training", "all")]
    np.testing.assert_array_equal(again[0], learned[0][0.0])
    assert np.abs(again[1] - learned[1][0.0]).mean() > 0.1


def test_components_of_myoblasts_do_not_depend_on_a_held_out_time_or_on_test_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"held_out": 1 / 3}
    files = [training_file("myoblast", tmp_path / "true.h5ad", **settings)]
    read = myoblast.Myoblast.read

    def use(choose: Callable[[Cells], Any]) -> bytes:
        def wild(self: myoblast.Myoblast) -> Cells:
            cells = read(self)
            return changed(cells, choose(cells))

        monkeypatch.setattr(myoblast.Myoblast, "read", wild)
        return training_file("myoblast", tmp_path / "wild.h5ad", **settings)

    files += [use(lambda cells: cells.time == 1 / 3), use(lambda cells: cells.test)]
    assert files[0] == files[1] == files[2]
    assert use(lambda cells: cells.time == 2 / 3) != files[0]


@pytest.mark.parametrize(
    ("masses", "expected"),
    [("equal", [1, 1, 1]), ("counts", [1, 55 / 45, 25 / 45]), ([2, 9, 6, 1], [1, 3, 0.5])],
)
def test_masses_of_cells_skip_a_held_out_time(tmp_path: Path, masses: Any, expected: list[float]) -> None:
    settings: dict[str, Any] = {"held_out": 1 / 3, "path": {"masses": masses}}
    training_file("myoblast", tmp_path / "data.h5ad", held_out=1 / 3)
    path = build_dataset({"name": "myoblast", **settings}, "here").snapshots(tmp_path / "data.h5ad")
    mass = path.log_mass(torch.tensor([0, 2 / 3, 1])).exp()
    torch.testing.assert_close(mass, torch.tensor(expected, dtype=torch.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("masses", "expected"),
    [
        ([1, 2], r"path\.masses: 2 numbers for 4 observed times: 0, 0\.3333333333, 0\.6666666667, 1"),
        ("known", r"path\.masses: nobody knows those of cells; choose from: equal, counts, or give numbers"),
    ],
)
def test_masses_that_cells_cannot_have_are_refused(masses: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build_dataset({"name": "myoblast", "path": {"masses": masses}}, "here")


def test_training_cells_have_unit_variance_and_the_others_go_with_them(
    mini: Callable[..., CellDataset], cells: Floats
) -> None:
    dataset = mini(held_out=0.5)
    points = dict(dataset.training_points(0, 0, ""))
    learned = np.concatenate(list(points.values()))
    assert learned.shape == (4 * (EACH - KEPT), 4)
    np.testing.assert_allclose(learned.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(learned.std(0), 1, rtol=1e-6)
    # One affine map takes the file's cells to these, and to all others: the axes are told by the training cells.
    ours = np.concatenate([*points.values(), *(dataset.test_points(t, KEPT, 0, "") for t in dataset.observed)])
    everything = np.concatenate([x.numpy() for x in dataset.population().points.values()]).astype(float)
    slope = everything.std(0) / cells[:, :4].std(0)
    np.testing.assert_allclose(
        everything, (cells[:, :4] - cells[:, :4].mean(0)) * slope + everything.mean(0), atol=1e-5
    )
    assert {row.tobytes() for row in ours} <= {row.astype(np.float32).tobytes() for row in everything}


def test_components_of_myoblasts_are_principal_ones_of_the_training_cells() -> None:
    dataset = myoblast.DATASET(myoblast.Settings(dimensions=3))
    learned = np.concatenate([x for _, x in dataset.training_points(0, 0, "")]).astype(float)
    np.testing.assert_allclose(np.cov(learned.T, bias=True), np.eye(3), atol=1e-5)
    cells = dataset.read()
    genes = cells.x[cells.train] - cells.x[cells.train].mean(0)
    variances = np.linalg.eigvalsh(genes @ genes.T)[::-1]
    axes = np.concatenate([x.numpy() for x in dataset.population().points.values()]).astype(float)
    order = np.concatenate([np.flatnonzero(cells.time == t) for t in dataset.observed])
    scores = np.linalg.lstsq(axes[cells.train[order]], genes, rcond=None)[0]  # loadings times standard deviations
    np.testing.assert_allclose((scores**2).sum(1), variances[:3] / len(genes), rtol=1e-4)


def test_the_myoblasts_are_those_that_were_published() -> None:
    dataset = myoblast.DATASET(myoblast.Settings())
    assert [len(x) for x in dataset.population().points.values()] == [69, 74, 79, 49]
    assert [len(x) for _, x in dataset.training_points(0, 0, "")] == [45, 50, 55, 25]
    assert [len(dataset.test_points(t, 24, 0, "")) for t in dataset.observed] == 4 * [24]


def test_the_oracle_never_draws_a_test_cell_and_the_floor_is_between_disjoint_cells(
    mini: Callable[..., CellDataset],
) -> None:
    dataset = mini()
    for time in dataset.observed:
        judging = {row.tobytes() for row in dataset.test_points(time, KEPT, 0, "")}
        others = {row.tobytes() for row in dataset.truth().points[time].numpy()}
        assert len(judging) == KEPT
        assert len(others) == EACH - KEPT
        assert not judging & others
        one, two = dataset.population().sample(torch.full((EACH,), time), generator("floor", time)).chunk(2)
        halves = [{row.tobytes() for row in half.numpy()} for half in (one, two)]
        assert [len(half) for half in halves] == [EACH // 2, EACH // 2]
        assert halves[0] | halves[1] == judging | others


def test_the_split_is_a_function_of_its_seed_and_of_nothing_else(mini: Callable[..., CellDataset]) -> None:
    first, same, other = (mini(split_seed=seed) for seed in (0, 0, 1))
    for time in first.observed:
        np.testing.assert_array_equal(first.test_points(time, KEPT, 0, "a"), same.test_points(time, KEPT, 1, "b"))
        assert not np.array_equal(first.test_points(time, KEPT, 0, ""), other.test_points(time, KEPT, 0, ""))
    np.testing.assert_array_equal(first.test_points(0.5, 5, 0, ""), first.test_points(0.5, KEPT, 0, "")[:5])


def test_the_benchmark_is_learned_from_its_training_split_and_judged_by_its_test_split(
    folder: Path, cells: Floats
) -> None:
    parts = {"train": cells, "val": cells + 1, "test": cells + 2}
    for name, x in parts.items():
        write_cells(folder / f"{name}_rna.npz", x)
    dataset = embryoid.DATASET(embryoid.Settings(dimensions=3))
    centre, spread = cells[:, :3].mean(0), cells[:, :3].std(0)
    for step, time in enumerate(dataset.observed):
        scaled = {name: ((x[step == STEPS, :3] - centre) / spread) for name, x in parts.items()}
        np.testing.assert_allclose(dict(dataset.training_points(0, 0, ""))[time], scaled["train"], atol=1e-5)
        np.testing.assert_allclose(dataset.test_points(time, EACH, 0, ""), scaled["test"], atol=1e-5)
        truth = np.concatenate([scaled["train"], scaled["val"]])
        np.testing.assert_allclose(dataset.truth().points[time].numpy(), truth, atol=1e-5)


@pytest.mark.parametrize(("name", "file"), [("cite", "op_cite_inputs_0"), ("multi", "op_train_multi_targets_0")])
def test_days_of_the_competition_are_counted_as_peers_count_them(folder: Path, name: str, file: str) -> None:
    rng = np.random.default_rng(0)
    days, x = rng.permutation(np.repeat([2, 3, 4, 7], 40)), rng.normal(size=(160, 6)).astype(np.float32)
    obs = pd.DataFrame({"day": days}, index=[f"cell{i}" for i in range(160)])
    AnnData(np.zeros((160, 1), np.float32), obs=obs, obsm={"X_pca": x}).write_h5ad(folder / f"{file}.h5ad")
    dataset = build_dataset({"name": name, "dimensions": 3, "test_cells": 10, "held_out": 1 / 3}, "here")
    learned = dict(dataset.training_points(0, 0, ""))
    assert {time: len(points) for time, points in learned.items()} == {0: 30, 2 / 3: 30, 1: 30}
    assert isinstance(dataset, CellDataset)
    chosen = dataset._learned
    expected = (x[:, :3] - x[chosen, :3].mean(0)) / x[chosen, :3].std(0)
    for time, day in ((0, 2), (2 / 3, 4), (1, 7)):
        np.testing.assert_allclose(learned[time], expected[chosen & (days == day)], atol=1e-5)
    assert dataset.test_points(1 / 3, 10, 0, "").shape == (10, 3)


def test_days_that_are_not_those_of_the_competition_are_refused(folder: Path) -> None:
    obs = pd.DataFrame({"day": np.repeat([2, 3, 4], 20)}, index=[f"cell{i}" for i in range(60)])
    x = np.random.default_rng(0).normal(size=(60, 6))
    AnnData(np.zeros((60, 1)), obs=obs, obsm={"X_pca": x}).write_h5ad(folder / "op_cite_inputs_0.h5ad")
    with pytest.raises(DataError, match=r"cells of days \[2\.0, 3\.0, 4\.0\], expected \[2, 3, 4, 7\]"):
        build_dataset({"name": "cite", "test_cells": 5}, "here").population()


def test_a_missing_file_is_named_with_the_places_where_it_was_looked_for(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        embryoid_mini.DATASET(embryoid_mini.Settings()).population()
    sentence = str(caught.value)
    assert "there is no val_rna.npz of 'embryoid'" in sentence
    assert f"at data/raw/embryoid/val_rna.npz, {folder}/val_rna.npz, {folder}/embryoid/val_rna.npz;" in sentence
    assert "am retrieve --source embryoid --file val_rna.npz" in sentence
    assert "\n" not in sentence


def test_a_retrieved_file_comes_before_those_of_other_folders(folder: Path, cells: Floats) -> None:
    Path("data/raw/embryoid").mkdir(parents=True)
    write_cells(Path("data/raw/embryoid/val_rna.npz"), cells + 1)
    write_cells(folder / "val_rna.npz", cells)
    np.testing.assert_array_equal(embryoid_mini.DATASET(embryoid_mini.Settings(test_cells=KEPT)).read().x, cells + 1)


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        (lambda x: np.where(np.arange(len(x))[:, None] == 3, np.nan, x), {}, "1 of 150 cells are not finite"),
        (lambda x: x * (np.arange(8) != 2), {}, "PC3 is the same for all training cells"),
        (lambda x: x, {"dimensions": 9}, "9 dimensions asked for, the cells have 8"),
        (lambda x: x, {"test_cells": EACH}, "time 0 has 30 cells: 30 for tests leave none to learn from"),
    ],
)
def test_cells_that_cannot_be_used_are_refused_in_a_sentence(
    mini: Callable[..., CellDataset], cells: Floats, change: Any, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        mini(change(cells), **settings).population()
    assert str(caught.value) == expected


def test_more_test_cells_than_there_are_are_refused(mini: Callable[..., CellDataset]) -> None:
    with pytest.raises(DataError, match=r"^13 test cells asked for at time 0\.5, there are 12$"):
        mini().test_points(0.5, KEPT + 1, 0, "")


def test_files_that_are_not_what_they_should_be_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "val_rna.npz"
    for content in (b"", b"junk"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a whole npz file"):
            embryoid_mini.DATASET(embryoid_mini.Settings()).population()
    path.write_bytes(myoblast.FILE.read_bytes()[:-1])
    monkeypatch.setattr(myoblast, "FILE", path)
    with pytest.raises(DataError, match="is not the file that this library was made with"):
        myoblast.DATASET(myoblast.Settings()).population()
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        myoblast.DATASET(myoblast.Settings()).population()


@pytest.mark.parametrize("name", ["am", "eam", "uam"])
def test_action_matching_brings_cells_that_it_never_saw_to_the_next_time(name: str, tmp_path: Path) -> None:
    """At least twice as near as they were, on average over the steps."""
    dataset = build_dataset({"name": "myoblast"}, "here")
    training_file("myoblast", tmp_path / "data.h5ad")
    training = {"iterations": 300, "batch_size": 128, "boundary_batch_size": 128, "learning_rate": 3e-3, "ema": 0.95}
    extra = {"am": {}, "eam": {"sigma": 0.5}, "uam": {"growth": 0.1}}[name]
    method = build_method(name, {"potential": {"width": 32, "depth": 2}, "training": training, **extra}, "here")
    assert isinstance(method, TrainedMethod)
    path = dataset.marginals(tmp_path / "data.h5ad")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = method.build(path, generator("build"))
    fitted = fit(network, method.loss, path, method.settings.training, key="key", state=tmp_path / "state")
    network.load_state_dict(fitted.weights)
    before, after = [], []
    for start, end in pairwise(dataset.observed or ()):
        x, y = (torch.from_numpy(dataset.test_points(time, 24, 0, "")) for time in (start, end))
        moved = method.sample(network, x, torch.tensor([start, end]), generator("sample"))
        before.append(energy_distance(x, y))
        after.append(energy_distance(moved.x[1], y, None if moved.log_weight is None else moved.log_weight[1]))
    assert np.mean(after) < np.mean(before) / 2


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"ts": STEPS[:-1]}, "no cells with a time each"),
        ({"ts": STEPS - 1}, "ts must hold whole numbers from 0 to 4"),
        ({"ts": STEPS + 1}, "ts must hold whole numbers from 0 to 4"),
        ({"ts": STEPS / 4}, "ts must hold whole numbers from 0 to 4"),
        ({"ts": STEPS.astype(str)}, "ts must hold whole numbers from 0 to 4"),
        ({"X": np.zeros(len(STEPS))}, "no cells with a time each"),
        ({"X": np.zeros((len(STEPS), 8), complex)}, "X of complex128"),
        ({"X": np.full((len(STEPS), 8), "a")}, "X of <U1"),
        ({"X": np.full((len(STEPS), 8), None)}, "holds Python objects, not numbers"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, cells: Floats, arrays: Any, expected: str) -> None:
    np.savez(tmp_path / "cells.npz", **{"X": cells, "ts": STEPS, **arrays})
    with pytest.raises(DataError, match=expected):
        read_embryoid(tmp_path / "cells.npz")


# -- CITE of LightSB -------------------------------------------------------------------------------


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, NDArray[np.float32]]:
    """Cells of four days, as files in a folder of AM_DATA."""
    rng = np.random.default_rng(3)
    found = {day: (rng.normal(size=(40 + day, 50)) * 7 + 10 * day).astype(np.float32) for day in (2, 3, 4, 7)}
    for day, x in found.items():
        np.save(tmp_path / f"full_cite_pcas_50_day_{day}.npy", x)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", str(tmp_path))
    return found


def rows(x: Any) -> set[tuple[float, ...]]:
    return {*map(tuple, x.tolist())}


@pytest.mark.parametrize(("of", "middle", "time"), [("2 3 4", 3, 0.5), ("3 4 7", 4, 0.25)])
def test_a_day_between_two_others_is_never_learned_from(
    days: dict[int, NDArray[np.float32]], of: str, middle: int, time: float
) -> None:
    data = build_dataset({"name": "cite_lightsb", "days": of, "judging": 30, "learning": 20}, "here")
    learned = list(data.training_points(5, 1000, "key"))
    assert [t for t, _ in learned] == [0, 1]
    for (_, x), day in zip(learned, of.split()[::2], strict=True):  # in the units of the files
        assert len(x) == 20
        assert rows(x) <= rows(days[int(day)])
    judging = data.test_points(time, 30, 0, "key")
    assert rows(judging) <= rows(days[middle])
    truth = data.truth().sample(torch.full((10,), time), torch.Generator().manual_seed(0))
    assert rows(truth) <= rows(days[middle])
    assert not rows(truth) & rows(judging)


def test_files_of_cite_that_are_not_as_published_are_refused(
    days: dict[int, NDArray[np.float32]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="43 cells at time 0: 43 that judge leave no truth"):
        build_dataset({"name": "cite_lightsb", "days": "3 4 7", "judging": 43}, "here").truth()
    file = tmp_path / "full_cite_pcas_50_day_3.npy"
    np.save(file, days[3][:, :9])
    with pytest.raises(DataError, match=r"day_3.npy: an array of float32 and shape \(43, 9\), expected \(n, 50\)"):
        build_dataset({"name": "cite_lightsb"}, "here").truth()
    file.write_bytes(b"no array")
    with pytest.raises(DataError, match=r"day_3.npy: no whole npy file"):
        build_dataset({"name": "cite_lightsb"}, "here").truth()
    with pytest.raises(ConfigError, match="the day between is held out already"):
        build_dataset({"name": "cite_lightsb", "held_out": 0.5}, "here")


# -- epithelial-mesenchymal transition -------------------------------------------------------------


@pytest.fixture
def transition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Floats:
    """Forty cells or more at each of four times, as a file in a folder of AM_DATA."""
    rng = np.random.default_rng(5)
    index = rng.permutation(np.repeat(range(4), (40, 50, 45, 60))).astype(np.float64)
    table = np.column_stack([index, rng.normal(size=(len(index), 10)) + 20 * index[:, None]])
    header = ",".join(["samples", *(f"x{i}" for i in range(1, 11))])
    np.savetxt(tmp_path / "emt.csv", table, delimiter=",", header=header, comments="")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", str(tmp_path))
    return table.astype(np.float32)


@pytest.mark.parametrize(
    ("clock", "held_out", "index"), [("index", 1 / 3, 1), ("hours", 1 / 9, 1), ("hours", 1 / 3, 2)]
)
def test_a_time_of_the_transition_is_held_out_by_either_clock(
    transition: Floats, clock: str, held_out: float, index: int
) -> None:
    about = {"name": "emt", "clock": clock, "held_out": held_out, "judging": 20}
    data = build_dataset(about, "here")
    learned = list(data.training_points(5, 1000, "key"))
    assert len(learned) == 3
    for (_, x), i in zip(learned, sorted({0, 1, 2, 3} - {index}), strict=True):  # all cells, in the units of the file
        assert rows(x) == rows(transition[transition[:, 0] == i, 1:])
    judging = data.test_points(held_out, 20, 0, "key")
    assert len(rows(judging)) == 20
    assert rows(judging) <= rows(transition[transition[:, 0] == index, 1:])
    truth = data.truth().sample(torch.full((20,), held_out), torch.Generator().manual_seed(0))
    assert not rows(truth) & rows(judging)


def test_cells_of_the_transition_that_judge_are_not_learned_from_where_no_time_is_held_out(transition: Floats) -> None:
    data = build_dataset({"name": "emt", "judging": 20}, "here")
    for time, x in data.training_points(5, 1000, "key"):
        assert not rows(x) & rows(data.test_points(time, 20, 0, "key"))
        assert len(x) == (transition[:, 0] == round(3 * time)).sum() - 20


def test_a_transition_that_is_not_as_published_is_refused(transition: Floats, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"held_out: choose from 0.1111111111, 0.3333333333"):
        build_dataset({"name": "emt", "clock": "hours", "held_out": 2 / 3}, "here")
    with pytest.raises(DataError, match="40 cells at index 0: 40 that judge leave no truth"):
        build_dataset({"name": "emt", "judging": 40}, "here").truth()
    (tmp_path / "emt.csv").write_text("samples,x1\n0,1\n")
    with pytest.raises(DataError, match="expected an index from 0 to 3 and 10 components a row"):
        build_dataset({"name": "emt"}, "here").truth()
    (tmp_path / "emt.csv").write_text("samples,x1\n0,a\n")
    with pytest.raises(DataError, match="no table of numbers"):
        build_dataset({"name": "emt"}, "here").truth()
