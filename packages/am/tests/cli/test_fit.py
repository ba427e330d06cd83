"""``am fit``: what it says of cells whose motion is known, what it leaves alone, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData, read_h5ad
from PIL import Image
from scipy import sparse

from am import plugins
from am.config import read_yaml, write_yaml
from am.io.time_course import COLUMNS, EMBEDDINGS
from am.methods.am import ActionMatching
from am.methods.contract import ActionMethod, TrainedMethod
from am.training.checkpoint import read_tensors

pytestmark = pytest.mark.trains

SHIFT = np.array([3.0, -1.5])
"""Per day."""
DAYS = (2, 3, 7)
SMALL = {
    "potential": {"width": 32, "depth": 2},
    "training": {"batch_size": 128, "boundary_batch_size": 128, "warmup": 10, "learning_rate": 1e-2, "ema": 0.98},
}
Edit = Callable[[AnnData], object]


def translated(n: int = 200) -> AnnData:
    """The same cells at three days, not equally far apart, moved by a constant velocity."""
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(n, 2)) * [2, 1]
    x = np.concatenate([shape + 10 + SHIFT * day for day in DAYS])
    cells = len(x)
    obs = pd.DataFrame(
        {"day": np.repeat(DAYS, n), "batch": pd.Categorical(["a", "b"] * (cells // 2)), "note": ["x"] * cells},
        index=[f"cell{i}" for i in range(cells)],
    )
    table = AnnData(sparse.random(cells, 12, 0.2, "csr", np.float32, random_state=1), obs=obs)
    table.obsm["X_pca"] = x
    table.obsm["X_umap"] = rng.normal(size=(cells, 2)).astype(np.float16)
    table.layers["counts"] = table.X.copy()
    table.uns["pca"] = {"variance": np.ones(2)}
    return table


def blobs() -> AnnData:
    """Two populations that stand still; one grows from a quarter to three quarters of all."""
    rng = np.random.default_rng(0)
    parts = [
        (day, place, n)
        for day, shares in ((0, (90, 30)), (5, (30, 90)))
        for place, n in zip((-4, 4), shares, strict=True)
    ]
    x = np.concatenate([rng.normal(size=(n, 2)) * 0.5 + [place, 0] for _, place, n in parts])
    obs = pd.DataFrame({"day": np.repeat([p[0] for p in parts], [p[2] for p in parts]).astype(float)})
    obs.index = obs.index.astype(str)
    table = AnnData(np.zeros((len(x), 1), np.float32), obs=obs)
    table.obsm["X_pca"] = x
    return table


@pytest.fixture
def fit(am: Any, tmp_path: Path) -> Callable[..., Any]:
    """Write cells, and call the command on them."""

    def run(table: AnnData, *options: object, settings: dict[str, Any] = SMALL, out: str = "out") -> Any:
        path = tmp_path / "my.h5ad"
        if not path.exists():
            table.write_h5ad(path)
        write_yaml(settings, tmp_path / "settings.yaml")
        given = ("--settings", tmp_path / "settings.yaml", "--out", tmp_path / out, "--accelerator", "cpu")
        return am("fit", path, "--time-key", "day", "--method", "am", "--held-out", 0, *given, *options)

    return run


def at(table: AnnData, name: str, day: float) -> Any:
    return table.obsm[name][table.obs["day"].to_numpy(float) == day]


def test_cells_that_are_translated_have_that_velocity_and_go_that_far(fit: Any, tmp_path: Path) -> None:
    told = fit(translated(), "--iterations", 200)
    assert told.code == 0
    table = read_h5ad(tmp_path / "out" / "my_am.h5ad")
    assert np.abs(table.obsm["X_am_velocity"] - SHIFT).mean() < 0.1 * np.linalg.norm(SHIFT)
    for day in DAYS:
        x = at(table, "X_pca", day)
        for name, end in (("X_am_forward", DAYS[-1]), ("X_am_backward", DAYS[0])):
            exact = x + SHIFT * (end - day)
            assert np.abs(at(table, name, day) - exact).mean() < 0.5
    np.testing.assert_allclose(at(table, "X_am_forward", 7), at(table, "X_pca", 7), rtol=0, atol=1e-5)
    np.testing.assert_allclose(at(table, "X_am_backward", 2), at(table, "X_pca", 2), rtol=0, atol=1e-5)
    assert [name for name in table.obs if name.startswith("am_")] == ["am_action"]
    action = table.obs["am_action"][table.obs["day"] == 2].to_numpy(float)
    x = at(table, "X_pca", 2)
    slope = np.linalg.lstsq(x - x.mean(0), action, rcond=None)[0]
    assert slope == pytest.approx(SHIFT, rel=0.2)  # the gradient is the velocity
    assert action.mean() == pytest.approx(0, abs=1e-5)


def test_all_else_is_as_it_was(fit: Any, tmp_path: Path) -> None:
    before = translated()
    before.obs["am_pm"] = "am"
    before.obs["am_growth"] = 7.0  # of a fit with weights, which this is not
    assert fit(before, "--iterations", 3).code == 0
    source, copy = read_h5ad(tmp_path / "my.h5ad"), read_h5ad(tmp_path / "out" / "my_am.h5ad")
    pd.testing.assert_frame_equal(copy.obs.drop(columns="am_action"), source.obs.drop(columns="am_growth"))
    pd.testing.assert_frame_equal(copy.var, source.var)
    for mapping in ("obsm", "layers"):
        for name, values in getattr(source, mapping).items():
            kept = getattr(copy, mapping)[name]
            assert kept.dtype == values.dtype
            assert (kept != values).sum() == 0
    assert (copy.X != source.X).nnz == 0
    np.testing.assert_array_equal(copy.uns["pca"]["variance"], source.uns["pca"]["variance"])
    assert set(copy.obsm) - set(source.obsm) == {"X_am_velocity", "X_am_forward", "X_am_backward"}


def test_velocities_are_compared_with_rna_velocity(fit: Any, tmp_path: Path) -> None:
    cells = translated()
    measured = np.tile(SHIFT, (len(cells), 1))
    measured[1] *= -1
    measured[2] = [-SHIFT[1], SHIFT[0]]  # a right angle
    measured[3], measured[4] = 0, np.nan
    cells.obsm["velocity_pca"] = np.column_stack([measured, np.full(len(cells), 1e6)])  # of a component not learned
    assert fit(cells, "--iterations", 200, "--dimensions", 2).code == 0
    cosine = read_h5ad(tmp_path / "out" / "my_am.h5ad").obs["am_velocity_cosine"].to_numpy()
    assert cosine[5:].min() > 0.8
    assert cosine[1] < -0.9
    assert abs(cosine[2]) < 0.3
    assert np.isnan(cosine[3:5]).all()


def test_rna_velocity_of_too_few_components_is_refused(fit: Any) -> None:
    cells = translated()
    cells.obsm["velocity_pca"] = np.ones((len(cells), 1))
    sentence = fit(cells).sentence
    assert "velocity_pca has the shape (600, 1), and 600 cells by at least 2 components are needed" in sentence


def test_growth_is_positive_where_cells_multiply(fit: Any, tmp_path: Path) -> None:
    assert fit(blobs(), "--method", "uam", "--iterations", 200).code == 0
    table = read_h5ad(tmp_path / "out" / "my_am.h5ad")
    right = table.obsm["X_pca"][:, 0] > 0
    growth = table.obs["am_growth"].to_numpy()
    assert np.isfinite(growth).all()
    for day in (0.0, 5.0):
        here = table.obs["day"].to_numpy() == day
        assert growth[here & right].mean() > 0
        assert growth[here & ~right].mean() < 0
        assert abs(growth[here].mean()) < 1e-6
    # From a quarter to three quarters: odds grow ninefold in five days, but motion tells a part of it.
    difference = growth[right].mean() - growth[~right].mean()
    assert 0.05 < difference < np.log(9) / 5
    for name in ("forward", "backward"):
        weight = table.obs[f"am_{name}_weight"]
        assert weight.groupby(table.obs["day"]).mean().to_numpy() == pytest.approx(1, abs=1e-4)
    first, last = (table.obs["day"] == day for day in (0, 5))
    assert table.obs["am_forward_weight"][first & right].mean() > table.obs["am_forward_weight"][first & ~right].mean()
    assert table.obs["am_backward_weight"][last & right].mean() < table.obs["am_backward_weight"][last & ~right].mean()
    assert (table.obs["am_forward_weight"][last] == 1).all()


@pytest.mark.parametrize("masses", ["2,14", "counts"])
def test_with_masses_growth_and_weights_are_absolute(fit: Any, tmp_path: Path, masses: str) -> None:
    """The same cells at both days, by counts or in words seven times as many: each becomes seven."""
    table, times = blobs()[:20].copy(), 7 if masses == "counts" else 1
    cells = anndata.concat([table, *[table] * times], index_unique="-", keys=map(str, range(1 + times)))
    cells.obs["day"] = np.repeat([0.0, 5.0], [20, 20 * times])
    assert fit(cells, "--method", "uam", "--iterations", 300, "--masses", masses).code == 0
    table = read_h5ad(tmp_path / "out" / "my_am.h5ad")
    assert table.obs["am_growth"].to_numpy() == pytest.approx(np.log(7) / 5, rel=0.25)
    first, last = (table.obs["day"] == day for day in (0, 5))
    assert table.obs["am_forward_weight"][first].mean() == pytest.approx(7, rel=0.1)
    assert table.obs["am_backward_weight"][last].mean() == pytest.approx(1 / 7, rel=0.1)
    assert (table.obs["am_forward_weight"][last] == 1).all()
    assert read_yaml(tmp_path / "out" / "settings.yaml")["masses"] == ("counts" if masses == "counts" else [2, 14])


def test_how_many_cells_are_moved_at_once_changes_nothing(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = blobs()
    cells.obsm["velocity_pca"] = np.ones_like(cells.obsm["X_pca"])
    for out in ("whole", "chunks"):
        settings = {**SMALL, "sampling": {"rtol": 1e-6, "atol": 1e-6}}
        assert fit(cells, "--method", "uam", "--iterations", 20, settings=settings, out=out).code == 0
        monkeypatch.setattr("am.cells.population.CHUNK", 7)
    whole, chunks = (read_h5ad(tmp_path / out / "my_am.h5ad") for out in ("whole", "chunks"))
    assert whole.obs["am_forward_weight"].std() > 1e-3
    for name in COLUMNS:
        np.testing.assert_allclose(chunks.obs[name], whole.obs[name], rtol=0, atol=1e-4)
    for name in EMBEDDINGS:
        np.testing.assert_allclose(chunks.obsm[name], whole.obsm[name], rtol=0, atol=1e-3)


def test_noise_is_run_backwards_by_a_model_of_its_own(fit: Any, tmp_path: Path) -> None:
    settings = {**SMALL, "sigma": 0.05, "sampling": {"steps": 50}}
    assert fit(translated(), "--method", "eam", "--iterations", 200, settings=settings).code == 0
    forward, backward = (
        read_tensors(tmp_path / "out" / f"{name}.safetensors")[0] for name in ("model", "model_backward")
    )
    assert forward.keys() == backward.keys()
    table = read_h5ad(tmp_path / "out" / "my_am.h5ad")
    for name, day, end in (("X_am_forward", 2, 7), ("X_am_backward", 7, 2)):
        moved, there = at(table, name, day), at(table, "X_pca", end)
        assert np.abs(moved.mean(0) - there.mean(0)).max() < 1
        assert np.abs(np.log(moved.std(0) / there.std(0))).max() < 0.3


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_velocities_of_a_method_that_tells_no_field_are_measured(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: float
) -> None:
    def told(out: str) -> Any:
        assert fit(translated(), "--iterations", 20, out=out).code == 0
        return read_h5ad(tmp_path / out / "my_am.h5ad").obsm["X_am_velocity"]

    field, push = told("field"), ActionMatching.sample

    def noisy(self: Any, network: Any, start: Any, times: Any, generator: Any) -> Any:
        prediction = push(self, network, start, times, generator)
        kick = torch.randn(prediction.x[1:].shape, generator=generator) * noise * (times[1] - times[0]) ** 0.5
        prediction.x[1:] += kick
        return prediction

    monkeypatch.setattr(ActionMatching, "sample", noisy)
    monkeypatch.setattr(ActionMatching, "velocity", lambda *_: None)
    error = told("measured") - field
    if noise:  # 64 short steps are averaged
        units = read_yaml(tmp_path / "field" / "settings.yaml")["units"]
        for day, pace in zip(DAYS, (2, 5, 8), strict=True):
            here = error[np.repeat(DAYS, 200) == day].std()
            assert here == pytest.approx(noise / (64 * 0.01) ** 0.5 * units["spread"] / pace, rel=0.1)
    else:
        assert 0 < np.abs(error).max() < 0.02 * np.abs(field).max()


@pytest.mark.parametrize(
    ("method", "own", "told"),
    [
        ("am", {}, ()),
        ("uam", {"growth": 0.2, "potential": {"width": 8, "depth": 2}}, ("am_growth",)),
        ("eam", {"sigma": 0.3, "sampling": {"steps": 20}}, ()),
    ],
)
def test_the_same_cells_fit_alike_whatever_the_spacing(
    fit: Any, tmp_path: Path, method: str, own: dict[str, Any], told: tuple[str, ...]
) -> None:
    """Minutes and days in one course: weights and positions are those of ranks; only speeds know of the clock."""
    minutes, rng = np.array([0.0, 5, 15, 60, 1440, 10080]), np.random.default_rng(0)
    cells = AnnData(np.zeros((240, 1), np.float32))
    x = rng.normal(size=(240, 2)) + 3 * np.repeat(np.arange(6), 40)[:, None]
    cells.obsm["X_pca"] = x
    tables, weights, units = {}, {}, {}
    for name, times in (("minutes", minutes), ("ranks", np.arange(6.0))):
        cells.obs["day"] = np.repeat(times, 40)
        cells.write_h5ad(tmp_path / "my.h5ad")
        assert fit(cells, "--method", method, "--iterations", 30, settings=SMALL | own, out=name).code == 0
        tables[name] = read_h5ad(tmp_path / name / "my_am.h5ad")
        weights[name] = read_tensors(tmp_path / name / "model.safetensors")[0]
        units[name] = read_yaml(tmp_path / name / "settings.yaml")["units"]
    assert all(torch.equal(weights["ranks"][key], tensor) for key, tensor in weights["minutes"].items())
    for key in ("X_am_forward", "X_am_backward"):
        np.testing.assert_array_equal(tables["minutes"].obsm[key], tables["ranks"].obsm[key])
    gaps = np.diff(minutes)
    durations = np.repeat([gaps[0], *(gaps[1:] + gaps[:-1]) / 2, gaps[-1]], 40)
    velocity = tables["minutes"].obsm["X_am_velocity"] * durations[:, None]
    np.testing.assert_allclose(velocity, tables["ranks"].obsm["X_am_velocity"], rtol=1e-5)
    for key in told:
        np.testing.assert_allclose(tables["minutes"].obs[key] * durations, tables["ranks"].obs[key], rtol=1e-5)
    for interval, even, gap in zip(units["minutes"]["intervals"], units["ranks"]["intervals"], gaps, strict=True):
        assert interval["time_per_t"] == pytest.approx(5 * gap)
        if method == "eam":
            assert interval["sigma"] == pytest.approx(0.3 * units["ranks"]["spread"] / (5 * gap) ** 0.5)
        if method == "uam":
            assert interval["growth"] == even["growth"] == pytest.approx(0.2 / units["ranks"]["spread"] ** 2)


@pytest.mark.parametrize("place", [(300, -250), (900, -800)])
def test_one_cell_far_away_moves_no_other(
    fit: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: tuple[int, int]
) -> None:
    stray = translated()
    stray.obsm["X_pca"][7] = place
    clean = stray[np.arange(len(stray)) != 7].copy()
    moved, weights = [], []
    for table, name in ((clean, "clean"), (stray, "stray")):
        caplog.clear()
        table.write_h5ad(tmp_path / "my.h5ad")
        assert fit(table, "--iterations", 50, out=name).code == 0
        assert ("1 of 600 cells" in caplog.text) == ("'cell7'" in caplog.text) == (name == "stray")
        moved.append(read_h5ad(tmp_path / name / "my_am.h5ad"))
        weights.append(read_tensors(tmp_path / name / "model.safetensors")[0])
    assert all(torch.equal(weights[0][key], tensor) for key, tensor in weights[1].items())
    for key in ("X_am_velocity", "X_am_forward", "X_am_backward"):
        np.testing.assert_allclose(np.delete(moved[1].obsm[key], 7, 0), moved[0].obsm[key], rtol=0, atol=5e-3)
        assert np.isfinite(moved[1].obsm[key][7]).all()


FITTED = [
    name
    for name in plugins.names("am.methods")
    if issubclass(kind := plugins.load("am.methods", name).METHOD, TrainedMethod) and kind.learns_from == "snapshots"
]
FEW = {"width": 8, "depth": 2, "iterations": 2, "batch_size": 32, "boundary_batch_size": 32, "steps": 20}


def shrunk(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {name: FEW.get(name, shrunk(value)) for name, value in settings.items()}
    return settings


@pytest.mark.parametrize("name", FITTED)
def test_every_method_that_learns_from_snapshots_can_be_fitted(fit: Any, tmp_path: Path, name: str) -> None:
    kind = plugins.load("am.methods", name).METHOD
    settings = shrunk(kind.settings_type().model_dump(mode="json"))
    assert fit(translated(20), "--method", name, settings=settings).code == 0
    table = read_h5ad(tmp_path / "out" / "my_am.h5ad")
    for key in EMBEDDINGS:
        assert np.isfinite(table.obsm[key]).all()
    for day in DAYS[:-1]:
        assert (at(table, "X_am_forward", day) != at(table, "X_pca", day)).any()
    backward = tmp_path / "out" / "model_backward.safetensors"
    if issubclass(kind, ActionMethod) and kind.reversible:
        assert not backward.exists()  # the action itself is turned round
    else:
        assert read_tensors(backward)[0].keys()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_stopped_and_started_again_it_ends_with_the_same_weights(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit(translated(), "--iterations", 12, out="whole").code == 0
    loss, drawn = ActionMatching.loss, []

    def stop(self: Any, network: Any, marginals: Any, stream: Any) -> Any:
        drawn.append(stream.step)
        if drawn == [*range(6)]:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, network, marginals, stream)

    monkeypatch.setattr(ActionMatching, "loss", stop)
    assert fit(translated(), "--iterations", 12).sentence == "fit/am/0: stopped by signal 15; step 6 is saved"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".am-fit-state"]
    assert fit(translated(), "--iterations", 12).code == 0
    assert drawn == [*range(12)]
    whole, again = files(tmp_path / "whole"), files(tmp_path / "out")
    assert whole.keys() == again.keys()
    assert whole["model.safetensors"] == again["model.safetensors"]
    tables = [read_h5ad(tmp_path / out / "my_am.h5ad") for out in ("whole", "out")]
    np.testing.assert_array_equal(*(table.obsm["X_am_velocity"] for table in tables))
    assert fit(translated(), "--iterations", 12, "--seed", 1, out="other").code == 0
    assert files(tmp_path / "other")["model.safetensors"] != whole["model.safetensors"]


def test_a_solver_that_gives_up_costs_no_training(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, drawn = ActionMatching.loss, []

    def counted(self: Any, network: Any, marginals: Any, stream: Any) -> Any:
        drawn.append(stream.step)
        return loss(self, network, marginals, stream)

    monkeypatch.setattr(ActionMatching, "loss", counted)
    monkeypatch.setattr("am.dynamics.ode._MAX_STEPS", 1)
    sentence = fit(translated(), "--iterations", 12).sentence
    assert sentence.startswith("dopri5 gave up (max_num_steps exceeded")
    assert "'sampling' can set larger ones, or a solver of fixed steps" in sentence
    assert "what was trained is kept in" in sentence
    assert drawn == [*range(12)]
    settings = SMALL | {"sampling": {"method": "rk4", "steps": 50}}
    assert fit(translated(), "--iterations", 12, settings=settings).code == 0
    assert drawn == [*range(12)]
    assert read_yaml(tmp_path / "out" / "settings.yaml")["settings"]["sampling"]["method"] == "rk4"
    assert fit(translated(), "--iterations", 12, settings=settings, out="fresh").code == 0
    fresh, kept = (files(tmp_path / out)["model.safetensors"] for out in ("fresh", "out"))
    assert fresh == kept


def test_what_it_writes_tells_how_it_was_made(fit: Any, tmp_path: Path) -> None:
    told = fit(translated(), "--iterations", 3, "--dimensions", 1, "--seed", 4, "--basis", "pca")
    out = tmp_path / "out"
    names = {"my_am.h5ad", "model.safetensors", "settings.yaml", "training.csv", "provenance.json"}
    names |= {"quality.csv", "quality.html"}
    figures = {f"trajectories.{suffix}{side}" for suffix in ("pdf", "png") for side in ("", ".provenance.json")}
    assert {path.name for path in out.iterdir()} == names | figures
    assert all(name in told.out for name in names)
    settings = read_yaml(out / "settings.yaml")
    assert (settings["method"], settings["seed"], settings["time_key"], settings["basis"]) == ("am", 4, "day", "X_pca")
    assert settings["settings"]["training"]["iterations"] == 3
    assert settings["settings"]["potential"]["width"] == 32
    x = translated().obsm["X_pca"][:, :1]
    assert settings["units"]["centre"] == pytest.approx(x.mean(0))
    assert settings["units"]["spread"] == pytest.approx(x.std())
    assert settings["units"]["learning_times"] == [0, 0.5, 1]
    assert settings["units"]["intervals"] == [
        {"from": 2, "to": 3, "time_per_t": 2},
        {"from": 3, "to": 7, "time_per_t": 8},
    ]
    about = read_h5ad(out / "my_am.h5ad").uns["am"]
    assert (about["method"], about["seed"], about["dimensions"]) == ("am", 4, 1)
    assert json.loads(about["settings"]) == settings["settings"]
    assert json.loads(about["units"]) == settings["units"]
    record = json.loads((out / "provenance.json").read_text())
    assert json.loads(about["provenance"]) == record | {"files": {}}
    with Image.open(out / "trajectories.png") as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def as_categories(table: AnnData) -> None:
    table.obs["day"] = pd.Categorical([str(day) for day in table.obs["day"]], ["7", "3", "2"], ordered=True)


def as_nullable(table: AnnData) -> None:
    table.obs["day"] = table.obs["day"].astype("Int64")


def as_words(table: AnnData) -> None:
    table.obs["day"] = table.obs["day"].map("{}.0".format)


def in_single_precision(table: AnnData) -> None:
    table.obsm["X_pca"] = table.obsm["X_pca"].astype(np.float32)


def in_a_frame(table: AnnData) -> None:
    table.obsm["X_pca"] = pd.DataFrame(table.obsm["X_pca"], index=table.obs_names, columns=["one", "two"])


def as_sparse(table: AnnData) -> None:
    table.obsm["X_pca"] = sparse.csr_matrix(table.obsm["X_pca"])


def as_columns(table: AnnData) -> None:
    table.obsm["X_pca"] = sparse.csc_matrix(table.obsm["X_pca"])


def in_fortran_order(table: AnnData) -> None:
    table.obsm["X_pca"] = np.asfortranarray(table.obsm["X_pca"].astype(">f8"))


def as_whole_categories(table: AnnData) -> None:
    table.obs["day"] = pd.Categorical(table.obs["day"].astype("int8"))


def without_genes(table: AnnData) -> None:
    table.X = None


@pytest.mark.parametrize(
    "change",
    [
        *(as_categories, as_nullable, as_words, as_whole_categories),
        *(in_single_precision, in_fortran_order, in_a_frame, as_sparse, as_columns, without_genes),
    ],
)
def test_the_form_in_which_numbers_are_kept_changes_nothing(fit: Any, tmp_path: Path, change: Edit) -> None:
    table = translated(20)
    change(table)
    assert fit(table, "--iterations", 2).code == 0
    plain = tmp_path / "plain.h5ad"
    (tmp_path / "my.h5ad").rename(tmp_path / "other.h5ad")
    assert fit(translated(20), "--iterations", 2, out="plain").code == 0
    assert not plain.exists()
    velocities = [read_h5ad(tmp_path / out / "my_am.h5ad").obsm["X_am_velocity"] for out in ("out", "plain")]
    np.testing.assert_allclose(*velocities, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", ["zarr", "h5ad"])
def test_a_zarr_store_with_words_for_times_is_fitted_like_an_h5ad(am: Any, tmp_path: Path, suffix: str) -> None:
    table = translated(20)
    plain = tmp_path / "plain.h5ad"
    table.write_h5ad(plain)
    table.obs["day"] = pd.Categorical(table.obs["day"].map("D{}".format), ["none", "D7", "D3", "D2"])
    source = tmp_path / f"words.{suffix}"
    getattr(table, f"write_{suffix}")(source)
    write_yaml(SMALL, tmp_path / "settings.yaml")
    options = ("--time-key", "day", "--iterations", 2, "--settings", tmp_path / "settings.yaml", "--accelerator", "cpu")
    for path in (plain, source):
        assert am("fit", path, "--method", "am", "--held-out", 0, *options, "--out", tmp_path / path.stem).code == 0
    copies = [read_h5ad(tmp_path / name / f"{name}_am.h5ad") for name in ("plain", "words")]
    np.testing.assert_array_equal(*(copy.obsm["X_am_velocity"] for copy in copies))
    assert copies[1].obs["day"].tolist() == table.obs["day"].tolist()
    told = am("explain", tmp_path / "words" / "trajectories.png")
    assert told.code == 0
    assert "as they were recorded" in told.out


def rename_column(table: AnnData) -> None:
    table.obs["hour"] = table.obs.pop("day")


def put(values: Callable[[AnnData], Any]) -> Edit:
    def change(table: AnnData) -> None:
        table.obs["day"] = values(table)

    return change


def put_nan(table: AnnData) -> None:
    table.obsm["X_pca"][3:5, 1] = np.nan


def put_constant(table: AnnData) -> None:
    table.obsm["X_pca"][:, 1] = 4


def repeat_names(table: AnnData) -> None:
    table.obs_names = ["twin", "twin", *table.obs_names[2:]]


def put_points(values: Callable[[Any], Any]) -> Edit:
    def change(table: AnnData) -> None:
        table.obsm["X_pca"] = values(table.obsm["X_pca"])

    return change


def as_a_frame_of_words(table: AnnData) -> None:
    words = pd.Categorical(["one", "two"] * (len(table) // 2))
    table.obsm["X_pca"] = pd.DataFrame({"a": table.obsm["X_pca"][:, 0], "b": words}, index=table.obs_names)


REFUSED: list[tuple[str, Edit, tuple[object, ...], str]] = [
    ("no column", rename_column, (), "my.h5ad: obs has no column 'day'; it has: batch, note, hour"),
    ("one time", put(lambda _: 3), (), "all 60 cells have the time 3; two time points are the least"),
    ("few cells", put(lambda t: [9, *t.obs["day"][1:]]), (), "the time 9 has 1 cell; 10 are the least"),
    (
        "words",
        put(lambda t: pd.Categorical([f"stage {day}" for day in t.obs["day"]])),
        (),
        "my.h5ad: the column 'day' of obs holds 'stage 2' in 20 of 60 cells, which is not understood as a time; put",
    ),
    ("dates", put(lambda t: "2020-01-01"), (), "all 60 cells have the time '2020-01-01'; two time points are"),
    ("no time", put(lambda t: [np.nan, *t.obs["day"][1:]]), (), "the column 'day' of obs is missing for 1 of 60 cells"),
    (
        "infinite",
        put(lambda t: [np.inf, *t.obs["day"][1:]]),
        (),
        "'day' of obs holds 'inf' in 1 of 60 cells, which is not",
    ),
    ("NaN", put_nan, (), "my.h5ad: X_pca: component 2 is not finite for 2 of 60 cells; leave these cells out"),
    ("constant", put_constant, (), "my.h5ad: X_pca: component 2 is the same for all cells; use 1 dimensions"),
    ("names", repeat_names, (), "2 cells are called 'twin'; adata.obs_names_make_unique() tells them apart"),
    ("complex", put_points(lambda x: x * 1j), (), "my.h5ad: X_pca holds something that is not a number"),
    ("words in a frame", as_a_frame_of_words, (), "my.h5ad: X_pca holds something that is not a number"),
    ("images", put_points(lambda x: x[:, :, None]), (), "X_pca has the shape (60, 2, 1), 60 cells by components"),
    ("no components", put_points(lambda x: x[:, :0]), (), "X_pca has the shape (60, 0), 60 cells by components"),
    ("huge", put_points(lambda x: x * 1e200), (), "X_pca: component 1 spans "),
    ("tiny", put_points(lambda x: x * 1e-200), (), "between 1e-30 and 1e+30 is possible: choose other units"),
    ("no course", put(lambda t: t.obs["day"] * 1e-300), (), "'day' of obs spans 5e-300"),
    ("too long", put(lambda t: np.where(t.obs["day"] > 2, 1e308, -1e308)), (), "'day' of obs spans inf"),
    (
        "too close",
        put(lambda t: t.obs["day"].replace(3, 2 + 1e-12)),
        (),
        "'day' of obs: 2.0 and 2.000000000001 are too close to be told apart in all 5",
    ),
    ("no cells", lambda t: t._inplace_subset_obs([]), (), "my.h5ad: it holds no cells"),
    ("basis", bool, ("--basis", "X_tsne"), "my.h5ad: obsm has no 'X_tsne'; it has: X_pca, X_umap"),
    ("no basis", lambda t: t.obsm.clear(), (), "obsm has no 'X_pca'; it has: none: try scanpy.pp.pca"),
    ("dimensions", bool, ("--dimensions", 3), "my.h5ad: X_pca has 2 components, 3 are asked for"),
    ("unknown", bool, ("--method", "uma"), "methods: there is no 'uma'; did you mean 'uam'?"),
    (
        "solve",
        bool,
        ("--method", "am_closed", "--iterations", "9"),
        "the method 'am_closed' is one solve, without the ",
    ),
    ("control", bool, ("--method", "oracle"), "the method 'oracle' cannot be fitted to snapshots; choose from: am, "),
    ("masses", bool, ("--method", "uam", "--masses", "count"), "--masses 'count': give equal, counts, or a number for"),
    (
        "no mass",
        bool,
        ("--method", "uam", "--masses", "1,0,2"),
        "masses must be one positive number for each of 3 times",
    ),
    (
        "few masses",
        bool,
        ("--method", "uam", "--masses", "1,2"),
        "masses must be one positive number for each of 3 times",
    ),
    ("weighs not", bool, ("--masses", "counts"), "the method 'am' weighs no cells and cannot use masses; uam does"),
    ("device", bool, ("--accelerator", "warp"), "cannot train with --accelerator warp --devices 1: "),
]


@pytest.mark.parametrize(("change", "options", "expected"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_a_mistake_is_one_sentence(
    fit: Any, tmp_path: Path, change: Edit, options: tuple[object, ...], expected: str
) -> None:
    table = translated(20)
    change(table)
    assert expected in fit(table, *options).sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "absent.h5ad: no such file of data"),
        (b"\x89junk" * 30, "absent.h5ad: not a whole h5ad file"),
        ("half", "absent.h5ad: not a whole h5ad file"),
    ],
    ids=["missing", "junk", "half"],
)
def test_a_file_that_is_none_is_told(am: Any, tmp_path: Path, content: Any, expected: str) -> None:
    path = tmp_path / "absent.h5ad"
    if content == "half":
        translated(20).write_h5ad(path)
        content = path.read_bytes()[:5000]
    if content is not None:
        path.write_bytes(content)
    assert expected in am("fit", path, "--time-key", "day", "--out", tmp_path / "out").sentence
    assert not (tmp_path / "out").exists()


def by_itself(file: h5py.File) -> None:
    file["obsm/X_pca"] = h5py.SoftLink("/obsm/X_pca")


def elsewhere(file: h5py.File) -> None:
    file["obsm/X_pca"] = h5py.ExternalLink("absent.h5", "/x")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "obsm/X_pca",
            np.zeros(60, [("a", float), ("b", float)]),
            "my.h5ad: X_pca holds something that is not a number",
        ),
        ("obsm/X_pca", np.zeros((60, 2), "S3"), "my.h5ad: X_pca holds something that is not a number"),
        ("obsm/X_pca", np.arange(100.0).reshape(50, 2), "X_pca has the shape (50, 2), 60 cells by components"),
        ("obsm/X_pca", 1.0, "X_pca has the shape (), 60 cells by components"),
        ("obsm/X_pca", by_itself, "my.h5ad: not a whole h5ad file"),
        ("obsm/X_pca", elsewhere, "my.h5ad: not a whole h5ad file"),
        (
            "obsm",
            np.zeros(3),
            "my.h5ad: obsm is one array and no group of arrays, which anndata cannot read; take it out",
        ),
        (
            "uns",
            np.zeros(3),
            "my.h5ad: uns is one array and no group of entries, which anndata cannot read; take it out",
        ),
        ("obs", np.zeros(60), "my.h5ad: obs is no table of cells"),
        ("obs", np.zeros(60, [("day", float)]), "60 cells are called '0.0'"),  # names come first in old files
        ("obs/day", np.zeros(3), "my.h5ad: the column 'day' of obs has 3 entries for 60 cells"),
        ("obs/day", np.zeros((60, 2)), "my.h5ad: the column 'day' of obs has the shape (60, 2); one entry a cell"),
        ("obs/_index", lambda file: None, "my.h5ad: obs has no index, which names the cells"),
        ("obs/day", np.zeros(60, complex), "'day' of obs must hold numbers, such as days; it holds complex ones"),
    ],
)
def test_what_only_h5py_can_write_is_told(
    fit: Any, am: Any, tmp_path: Path, name: str, value: Any, expected: str
) -> None:
    table, path = translated(20), tmp_path / "my.h5ad"
    table.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file[name]
        if callable(value):
            value(file)
        else:
            file[name] = value
    assert expected in fit(table).sentence
    assert not (tmp_path / "out").exists()


NAMES = [
    "with space",
    "'quoted'",
    '"double"',
    "$(touch ran)",
    "a;touch ran",
    "-dash",
    "día*?[a]",
    "two\nlines",
    "%d{x}",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_be_called_anything(am: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    translated(10).write_h5ad(tmp_path / f"{name}.h5ad")
    write_yaml(SMALL, tmp_path / "settings.yaml")
    told = am(
        "fit",
        "--time-key",
        "day",
        "--method",
        "am",
        "--settings",
        "settings.yaml",
        "--iterations",
        1,
        "--",
        f"{name}.h5ad",
    )
    assert told.code == 0, told
    assert read_h5ad(tmp_path / f"{name}_am" / f"{name}_am.h5ad").obsm["X_am_velocity"].shape == (30, 2)
    assert am("explain", "--", f"{name}_am/trajectories.png").code == 0
    absent = am("fit", "--time-key", "day", "--", f"absent {name}.h5ad").sentence
    assert absent == f"absent {name}.h5ad: no such file of data".replace("\n", " ")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.h5ad", f"{name}_am", "settings.yaml"}


def test_settings_that_are_wrong_are_told(fit: Any, tmp_path: Path) -> None:
    sentence = fit(translated(20), settings={"training": {"iteratoins": 3}}).sentence
    assert "settings.yaml: training.iteratoins: unknown key; did you mean 'iterations'?" in sentence
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_told_before_training(fit: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert fit(translated(20)).sentence == f"{tmp_path / 'out'}: it cannot be written to (not a directory)"
    assert (tmp_path / "out").read_text() == "a file"
