"""Archives: what is written is read again anywhere, and what is read never writes where it was not told to."""

from __future__ import annotations

import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from am.io.archives import ArchiveError, extract, opened, write_archive


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.csv"
    path.write_bytes(b"a,b\r\n1,2\n")
    return path


def test_what_was_written_is_there_with_nothing_of_when_and_by_whom(tmp_path: Path, source: Path) -> None:
    script = tmp_path / "run"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    write_archive({"about.json": "ü\n", "in/a-b_c+d.csv": source, "bin/run": script}, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["about.json", "in/a-b_c+d.csv", "bin/run"]
        assert archive.read("about.json") == "ü\n".encode()
        assert archive.read("in/a-b_c+d.csv") == source.read_bytes()
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        modes = [stat.filemode(entry.external_attr >> 16) for entry in archive.infolist()]
    assert modes == ["-rw-r--r--", "-rw-r--r--", "-rwxr-xr-x"]


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../x", "a/./x", "a//x", "", "a/", "C:x", "a\\x", "a b", "a\n", "-x", "a/-x", "~x"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, source: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="letters, digits"):
        write_archive({"first": source, name: source}, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_file_that_is_gone_leaves_the_archive_as_it_was(tmp_path: Path, source: Path) -> None:
    write_archive({"a": source}, tmp_path / "a.zip")
    before = (tmp_path / "a.zip").read_bytes()
    with pytest.raises(ArchiveError, match="gone: cannot be read: no such file or directory"):
        write_archive({"a": source, "b": tmp_path / "gone"}, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "source.csv"]


def crafted(path: Path, name: str, mode: int = 0, times: int = 1) -> Path:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name is there twice
        archive.writestr("good", "good")
        for _ in range(times):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "mode", "times", "said"),
    [
        ("bad", stat.S_IFLNK | 0o777, 1, "bad is no plain file"),
        ("bad", stat.S_IFIFO | 0o777, 1, "bad is no plain file"),
        ("bad/", 0, 1, "cannot give bad: did you mean 'bad/'?"),
        ("bad", 0, 2, "cannot give bad: there are two of it"),
        ("other", 0, 1, "cannot give bad: choose from: good, other"),
    ],
)
def test_only_plain_files_are_taken_and_all_or_none(
    tmp_path: Path, name: str, mode: int, times: int, said: str
) -> None:
    path = crafted(tmp_path / "a.zip", name, mode, times)
    with pytest.raises(ArchiveError) as caught, opened(path) as archive:
        extract(archive, {"good": tmp_path / "out/good", "bad": tmp_path / "out/bad"})
    assert said in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_a_name_inside_decides_nothing_about_the_place(tmp_path: Path) -> None:
    path = crafted(tmp_path / "a.zip", "../../outside")
    with opened(path) as archive:
        extract(archive, {"../../outside": tmp_path / "in/side"})
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a.zip", "in", "in/side"]


def test_a_damaged_file_is_a_sentence_and_not_written(tmp_path: Path, source: Path) -> None:
    source.write_bytes(bytes(range(256)) * 100)
    path = tmp_path / "a.zip"
    write_archive({"a": source}, path)
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="not a whole zip file"), opened(path) as archive:
        extract(archive, {"a": tmp_path / "a"})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"no archive"])
def test_what_is_no_archive_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"no such archive|not a whole zip file"), opened(tmp_path / "a.zip"):
        pytest.fail("it was opened")
