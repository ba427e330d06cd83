"""Files from outside, against a real server that misbehaves as servers do."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from am.config import ConfigError
from am.data.registry import RemoteFile, find_file
from am.data.retrieve import ATTEMPTS, RetrieveError, retrieve
from am.steps import retrieve as step

ROOT = Path(__file__).parents[4]
CONTENT = np.random.default_rng(0).bytes(8 * 65_536)  # half of it is a whole number of the pieces that are read


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path; the first part of the path says how."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.stalled = threading.Event()
        self.release = threading.Event()

    def url(self, how: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{how}/file.npz"

    def ranges(self, how: str) -> list[str | None]:
        return [asked for name, asked in self.requests if name == how]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        how = self.path.split("/")[1]
        asked = self.headers.get("Range")
        count = len(self.server.ranges(how))
        self.server.requests.append((how, asked))
        content = CONTENT[::-1] if how == "wrong" or (how == "wrong-once" and not count) else CONTENT
        if how == "missing":
            return self.send_error(404)
        if how == "broken-once" and not count:
            return self.send_error(500)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and how != "no-ranges" else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if how in ("cut", "no-ranges") and not count:
            body = body[: len(body) // 2]
        if how == "stall" and not count:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.stalled.set()
            self.server.release.wait(60)
            return None
        self.wfile.write(body)
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


def entry(*urls: str) -> RemoteFile:
    return RemoteFile(urls=urls, bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_good_file_arrives_whole(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("good")), tmp_path / "a" / "file.npz")
    assert (tmp_path / "a" / "file.npz").read_bytes() == CONTENT
    assert left(tmp_path / "a") == {"file.npz"}
    retrieve(entry(server.url("good")), tmp_path / "a" / "file.npz")
    assert len(server.requests) == 1, "a file that is there and right is not fetched again"


def test_a_download_that_was_cut_off_is_resumed(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("cut")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges("cut") == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("no-ranges")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert len(server.ranges("no-ranges")) == 2


def test_what_a_killed_process_fetched_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from am.data.registry import RemoteFile; "
        "from am.data.retrieve import retrieve; "
        "retrieve(RemoteFile.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    wanted = entry(server.url("stall"))
    arguments = [sys.executable, "-c", code, wanted.model_dump_json(), str(tmp_path / "file.npz")]
    with subprocess.Popen(arguments) as process:
        assert server.stalled.wait(30)
        part = tmp_path / "file.npz.part"
        while not part.exists() or part.stat().st_size < len(CONTENT) // 2:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert left(tmp_path) == {"file.npz.part"}
    retrieve(wanted, tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges("stall") == [None, f"bytes={len(CONTENT) // 2}-"]


def test_mirrors_are_asked_in_turn(server: Server, tmp_path: Path) -> None:
    retrieve(entry(server.url("missing"), server.url("good")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert len(server.ranges("missing")) == 1, "a 404 is final"


@pytest.mark.parametrize("how", ["broken-once", "wrong-once"])
def test_a_passing_fault_is_tried_again(server: Server, tmp_path: Path, how: str) -> None:
    retrieve(entry(server.url(how)), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.ranges(how) == [None, None]


def test_a_wrong_content_is_refused_and_thrown_away(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RetrieveError, match=r"/wrong/file\.npz: what it sent has sha256 \w+, expected \w+; .*AM_DATA"):
        retrieve(entry(server.url("wrong")), tmp_path / "file.npz", pause=0)
    assert left(tmp_path) == set()
    assert len(server.requests) == ATTEMPTS


def test_a_part_of_something_else_does_not_spoil_the_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.npz.part").write_bytes(b"x" * (len(CONTENT) + 5))
    retrieve(entry(server.url("good")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == CONTENT


def test_a_refused_file_leaves_the_old_one_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.npz").write_bytes(b"old")
    with pytest.raises(RetrieveError):
        retrieve(entry(server.url("missing")), tmp_path / "file.npz", pause=0)
    assert (tmp_path / "file.npz").read_bytes() == b"old"


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RetrieveError, match=r"127\.0\.0\.1:9/file\.npz: cannot be reached; put the file into a folder"):
        retrieve(entry("http://127.0.0.1:9/file.npz"), tmp_path / "file.npz", pause=0)


def test_local_folders_come_first_and_are_checked(server: Server, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, content in ((good, CONTENT), (bad, CONTENT[::-1])):
        folder.mkdir()
        (folder / "file.npz").write_bytes(content)
    retrieve(entry(server.url("good")), tmp_path / "file.npz", [bad, good])
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert not server.requests
    with pytest.raises(RetrieveError, match=r"bad/file\.npz has sha256"):
        retrieve(entry(server.url("missing")), tmp_path / "other" / "file.npz", [bad], pause=0)


def test_processes_that_want_the_same_file_do_not_disturb_each_other(server: Server, tmp_path: Path) -> None:
    wanted, faults = entry(server.url("good")), []

    def fetch() -> None:
        try:
            retrieve(wanted, tmp_path / "file.npz")
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_the_registry_is_valid_and_names_the_nearest() -> None:
    registry = ROOT / "data" / "registry.yaml"
    assert find_file(registry, "embryoid", "val_rna.npz").bytes == 1616964
    with pytest.raises(ConfigError, match="did you mean 'embryoid'"):
        find_file(registry, "embrioid", "val_rna.npz")
    with pytest.raises(ConfigError, match=r"did you mean 'val_rna\.npz'"):
        find_file(registry, "embryoid", "val_rn.npz")


def test_an_entry_that_cannot_be_checked_is_refused(tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    registry.write_text("a: {title: t, licence: l, citation: c, files: {f: {urls: ['https://example.org/f']}}}")
    with pytest.raises(ConfigError, match="sha256 or a git_blob"):
        find_file(registry, "a", "f")


def test_the_real_file_has_the_registered_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT.parent / "shared" / "data" / "embryoid"
    if not (folder / "val_rna.npz").exists():
        pytest.skip(f"the real file is not there: {folder / 'val_rna.npz'}")
    monkeypatch.setenv("AM_DATA", str(folder))
    out = tmp_path / "val_rna.npz"
    step.retrieve(ROOT / "data" / "registry.yaml", "embryoid", "val_rna.npz", out)
    with np.load(out) as file:
        assert file["X"].shape == (1000, 100)
    blob = subprocess.run(["git", "hash-object", str(out)], capture_output=True, text=True, check=True).stdout.strip()
    assert blob == find_file(ROOT / "data" / "registry.yaml", "embryoid", "val_rna.npz").git_blob


def test_the_output_must_keep_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"val_rna\.npz"):
        step.retrieve(ROOT / "data" / "registry.yaml", "embryoid", "val_rna.npz", tmp_path / "other.npz")
