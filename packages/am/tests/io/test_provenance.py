"""Records of provenance say what was there."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from am.io import provenance
from am.io.provenance import ProvenanceError


def git(folder: Path, *arguments: str | Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    names = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *names, *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a library, settings and results in it."""
    folder = tmp_path / "checkout"
    for name in ("library/__init__.py", "config/config.yaml"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("1")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    return folder


def commit_of(folder: Path) -> provenance.Commit:
    counts = [folder / name for name in ("library", "config", "Snakefile")]
    return provenance.commit_of(folder / "library/__init__.py", counts)


def test_commit_is_that_of_the_repository_which_tracks_the_library(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "mine"
    other.mkdir()
    git(other, "init")
    git(other, "commit", "--allow-empty", "-m", "mine")
    monkeypatch.chdir(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as git sets it for a hook
    head = git(checkout, "rev-parse", "HEAD")
    assert commit_of(checkout) == (head, "")
    git(checkout, "worktree", "add", tmp_path / "worktree")
    git(tmp_path, "clone", "--depth", "1", checkout.as_uri(), "shallow")
    assert commit_of(tmp_path / "worktree").name == commit_of(tmp_path / "shallow").name == head


def test_only_what_counts_makes_changes(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    for name in ("results/expected/verdict.csv", "data.h5ad", "docs/site/index.html"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("2")
        assert commit_of(checkout).name == head
    for name in ("library/new module.py", "config/config.yaml", "Snakefile"):
        (checkout / name).write_text("2")
        assert commit_of(checkout).name == f"{head}+changes", name
        git(checkout, "add", name)
        git(checkout, "commit", "-m", name)
        head = git(checkout, "rev-parse", "HEAD")
        assert commit_of(checkout).name == head


def test_what_makes_changes_is_told_by_file(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_LIBRARY", checkout / "library")
    monkeypatch.setattr(provenance, "_counts", lambda: [checkout / name for name in ("library", "config")])
    monkeypatch.setattr(provenance, "_commit_here", lambda: provenance.Commit("c" * 40))
    (checkout / "results").mkdir()
    (checkout / "results/metrics.csv").write_text("2")
    assert provenance.changes() == []
    (checkout / "config/config.yaml").write_text("2")
    (checkout / "library/new one.py").write_text("")
    assert sorted(provenance.changes()) == ["config/config.yaml", "library/new one.py"]


def test_a_copy_below_another_repository_has_no_commit(checkout: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(checkout, outer / "unpacked", ignore=shutil.ignore_patterns(".git"))
    git(outer, "init")
    git(outer, "commit", "--allow-empty", "-m", "outer")
    name, why = commit_of(outer / "unpacked")
    assert name == "unknown"
    assert why.endswith("is not tracked by git")


def test_commit_is_unknown_and_says_why(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare/library").mkdir(parents=True)
    (tmp_path / "bare/library/__init__.py").touch()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path / "bare") == ("unknown", f"{tmp_path / 'bare/library'} is in no git repository")
    git(tmp_path / "bare", "init")
    git(tmp_path / "bare", "add", ".")
    assert "no commit yet" in commit_of(tmp_path / "bare").unknown
    with monkeypatch.context() as patch:
        patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for tests
        assert "dubious ownership" in commit_of(checkout).unknown
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(checkout) == ("unknown", "git is not installed")


def test_a_record_tells_the_commit_of_the_library_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = provenance.origin([], "c0de")
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "mine")
    monkeypatch.chdir(tmp_path)
    script = "import json; from am.io.provenance import origin; print(json.dumps(origin([], 'c0de')))"
    there = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert there == here
    assert ("commit_unknown" in there) == (there["commit"] == "unknown")
    assert not there["commit"].startswith(git(tmp_path, "rev-parse", "HEAD"))


def test_a_record_is_read_back_as_written(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"cells" * 100_000)
    started = datetime.now(UTC)
    record = provenance.collect(
        code_digest="c0de",
        config_sha256="5e77",
        data=[data],
        files=[data],
        device="cpu",
        seed=3,
        started=started,
        nfe=40,
    )
    path = tmp_path / "run" / "provenance.json"
    provenance.write_provenance(record, path)

    assert provenance.read_provenance(path) == record
    digest = hashlib.sha256(b"cells" * 100_000).hexdigest()
    assert (record["data"], record["files"]) == ({data.as_posix(): digest}, {"data": digest})
    assert record["train_seconds"] is None
    assert abs((datetime.fromisoformat(record["finished"]) - started).total_seconds()) < 5
    assert datetime.fromisoformat(record["started"]).tzinfo is not None
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    import numpy as np

    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["torch"]


WHOLE: dict[str, Any] = {
    "commit": "unknown",
    "code_digest": "c0de",
    "config_sha256": "5e77",
    "data": {"a": "0"},
    "versions": {},
    "device": "cpu",
    "seed": 0,
    "train_seconds": None,
    "sample_seconds": 1,
    "nfe": 3,
    "peak_memory_bytes": None,
    "started": "2026-01-02T03:04:05+00:00",
    "finished": "2026-01-02T03:04:05Z",
}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such"),
        ("", "line 1"),
        ("{", "line 1"),
        (b"\xff", "utf-8"),
        ("[]", "not a mapping"),
        ("null", "not a mapping"),
        ('{"commit": "x"}', "'code_digest' is missing"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"nfe": NaN}', "NaN is no number"),
        ('{"a": %s}' % ("1" * 5000), "digits"),
        ('{"a": "\\ud800"}', "surrogates"),
        (" " * (provenance.MOST_BYTES + 1), "more than"),
    ],
)
def test_a_bad_record_is_one_clear_sentence(tmp_path: Path, content: str | bytes | None, sentence: str) -> None:
    path = tmp_path / "provenance.json"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ProvenanceError, match=sentence) as caught:
        provenance.read_provenance(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seed", one) for one in ("0", 0.5, True, None)),
        *(("nfe", one) for one in ("3", -1, 10**400)),
        *(("train_seconds", one) for one in ("1", -1.0, 10**400, 1e300)),
        *(("versions", one) for one in ([], {"torch": 2}, "")),
        *(("data", one) for one in (["a"], {"a": None}, 0)),
        *(("files", one) for one in (["a"], {"a": {}})),
        *(("started", one) for one in (0, "yesterday", "2026-01-02T03:04:05")),
    ],
)
def test_each_field_of_a_record_is_what_it_must_be(tmp_path: Path, key: str, value: Any) -> None:
    path = tmp_path / "provenance.json"
    path.write_text(json.dumps(WHOLE))
    assert provenance.read_provenance(path) == WHOLE
    path.write_text(json.dumps(WHOLE | {key: value}))
    with pytest.raises(ProvenanceError, match=f"not a record of provenance \\('{key}") as caught:
        provenance.read_provenance(path)
    assert len(str(caught.value).splitlines()) == 1


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        for read in (provenance.read_provenance, provenance.file_sha256):
            with pytest.raises(ProvenanceError, match="no plain file"):
                read(path)
    with pytest.raises(ProvenanceError, match="no plain file"):
        provenance.read_provenance(tmp_path)


def test_a_sidecar_names_the_file_and_all_that_it_shows(tmp_path: Path) -> None:
    inputs = [tmp_path / "b.csv", tmp_path / "a.csv"]
    for path in inputs:
        path.write_text(path.name)
    figure = tmp_path / "figure.pdf"
    figure.write_bytes(b"%PDF")
    provenance.write_origin(figure, provenance.origin(inputs, "c0de"))

    written = json.loads((tmp_path / "figure.pdf.provenance.json").read_text())
    assert written["file"] == "figure.pdf"
    assert written["sha256"] == hashlib.sha256(b"%PDF").hexdigest()
    assert written["code_digest"] == "c0de"
    assert written["commit"] == provenance.commit()
    assert provenance.read_origin(figure) == written
    assert written["inputs"] == {p.as_posix(): hashlib.sha256(p.name.encode()).hexdigest() for p in inputs}


def test_files_below_the_current_folder_are_named_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "project" / "a.csv", tmp_path / "b.csv"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.touch()
    monkeypatch.chdir(inside.parent)
    assert provenance.origin([inside, outside], "")["inputs"].keys() == {"a.csv", outside.as_posix()}


def test_peak_memory_is_that_of_this_process_alone() -> None:
    script = """
from am.io.provenance import peak_memory
before = peak_memory()
block = bytearray(b"1") * (100 << 20)
print(before, peak_memory())
"""
    ballast = bytearray(b"1") * (300 << 20)  # what the parent used must not show in the child
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    del ballast
    before, after = map(int, done.stdout.split())
    assert before < 200 << 20
    assert 100 << 20 <= after - before < 120 << 20
