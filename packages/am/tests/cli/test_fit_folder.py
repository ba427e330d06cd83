"""The folder of ``am fit``: what is not its own stays as it is, and each fit has its own record."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData, read_h5ad

from am.config import digest, read_yaml, write_yaml
from am.methods.am import ActionMatching
from am.steps.fit_folder import STATE

pytestmark = pytest.mark.trains

SMALL = {"potential": {"width": 8, "depth": 2}, "training": {"batch_size": 16, "boundary_batch_size": 16}}


def cells(n: int = 15, seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    table = AnnData(np.zeros((2 * n, 1), np.float32))
    table.obs["day"] = np.repeat([0.0, 1.0], n)
    table.obsm["X_pca"] = rng.normal(size=(2 * n, 2)) + 3 * table.obs["day"].to_numpy()[:, None]
    return table


def arguments(folder: Path, *options: object) -> list[str]:
    given = [
        "fit",
        folder / "my.h5ad",
        "--method",
        "am",
        "--held-out",
        0,
        "--time-key",
        "day",
        "--settings",
        folder / "settings.yaml",
    ]
    return [str(word) for word in (*given, "--accelerator", "cpu", "--iterations", 3, *options)]


@pytest.fixture
def fit(am: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Call the command in a folder with a file of cells."""
    monkeypatch.chdir(tmp_path)
    cells().write_h5ad(tmp_path / "my.h5ad")
    write_yaml(SMALL, tmp_path / "settings.yaml")
    return lambda *options: am(*arguments(tmp_path, *options))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_method_has_a_folder_of_its_own(fit: Any, tmp_path: Path) -> None:
    for method in ("am", "eam"):
        assert fit("--method", method).code == 0
        assert read_yaml(tmp_path / f"my_{method}" / "settings.yaml")["method"] == method
        assert (tmp_path / f"my_{method}" / "my_am.h5ad").is_file()


def test_the_same_command_again_writes_the_same(fit: Any, tmp_path: Path) -> None:
    assert fit().code == 0
    before = content(tmp_path / "my_am")
    assert fit().code == 0
    after = content(tmp_path / "my_am")
    assert after.keys() == before.keys()
    assert after["model.safetensors"] == before["model.safetensors"]


def test_another_fit_replaces_one_only_where_it_is_told_to(fit: Any, am: Any, tmp_path: Path) -> None:
    """And it leaves no file of the other method."""
    out = tmp_path / "out"
    assert fit("--method", "eam", "--out", out).code == 0
    before = content(out)
    assert "model_backward.safetensors" in before
    sentence = fit("--method", "am", "--out", out).sentence
    assert sentence.startswith(f"{out}: it holds a fit with other settings (method eam")
    assert sentence.endswith("give another --out, or --overwrite to replace it")
    assert content(out) == before
    assert fit("--method", "am", "--out", out, "--overwrite").code == 0
    assert "model_backward.safetensors" not in content(out)
    assert am("explain", out).code == 0


def test_a_fit_to_other_cells_is_another_fit(fit: Any, tmp_path: Path) -> None:
    assert fit().code == 0
    before = content(tmp_path / "my_am")
    cells(seed=1).write_h5ad(tmp_path / "my.h5ad")
    assert "my_am: it holds a fit to other cells (my.h5ad with sha256 " in fit().sentence
    assert content(tmp_path / "my_am") == before


@pytest.mark.parametrize("name", ["my_am.h5ad", "settings.yaml", "trajectories.png", "model.safetensors"])
def test_a_file_of_somebody_else_stays(fit: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine: 1\n")
    before = content(tmp_path / "out")
    for options in ((), ("--overwrite",)):
        sentence = fit("--out", tmp_path / "out", *options).sentence
        assert f"out/{name}: it is there, and am fit did not write it; give another --out, or move it" in sentence
        assert content(tmp_path / "out") == before


def test_folders_and_files_beside_its_own_are_left_alone(fit: Any, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "state"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    (tmp_path / "out" / "protocol.md").write_text("mine")
    for options in ((), ("--seed", 1, "--overwrite")):
        assert fit("--out", tmp_path / "out", *options).code == 0
        left = content(tmp_path / "out")
        assert (left["state/notes.txt"], left["protocol.md"]) == (b"mine", b"mine")


def test_a_result_that_was_edited_is_not_replaced(fit: Any, tmp_path: Path) -> None:
    assert fit().code == 0
    with (tmp_path / "my_am" / "training.csv").open("a") as file:
        file.write("a line of mine\n")
    before = content(tmp_path / "my_am")
    sentence = fit("--seed", 1, "--overwrite").sentence
    assert "my_am/training.csv: it has changed since am fit wrote it" in sentence
    assert content(tmp_path / "my_am") == before


@pytest.mark.parametrize("when", ["first", "last"])
@pytest.mark.parametrize("n", [15, 20], ids=["as many cells", "more cells"])
def test_cells_that_change_while_it_trains_are_no_result(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, n: int
) -> None:
    loss = ActionMatching.loss

    def changing(self: Any, network: Any, marginals: Any, stream: Any) -> Any:
        if stream.step == {"first": 0, "last": 2}[when]:
            cells(n, seed=1).write_h5ad(tmp_path / "my.h5ad")
        return loss(self, network, marginals, stream)

    monkeypatch.setattr(ActionMatching, "loss", changing)
    sentence = fit().sentence
    assert sentence.endswith("my.h5ad: it has changed since training began; call the same command again")
    assert not [name for name in content(tmp_path / "my_am") if not name.startswith(".am-fit-state")]
    monkeypatch.setattr(ActionMatching, "loss", loss)
    assert fit().code == 0
    assert len(read_h5ad(tmp_path / "my_am" / "my_am.h5ad")) == 2 * n


def test_cells_that_change_while_they_are_copied_are_no_result(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from am.steps import fit as step

    annotate = step.annotate

    def changing(source: Path, *rest: Any) -> None:
        annotate(source, *rest)
        cells(seed=1).write_h5ad(source)

    monkeypatch.setattr(step, "annotate", changing)
    assert "it has changed while it was copied; call the same command again" in fit().sentence
    assert not (tmp_path / "my_am" / "my_am.h5ad").exists()


def test_a_second_fit_waits_for_nobody_and_harms_nobody(fit: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "am.cli", *arguments(tmp_path, "--iterations", 100_000)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as first:
        lock = tmp_path / "my_am" / ".am-fit-state" / "lock"
        deadline = time.monotonic() + 120
        while not lock.exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for options in ((), ("--overwrite",), ("--seed", 1)):
            assert (
                "my_am: another am fit is at work there; wait for it, or give another --out" in fit(*options).sentence
            )
        assert first.poll() is None
        first.send_signal(signal.SIGKILL)
    assert fit().code == 0  # whoever was killed holds no lock
    assert not (tmp_path / "my_am" / ".am-fit-state" / "lock").exists()


def test_what_was_killed_while_it_wrote_can_start_again(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the files are new and without a record then; the same command ends the work."""
    assert fit().code == 0
    whole = content(tmp_path / "my_am")

    def killed(*_: object) -> None:
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        patch.setattr("am.steps.fit.write_tensors", killed)
        assert fit("--seed", 1, "--overwrite").code == 137
    assert content(tmp_path / "my_am").keys() != whole.keys()
    assert fit("--seed", 1).code == 0
    assert read_yaml(tmp_path / "my_am" / "settings.yaml")["seed"] == 1
    assert content(tmp_path / "my_am").keys() == whole.keys()


def test_a_record_that_is_broken_protects_what_is_there(fit: Any, tmp_path: Path) -> None:
    assert fit().code == 0
    (tmp_path / "my_am" / "provenance.json").write_text(json.dumps([]))
    before = content(tmp_path / "my_am")
    assert "it is there, and am fit did not write it" in fit("--overwrite").sentence
    assert content(tmp_path / "my_am") == before


@pytest.mark.parametrize("names", ["../precious.txt", "/precious.txt", 5, None])
def test_a_list_of_half_written_files_names_nothing_outside_of_the_folder(
    fit: Any, tmp_path: Path, names: object
) -> None:
    """The list is what a killed fit leaves, in a folder that may come from anybody."""
    precious, out = tmp_path / "precious.txt", tmp_path / "out"
    precious.write_text("mine")
    assert fit("--out", out).code == 0
    listed = [str(path.relative_to(out)) for path in out.iterdir()]
    if names == "/precious.txt":
        names = str(precious)
    (out / STATE).mkdir()
    (out / STATE / "writing.json").write_text(json.dumps([*listed, names]))
    assert fit("--out", out).code == 0
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("groups", [[1], {"a": 1}], ids=str)
def test_groups_that_are_none_are_not_followed(fit: Any, tmp_path: Path, groups: object) -> None:
    """Even where the record was made to agree with them."""
    out = tmp_path / "out"
    assert fit("--out", out).code == 0
    settings = read_yaml(out / "settings.yaml") | {"groups": groups}
    write_yaml(settings, out / "settings.yaml")
    record = json.loads((out / "provenance.json").read_text())
    record["config_sha256"] = digest({key: value for key, value in settings.items() if key != "units"})
    (out / "provenance.json").write_text(json.dumps(record))
    assert "it holds a fit with other settings (groups" in fit("--out", out).sentence


def test_a_zarr_store_in_a_zip_gives_its_name_without_endings(am: Any, tmp_path: Path, fit: Any) -> None:
    cells().write_zarr(tmp_path / "course.zarr")
    shutil.make_archive(str(tmp_path / "course.zarr"), "zip", tmp_path / "course.zarr")
    told = am(*[word.replace("my.h5ad", "course.zarr.zip") for word in arguments(tmp_path)])
    assert told.code == 0
    assert (tmp_path / "course_am" / "course_am.h5ad").is_file()
