"""Weights from an archive in the place of training: the same samples, and a sentence for everything that is wrong."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from am.config import read_yaml, write_yaml

pytestmark = pytest.mark.trains

RESULTS = "results/tiny"
ZIP = "data/raw/archive/action-matching-tiny.zip"
FOLDER = f"{RESULTS}/archive/atom/am/seed1"
MODEL = f"{FOLDER}/model.safetensors"
TRAINED = ("model.safetensors", "snapshots.safetensors", "training.csv", "training.json")
RUN = f"{RESULTS}/atom/am/config.yaml"
UNPACK = ("unpack", ZIP, "--run", RUN, "--scale", "tiny", "--seed", "1", "--out", MODEL)


def publish(folder: Path) -> None:
    """Enter the archive into the registry, as its maintainer does."""
    entry = {"urls": ["https://example.org/a.zip"], "sha256": sha256((folder / ZIP).read_bytes()).hexdigest()}
    source = {"title": "t", "licence": "MIT", "citation": "c", "files": {Path(ZIP).name: entry}}
    write_yaml({"archive": source}, folder / "data/registry.yaml")


@pytest.fixture
def fetched(am: Any, project: Path) -> Path:
    """The project with its archive published and fetched."""
    (project / ZIP).parent.mkdir(parents=True)
    told = am("archive", "--project", "config", "--scale", "tiny", "--results", RESULTS, "--out", ZIP)
    assert told.code == 0, told.err
    publish(project)
    return project


def test_fetched_weights_give_the_samples_of_trained_ones(am: Any, fetched: Path) -> None:
    assert am(*UNPACK).code == 0
    trained = fetched / RESULTS / "atom/am/seed1"
    for name in TRAINED:
        assert (fetched / FOLDER / name).read_bytes() == (trained / name).read_bytes()
    seed = ("--data", f"{RESULTS}/atom/data.h5ad", "--seed", "1", "--device", "cpu")
    assert am("sample", "--run", RUN, *seed, "--model", MODEL, "--out", "samples.npz").code == 0
    assert (fetched / "samples.npz").read_bytes() == (trained / "samples.npz").read_bytes()


def test_they_are_explained_down_to_the_archive(am: Any, fetched: Path) -> None:
    assert am(*UNPACK).code == 0
    told = json.loads(am("explain", MODEL, "--json").out)
    record = json.loads((fetched / FOLDER / "training.json").read_text())
    assert told[MODEL]["made_from"] == [ZIP, RUN]
    assert told[MODEL]["record"]["trained"]["train_seconds"] == record["train_seconds"]
    assert told[ZIP] == {"kind": "source", "sha256": told[ZIP]["sha256"], "findings": [], "made_from": [], "record": {}}
    assert told[ZIP]["sha256"] == sha256((fetched / ZIP).read_bytes()).hexdigest()
    assert [one["findings"] for one in told.values()] == [[], [], []]
    shown = am("explain", MODEL).out
    assert f"trained: commit {record['commit'][:12]}" in shown
    assert "3 files, all as they were recorded." in shown

    with (fetched / MODEL).open("ab") as file:
        file.write(b"x")
    with (fetched / ZIP).open("ab") as file:
        file.write(b"x")
    found = json.loads(am("explain", MODEL, "--json").out)[MODEL]["findings"]
    assert [finding.split(":")[0] for finding in found] == ["edited", "stale"]


def rewritten(change: Callable[[zipfile.ZipInfo, bytes], bytes | None]) -> Callable[[Path], None]:
    """A published archive with some of its members changed or, where nothing is given back, gone."""

    def of(folder: Path) -> None:
        with zipfile.ZipFile(folder / ZIP) as old, zipfile.ZipFile(folder / "new.zip", "w") as new:
            for entry in old.infolist():
                content = change(entry, old.read(entry))
                if content is not None:
                    new.writestr(entry, content)
        shutil.move(folder / "new.zip", folder / ZIP)
        publish(folder)

    return of


def without_seed(entry: zipfile.ZipInfo, content: bytes) -> bytes | None:
    return None if "/am/seed1/" in entry.filename else content


def other_weights(entry: zipfile.ZipInfo, content: bytes) -> bytes:
    return content + b"x" if entry.filename.endswith("/am/seed1/model.safetensors") else content


def link_to_weights(entry: zipfile.ZipInfo, content: bytes) -> bytes:
    if entry.filename.endswith("/am/seed1/model.safetensors"):
        entry.external_attr = 0o120777 << 16
    return content


def other_settings(folder: Path) -> None:
    run = read_yaml(folder / RUN)
    run["settings"]["training"]["iterations"] = 13
    write_yaml(run, folder / RUN)


def damaged(folder: Path) -> None:
    content = (folder / ZIP).read_bytes()
    (folder / ZIP).write_bytes(content[: len(content) // 2])


def damaged_and_published(folder: Path) -> None:
    damaged(folder)
    publish(folder)


def with_record(text: bytes) -> Callable[[zipfile.ZipInfo, bytes], bytes | None]:
    def change(entry: zipfile.ZipInfo, content: bytes) -> bytes | None:
        return text if entry.filename.endswith("/training.json") else content

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_settings, "were trained with other settings: settings.training.iterations is 13 here and 12 there"),
        (damaged, "delete it, and it will be fetched again"),
        (damaged_and_published, "not a whole zip file"),
        (rewritten(without_seed), "it holds no weights of atom/am/seed1; did you mean 'atom/am/seed0'?"),
        (rewritten(other_weights), "atom/am/seed1/model.safetensors is not what was trained"),
        *(
            (
                rewritten(with_record(text)),
                f"{ZIP}: {RESULTS}/atom/am/seed1/training.json: not a record of provenance (",
            )
            for text in (b"", b"[]", b"[" * 100_000, b'{"commit": ""}', b"\xff")
        ),
        (rewritten(link_to_weights), "atom/am/seed1/model.safetensors is no plain file"),
        (lambda folder: (folder / ZIP).unlink(), "there is no such file; `am retrieve` fetches it"),
        (lambda folder: (folder / "data/registry.yaml").write_text(""), "there is no source 'archive'"),
    ],
)
def test_what_cannot_be_used_is_a_sentence_and_nothing_is_written(
    am: Any, fetched: Path, change: Callable[[Path], None], said: str
) -> None:
    change(fetched)
    assert said in am(*UNPACK).sentence
    assert not (fetched / FOLDER).exists() or not list((fetched / FOLDER).iterdir())


def test_an_archive_of_fetched_weights_gives_them_too(am: Any, fetched: Path) -> None:
    """Where a run took its weights from an archive, its own archive has them at the place that they were fetched to."""
    for seed in (0, 1):
        model = f"{RESULTS}/archive/atom/am/seed{seed}/model.safetensors"
        assert am("unpack", ZIP, "--run", RUN, "--scale", "tiny", "--seed", seed, "--out", model).code == 0
        common = ("--run", RUN, "--data", f"{RESULTS}/atom/data.h5ad", "--seed", seed, "--device", "cpu")
        out = f"{RESULTS}/atom/am/seed{seed}/samples.npz"
        assert am("sample", *common, "--model", model, "--out", out).code == 0
    told = am("archive", "--project", "config", "--scale", "tiny", "--results", RESULTS, "--out", "second.zip")
    assert told.code == 0, told.err
    shutil.move(fetched / "second.zip", fetched / ZIP)
    publish(fetched)
    with zipfile.ZipFile(fetched / ZIP) as content:
        assert [name for name in content.namelist() if name.endswith("/model.safetensors")] == [
            f"{RESULTS}/archive/atom/am/seed{seed}/model.safetensors" for seed in (0, 1)
        ]
    first = (fetched / MODEL).read_bytes()
    shutil.rmtree(fetched / RESULTS / "archive")
    assert am(*UNPACK).code == 0
    assert (fetched / MODEL).read_bytes() == first
