"""Files from outside, against a real server that misbehaves as servers do."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from am.config import ConfigError, write_yaml
from am.io.registry import RemoteFile, find_file, read_registry
from am.io.retrieve import ATTEMPTS, RetrieveError, retrieve
from am.steps import retrieve as step

ROOT = Path(__file__).parents[4]
REGISTRY = ROOT / "data" / "registry.yaml"
CONTENT = np.random.default_rng(0).bytes(8 * 65_536)  # half of it is a whole number of the pieces that are read
HALF = len(CONTENT) // 2


ADDRESSES = {
    "no-address": "http://[",
    "no-host": "http://.a.b/",
    "disk": "file:///etc/hosts",
    "circle": "/circle/file.npz",
}
"""Where a request is sent on to, by the first part of its path."""


class Server(ThreadingHTTPServer):
    """Serves one content at every path; the first part of the path says how, often only at the first request."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.requests: list[tuple[str, str | None]] = []
        self.stalled = threading.Event()
        self.release = threading.Event()

    def url(self, how: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server_port}/{how}/file.npz"

    def ranges(self, how: str) -> list[str | None]:
        return [asked for name, asked in self.requests if name == how]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        how = self.path.split("/")[1]
        asked = self.headers.get("Range")
        first = not self.server.ranges(how)
        self.server.requests.append((how, asked))
        if how.isdecimal():
            return self.send_error(int(how))
        if how.startswith("once-") and first:
            return self.send_error(int(how.removeprefix("once-")))
        if how == "moved":
            self.send_response(302)
            self.send_header("Location", "/good/file.npz")
            return self.end_headers()
        if how in ADDRESSES:
            self.send_response(302)
            self.send_header("Location", ADDRESSES[how])
            return self.end_headers()
        if how == "drip":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not self.server.release.wait(0.05):
                    self.wfile.write(b"x")
            return None
        wrong = how == "wrong" or (how == "wrong-once" and first)
        content = self.server.content[::-1] if wrong else self.server.content
        if how == "endless":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not self.server.release.is_set():
                    self.wfile.write(content)
            return None
        compressed = how in ("packing", "x-packing") or (
            how == "compressing" and "gzip" in self.headers["Accept-Encoding"]
        )
        if compressed:
            content = gzip.compress(content)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and how != "no-ranges" else 0
        if start >= len(content):
            return self.send_error(416)
        if how == "elsewhere" and start:
            start -= 1
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if compressed or how in ("gzip", "x-gzip"):  # the latter say so of the file as it is
            self.send_header("Content-Encoding", "x-gzip" if how.startswith("x-") else "gzip")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if how in ("cut", "compressing", "no-ranges", "elsewhere") and first:
            body = body[: len(body) // 2]
        if how == "stall" and first:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.stalled.set()
            self.server.release.wait(60)
            body = body[len(body) // 2 :]
        with suppress(OSError):  # the other side may have gone
            self.wfile.write(body)
        return None


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_but_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor a folder of whoever runs the tests takes part."""
    monkeypatch.delenv("AM_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def entry(*urls: str) -> RemoteFile:
    return RemoteFile(urls=urls, bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def refusal(*urls: str, path: Path, folders: tuple[Path, ...] = ()) -> str:
    """The sentence that retrieval ends in."""
    with pytest.raises(RetrieveError) as caught:
        retrieve(entry(*urls), path, folders, pause=0)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def command(wanted: RemoteFile, path: Path, limit_kb: int | None = None) -> subprocess.Popen[str]:
    """Start `am retrieve` on a registry of one file."""
    registry = path.parent.parent / "registry.yaml"
    about = {"title": "t", "licence": "l", "citation": "c"}
    write_yaml({"source": about | {"files": {path.name: wanted.model_dump(mode="json")}}}, registry)
    arguments = [sys.executable, "-m", "am.cli", "retrieve", "--registry", registry, "--source", "source"]
    arguments += ["--file", path.name, "--out", path]
    limit = "" if limit_kb is None else f"ulimit -f {limit_kb}; "
    words = ["bash", "-c", f'{limit}exec "$@"', "bash", *map(str, arguments)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


# -- what arrives --------------------------------------------------------------------------------------


def test_a_good_file_arrives_whole(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.npz"
    retrieve(entry(server.url("good")), path)
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == {"file.npz"}
    retrieve(entry(server.url("good")), path)
    assert len(server.requests) == 1, "a file that is there and right is not fetched again"


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("moved")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT


@pytest.mark.parametrize("how", ["gzip", "x-gzip"])
def test_a_file_that_its_server_calls_coded_arrives_as_it_is(how: str, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)
    with serving(packed) as server:
        wanted = entry(server.url(how)).model_copy(
            update={"bytes": len(packed), "sha256": hashlib.sha256(packed).hexdigest()}
        )
        retrieve(wanted, tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == packed


@pytest.mark.parametrize("how", ["packing", "x-packing"])
def test_a_file_that_its_server_packs_unasked_is_unpacked(how: str, server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url(how)), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert left(tmp_path) == {"file.npz"}


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("no-address", "it leads to an address that cannot be fetched"),
        ("no-host", "it leads to an address that cannot be fetched"),
        ("disk", "it leads to an address that cannot be fetched"),
        ("circle", "it leads from one address to the next without an end"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_sentence(how: str, sentence: str, server: Server, tmp_path: Path) -> None:
    assert sentence in refusal(server.url(how), path=tmp_path / "file.npz")


def test_a_server_that_drips_is_given_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("am.io.retrieve.WINDOW", 0.5)
    assert "less than 1000 bytes a second came in 0.5 s" in refusal(server.url("drip"), path=tmp_path / "file.npz")


def test_a_file_that_is_there_but_wrong_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.npz").write_bytes(CONTENT[:-1])
    retrieve(entry(server.url("good")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT


def test_progress_is_reported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("am.io.retrieve.REPORT_EVERY", len(CONTENT) // 4)
    caplog.set_level(logging.INFO, logger="am")
    retrieve(entry(server.url("good")), tmp_path / "file.npz", pause=0)
    *progress, last = caplog.messages
    assert last == f"file.npz: fetched from {server.url('good')}"
    arrived = [float(re.fullmatch(r"file\.npz: (\S+) MB have arrived", line)[1]) for line in progress]  # type: ignore[index]
    quarters = [len(CONTENT) / 1e6 * part / 4 for part in (1, 2, 3, 4)]  # a report is at most a piece late
    assert all(quarter - 0.05 <= size < quarter + 0.12 for quarter, size in zip(quarters, arrived, strict=True))


# -- what is resumed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "compressing"])
def test_a_download_that_was_cut_off_is_resumed(server: Server, tmp_path: Path, how: str) -> None:
    retrieve(entry(server.url(how)), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges(how) == [None, f"bytes={HALF}-"]


def test_a_download_that_stalls_is_resumed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("am.io.retrieve.TIMEOUT", (10, 1.0))
    retrieve(entry(server.url("stall")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges("stall") == [None, f"bytes={HALF}-"]


def test_a_mirror_goes_on_where_the_first_address_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.npz.part").write_bytes(CONTENT[:1000])
    retrieve(entry(server.url("404"), server.url("good")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges("good") == ["bytes=1000-"]


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("no-ranges")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges("no-ranges") == [None, f"bytes={HALF}-"]


def test_a_server_that_goes_on_at_another_place_is_asked_for_all(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("elsewhere")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges("elsewhere") == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("size", [HALF, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_something_else_does_not_spoil_the_file(server: Server, tmp_path: Path, size: int) -> None:
    (tmp_path / "file.npz.part").write_bytes(b"x" * size)
    retrieve(entry(server.url("good")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges("good") == [f"bytes={size}-", None]


def test_a_whole_part_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "file.npz.part").write_bytes(CONTENT)
    retrieve(entry("http://127.0.0.1:9/file.npz"), tmp_path / "file.npz", pause=0)
    assert left(tmp_path) == {"file.npz"}


def test_what_a_killed_process_fetched_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "out" / "file.npz"
    part = path.with_name("file.npz.part")
    with command(entry(server.url("stall")), path) as process:
        assert server.stalled.wait(60)
        while not part.exists() or part.stat().st_size < HALF:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert left(path.parent) == {"file.npz.part"}
    with command(entry(server.url("stall")), path) as process:
        assert process.wait() == 0
    assert path.read_bytes() == CONTENT
    assert server.ranges("stall") == [None, f"bytes={HALF}-"]


# -- what is tried again, and what is not --------------------------------------------------------------


def test_mirrors_are_asked_in_turn(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("404"), server.url("good"), server.url("moved")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.requests == [("404", None), ("good", None)], "a 404 is final"


@pytest.mark.parametrize("how", ["once-500", "once-503", "once-429", "once-408", "wrong-once"])
def test_a_passing_fault_is_tried_again(server: Server, tmp_path: Path, how: str) -> None:
    retrieve(entry(server.url(how)), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges(how) == [None, None]


def test_attempts_are_bounded_and_wait_longer_each_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("am.io.retrieve.time.sleep", waits.append)
    with pytest.raises(RetrieveError, match=r"/500/file\.npz: answered 500 Internal Server Error; put the file"):
        retrieve(entry(server.url("500")), tmp_path / "file.npz")
    assert len(server.requests) == ATTEMPTS
    assert waits == [1, 2]


# -- what is refused -----------------------------------------------------------------------------------


def test_a_wrong_content_is_refused_and_thrown_away(server: Server, tmp_path: Path) -> None:
    url = server.url("wrong")
    wrong, right = (hashlib.sha256(content).hexdigest() for content in (CONTENT[::-1], CONTENT))
    assert f"{url}: what it sent has sha256 {wrong}, expected {right}; put the file into a folder" in refusal(
        url, path=tmp_path / "file.npz"
    )
    assert left(tmp_path) == set()
    assert server.ranges("wrong") == [None] * ATTEMPTS


def test_no_more_is_stored_than_the_file_may_hold(server: Server, tmp_path: Path) -> None:
    sentence = refusal(server.url("endless"), path=tmp_path / "file.npz")
    found = re.search(rf"what it sent has (\d+) bytes, expected {len(CONTENT)}", sentence)
    assert found is not None, sentence
    assert int(found[1]) <= len(CONTENT) + 65_536
    assert left(tmp_path) == set()


def test_an_answer_about_ranges_to_a_request_without_one_is_a_refusal(server: Server, tmp_path: Path) -> None:
    assert "answered 416" in refusal(server.url("416"), path=tmp_path / "file.npz")


def test_a_refused_file_leaves_the_old_one_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.npz").write_bytes(b"old")
    refusal(server.url("404"), path=tmp_path / "file.npz")
    assert (tmp_path / "file.npz").read_bytes() == b"old"


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    assert refusal("http://127.0.0.1:9/file.npz", path=tmp_path / "file.npz") == (
        "file.npz could not be had: http://127.0.0.1:9/file.npz: cannot be reached; "
        "put the file into a folder and name the folder in the environment variable AM_DATA"
    )


def test_a_connection_that_is_not_secure_is_named(server: Server, tmp_path: Path) -> None:
    assert "no secure connection" in refusal(server.url("good", "https"), path=tmp_path / "file.npz")


def test_a_proxy_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "the proxy cannot be reached" in refusal("http://example.invalid/file.npz", path=tmp_path / "file.npz")


def test_a_server_that_never_answers_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("am.io.retrieve.TIMEOUT", (10, 0.2))
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.server.release.wait(60))
    assert "no answer in time" in refusal(server.url("good"), path=tmp_path / "file.npz")


@pytest.mark.parametrize("place", ["junk/below/file.npz", "file.npz"], ids=["below a file", "a folder"])
def test_a_place_that_cannot_be_written_to_is_one_sentence(server: Server, tmp_path: Path, place: str) -> None:
    (tmp_path / "junk").touch()
    (tmp_path / "file.npz").mkdir()
    path = tmp_path / place
    assert refusal(server.url("good"), path=path).startswith(f"{path} cannot be written: ")


def test_a_full_disk_is_one_sentence_and_what_arrived_is_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "out" / "file.npz"
    with command(entry(server.url("good")), path, limit_kb=HALF // 1024) as process:
        assert process.stderr is not None
        assert process.stderr.read() == f"am: {path} cannot be written: file too large\n"
        assert process.wait() == 1
    assert left(path.parent) == {"file.npz.part"}
    retrieve(entry(server.url("good")), path)
    assert server.ranges("good") == [None, f"bytes={HALF}-"]


# -- local folders -------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A folder without the file, one with a wrong file, one with the right one."""
    places = tmp_path / "empty", tmp_path / "bad", tmp_path / "good"
    for place in places:
        place.mkdir()
    (places[1] / "file.npz").write_bytes(CONTENT[::-1])
    (places[2] / "file.npz").write_bytes(CONTENT)
    return places


def test_local_folders_come_first(server: Server, tmp_path: Path, folders: tuple[Path, Path, Path]) -> None:
    path = tmp_path / "out" / "file.npz"
    retrieve(entry(server.url("good")), path, folders)
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == {"file.npz"}
    assert not server.requests


def test_a_wrong_local_file_is_passed_over(server: Server, tmp_path: Path, folders: tuple[Path, Path, Path]) -> None:
    path = tmp_path / "out" / "file.npz"
    retrieve(entry(server.url("good")), path, folders[:2])
    assert path.read_bytes() == CONTENT
    assert server.ranges("good") == [None]


def test_the_error_says_what_is_wrong_in_local_folders(
    server: Server, tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    empty, bad, _ = folders
    sentence = refusal(server.url("404"), path=tmp_path / "out" / "file.npz", folders=(empty, bad))
    assert f"{empty}/file.npz: no such file or directory; {bad}/file.npz: has sha256 " in sentence
    assert "/404/file.npz: answered 404 Not Found; " in sentence


def test_an_address_may_be_a_file(server: Server, tmp_path: Path, folders: tuple[Path, Path, Path]) -> None:
    empty, bad, good = folders
    path = tmp_path / "out" / "file.npz"
    retrieve(entry(server.url("404"), (good / "file.npz").as_uri()), path)
    assert path.read_bytes() == CONTENT
    assert not server.requests
    sentence = refusal((bad / "file.npz").as_uri(), (empty / "a b").as_uri(), path=tmp_path / "b" / "file.npz")
    assert f"{bad}/file.npz: has sha256" in sentence
    assert f"{empty}/a b: no such file" in sentence


def test_folders_are_named_by_the_environment(
    tmp_path: Path, folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "file.npz"
    (tmp_path / "all").mkdir()
    shutil.copytree(folders[2], tmp_path / "all" / "source")
    for named in (os.pathsep.join(map(str, folders)), str(tmp_path / "all")):
        monkeypatch.setenv("AM_DATA", named)
        with command(entry("http://127.0.0.1:9/file.npz"), path) as process:
            assert process.wait() == 0
        assert path.read_bytes() == CONTENT
        path.unlink()


# -- several processes ---------------------------------------------------------------------------------


def test_of_two_processes_one_fetches_and_the_other_waits(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "out" / "file.npz"
    with command(entry(server.url("stall")), path) as first:
        assert server.stalled.wait(60)
        with command(entry(server.url("stall")), path) as second:
            assert second.stderr is not None
            assert second.stderr.readline() == "file.npz: waiting for another process that fetches it\n"
            server.release.set()
            assert (first.wait(), second.wait()) == (0, 0)
    assert path.read_bytes() == CONTENT
    assert server.ranges("stall") == [None]
    assert left(path.parent) == {"file.npz"}


def test_a_file_system_without_locks_is_one_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert "cannot be written: operation not supported" in refusal(server.url("good"), path=tmp_path / "file.npz")


# -- the registry --------------------------------------------------------------------------------------


def git_blob(path: Path) -> str:
    return subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()


def test_every_registered_file_is_pinned() -> None:
    sources = read_registry(REGISTRY)
    for source in sources.values():
        for name, file in source.files.items():
            told = (name, "file_downloaded", "pt_inception-2015-12-05-6726825d.pth")  # which has its digest in its name
            assert all(url.rpartition("/")[2] in told for url in file.urls)
    urls = [url for file in sources["embryoid"].files.values() for url in file.urls]
    commit = "dc44f1fda929768eb840bdf3f5c892bc86451cc6"
    assert all(url.startswith(f"https://raw.githubusercontent.com/take-koshizuka/NLSB/{commit}/data/") for url in urls)
    assert set(sources["embryoid"].files) == {"train_rna.npz", "val_rna.npz", "test_rna.npz"}


def test_a_name_that_is_not_registered_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"registry\.yaml: there is no source 'embrioid'; did you mean 'embryoid'\?"):
        find_file(REGISTRY, "embrioid", "val_rna.npz")
    with pytest.raises(ConfigError, match=r"embryoid has no file 'val_rn\.npz'; did you mean 'val_rna\.npz'\?"):
        find_file(REGISTRY, "embryoid", "val_rn.npz")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sha256": None}, "a: files.f: a file needs a sha256 or a git_blob to be checked against"),
        ({"sha256": "A" * 64}, "a: files.f.sha256: string should match pattern"),
        ({"sha256": "0" * 40}, "a: files.f.sha256: string should match pattern"),
        ({"git_blob": "0" * 64}, "a: files.f.git_blob: string should match pattern"),
        ({"urls": []}, "a: files.f.urls: "),
        ({"urls": ["ftp://example.org/f"]}, "a: files.f.urls.0: string should match pattern"),
        ({"bytes": 0}, "a: files.f.bytes: input should be greater than 0"),
        ({"sha265": "0" * 64}, "a: files.f.sha265: unknown key; did you mean 'sha256'?"),
    ],
)
def test_an_entry_that_is_not_valid_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    file = {"urls": ["https://example.org/f"], "sha256": "0" * 64}
    source = {"title": "t", "licence": "l", "citation": "c"}
    registry = tmp_path / "registry.yaml"
    write_yaml({"a": source | {"files": {"f": file}}}, registry)
    assert find_file(registry, "a", "f").sha256 == "0" * 64
    write_yaml({"a": source | {"files": {"f": file | change}}}, registry)
    with pytest.raises(ConfigError) as caught:
        find_file(registry, "a", "f")
    assert str(caught.value).startswith(f"{registry}: {expected}")


@pytest.mark.parametrize(
    "name", ["../f", "..", "a/f", "/f", "-f", ".f", "f g", "f;g", "$(f)", "f\n", "'f'", "", "\u202ef"]
)
def test_a_file_has_a_plain_name(tmp_path: Path, name: str) -> None:
    file = {"urls": ["https://example.org/f"], "sha256": "0" * 64}
    registry = tmp_path / "registry.yaml"
    write_yaml({"a": {"title": "t", "licence": "l", "citation": "c", "files": {name: file}}}, registry)
    with pytest.raises(ConfigError, match=r"(?s): a: files\..*: string should match pattern"):
        find_file(registry, "a", name)


@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "."])
def test_an_address_that_never_ends_is_no_file(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    endless = RemoteFile(urls=(f"file://{tmp_path / place}",), sha256="0" * 64)
    with pytest.raises(RetrieveError, match="is no file"):
        retrieve(endless, tmp_path / "out" / "f", pause=0)
    assert not (tmp_path / "out" / "f").exists()


def test_the_git_blob_is_what_git_says(server: Server, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(CONTENT)
    wanted = RemoteFile(urls=(server.url("good"),), git_blob=git_blob(tmp_path / "copy"))
    retrieve(wanted, tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    wrong = wanted.model_copy(update={"urls": (server.url("wrong"),)})
    with pytest.raises(RetrieveError, match=rf"what it sent has git blob \w+, expected {wanted.git_blob}; "):
        retrieve(wrong, tmp_path / "other.npz", pause=0)


def test_the_output_must_keep_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in the file's own name, val_rna\.npz, got .*other\.npz"):
        step.retrieve(REGISTRY, "embryoid", "val_rna.npz", tmp_path / "other.npz")


# -- the real file -------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Path:
    path = ROOT.parent / "shared" / "data" / "embryoid" / "val_rna.npz"
    if not path.exists():
        pytest.skip(f"the real file is not there: {path}")
    return path


@pytest.mark.parametrize(("checked_by", "other"), [("sha256", "git_blob"), ("git_blob", "sha256")])
def test_the_real_file_passes_the_registered_check(real: Path, tmp_path: Path, checked_by: str, other: str) -> None:
    registered = find_file(REGISTRY, "embryoid", "val_rna.npz")
    content = real.read_bytes()
    spoilt = content[:800_000] + bytes([content[800_000] ^ 1]) + content[800_001:]
    with serving(content) as server:
        wanted = registered.model_copy(update={"urls": (server.url("cut"),), other: None})
        retrieve(wanted, tmp_path / "val_rna.npz", pause=0)
        assert len(server.ranges("cut")) == 2
    assert (tmp_path / "val_rna.npz").read_bytes() == content
    assert git_blob(tmp_path / "val_rna.npz") == registered.git_blob
    with serving(spoilt) as server:
        wanted = registered.model_copy(update={"urls": (server.url("good"),), other: None})
        with pytest.raises(RetrieveError, match=f"expected {getattr(registered, checked_by)}"):
            retrieve(wanted, tmp_path / "a" / "val_rna.npz", pause=0)


def test_the_real_file_is_found_in_a_local_folder(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_DATA", str(real.parent))
    step.retrieve(REGISTRY, "embryoid", "val_rna.npz", tmp_path / "val_rna.npz")
    with np.load(tmp_path / "val_rna.npz") as file:
        assert file["X"].shape == (1000, 100)
