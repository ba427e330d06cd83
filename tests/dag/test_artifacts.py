"""Weights from an archive in the place of training, through the whole workflow; and a run that goes along in a file."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from ..project import ProjectCopy

NAME = "action-matching-tiny.zip"
TINY = "results/tiny"
FETCH = ("--config", "artifacts=archive")
PLAN = {"retrieve_file", "unpack_weights"}


def rules(project: ProjectCopy, *arguments: str) -> set[str]:
    return {job["rule"] for job in project.planned(*arguments)}


def publish(archive: Path, project: ProjectCopy, address: str = "https://archive.invalid") -> None:
    """Enter the archive into the registry, as its maintainer does."""
    entry = {"urls": [f"{address}/{NAME}"], "sha256": sha256(archive.read_bytes()).hexdigest()}
    source = {"title": "t", "licence": "MIT", "citation": "c", "files": {NAME: entry}}
    with (project.folder / "data/registry.yaml").open("a") as file:
        yaml.safe_dump({"archive": source}, file)


def files(project: ProjectCopy, pattern: str) -> dict[str, bytes]:
    """Content of results by name."""
    return {str(path.relative_to(project.folder)): path.read_bytes() for path in project.folder.glob(pattern)}


@pytest.fixture(scope="session")
def archive(finished: ProjectCopy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the run, as `make archive` makes it."""
    folder = tmp_path_factory.mktemp("archive")
    about = ("--project", "config", "--scale", "tiny", "--results", TINY)
    run = finished.call("am", "archive", *about, "--out", str(folder / NAME))
    assert run.returncode == 0, run.stdout
    return folder / NAME


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder at an address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_archive_that_is_not_published_is_a_sentence_before_anything_runs(fresh: ProjectCopy) -> None:
    run = fresh.snakemake(*FETCH)
    assert run.returncode != 0
    assert (
        "am: tiny: artifacts: archive: data/registry.yaml lists no published archive of the scale 'tiny'" in run.stdout
    )
    assert not (fresh.folder / "results/tiny").exists()


def test_each_choice_plans_its_own_and_never_the_other(fresh: ProjectCopy, archive: Path) -> None:
    publish(archive, fresh)
    with_archive, with_training = rules(fresh, *FETCH), rules(fresh)
    assert with_archive - with_training == PLAN
    assert with_training - with_archive == {"train_method", "prepare_data"}
    fresh.edit("config/experiments/tiny.yaml", "dataset:", "artifacts: archive\ndataset:")
    assert rules(fresh) == with_archive
    assert rules(fresh, "--config", "artifacts={tiny: build}") == with_training


def test_weights_that_are_there_are_left_alone_whatever_is_chosen(changed: ProjectCopy, archive: Path) -> None:
    publish(archive, changed)
    changed.environment["AM_DATA"] = str(archive.parent)
    weights = f"{TINY}/archive/tiny/am/seed0/model.safetensors"
    run = changed.snakemake(*FETCH, "--", weights)
    assert run.returncode == 0, run.stdout
    trained = changed.folder / TINY / "tiny/am/seed0/model.safetensors"
    assert (changed.folder / weights).read_bytes() == trained.read_bytes()
    assert "Nothing to be done" in changed.snakemake("--dry-run").stdout
    others = {(job["run"], job["seed"]) for job in changed.planned(*FETCH) if job["rule"] == "unpack_weights"}
    assert others == {("am", "1"), ("ald_ssm", "0"), ("ald_ssm", "1")}


@pytest.mark.slow
def test_a_project_that_fetches_comes_to_the_same_metrics(
    finished: ProjectCopy, fresh: ProjectCopy, archive: Path
) -> None:
    with served(archive.parent) as (address, asked):
        publish(archive, fresh, address)
        run = fresh.snakemake(*FETCH)
        assert run.returncode == 0, run.stdout
        assert asked == [f"/{NAME}"]
    assert "rule train_method" not in run.stdout
    for pattern in ("tiny/*/seed*/metrics.csv", "tiny/*/seed*/history.csv", "verdict.csv"):
        found = files(fresh, f"{TINY}/{pattern}")
        assert found
        assert found == files(finished, f"{TINY}/{pattern}")
    told = fresh.call("am", "explain", f"{TINY}/figures/tiny_losses.pdf").stdout
    assert f"data/raw/archive/{NAME}" in told
    assert "all as they were recorded" in told
    said = fresh.call("am", "explain", TINY)
    assert said.returncode == 0, said.stdout

    assert rules(fresh, *FETCH) == set()
    run = fresh.snakemake()
    assert run.returncode == 0, run.stdout
    assert "rule train_method" in run.stdout
    assert "rule retrieve_file" not in run.stdout
    again = rules(fresh, *FETCH)
    assert "sample_method" in again
    assert not again & {*PLAN, "train_method", "prepare_data"}
    assert rules(fresh) == set()


@pytest.mark.slow
def test_unpacked_elsewhere_the_project_gives_the_same_verdicts(
    finished: ProjectCopy, archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path / "elsewhere")
    elsewhere, here = ProjectCopy(tmp_path / "elsewhere"), finished.copy(tmp_path / "here")
    verify = ("am", "verify", "--project", "config", "--scale", "tiny", "--results", TINY, "--out", "verdict.html")
    reviews = []
    for project in (elsewhere, here):
        project.go_offline()
        reviews.append(project.call("am", "review"))
        run = project.call(*verify)
        assert run.returncode == 0, run.stdout
    assert "published numbers reproduced" in reviews[0].stdout
    here_and_there = [re.sub(r", [\d.]+ s$", "", review.stdout, flags=re.MULTILINE) for review in reviews]
    assert here_and_there[0] == here_and_there[1]
    for name in ("results/verify/verdict.csv", "verdict.csv"):
        assert (elsewhere.folder / name).read_bytes() == (here.folder / name).read_bytes()
    assert (elsewhere.folder / "verdict.csv").read_bytes() == (here.folder / TINY / "verdict.csv").read_bytes()
    assert not any(os.path.islink(path) for path in elsewhere.folder.rglob("*"))
