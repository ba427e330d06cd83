"""Records of provenance say what was there."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from am.results import provenance
from am.results.provenance import ProvenanceError


def git(folder: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    names = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *names, *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_follows_the_tree(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert provenance.commit(tmp_path) == "unknown"
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert provenance.commit(tmp_path) == f"{head}+changes"
    git(tmp_path, "checkout", "a")
    (tmp_path / "new module").write_text("")
    assert provenance.commit(tmp_path) == f"{head}+changes"


def test_commit_is_unknown_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit(tmp_path) == "unknown"


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


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "no such"), ("{", "line 1"), ("[]", "mapping"), ('{"commit": "x"}', "'code_digest' is missing")],
)
def test_a_bad_record_is_one_clear_sentence(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "provenance.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ProvenanceError, match=sentence) as caught:
        provenance.read_provenance(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


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
from am.results.provenance import peak_memory
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
