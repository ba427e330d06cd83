"""Files are whole or absent, whatever happens to the writer."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from am.io.files import WriteError, atomic


def test_content_takes_the_place_of_the_old_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a.txt"
    for content in ("first", "second"):
        with atomic(path) as temporary:
            temporary.write_text(content)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with atomic(tmp_path / "ours") as temporary:
        temporary.write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError("mine"), OSError("mine"), KeyboardInterrupt("mine"), SystemExit("mine")])
def test_a_failure_leaves_the_old_file_alone_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error), match="mine"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "out") as temporary:
        temporary.write_text((tmp_path / "absent input").read_text())


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("x" * 200_000),
    "numpy": lambda path: np.save(path, np.zeros(100_000)),  # raises an OSError without errno
    "csv": lambda path: pd.DataFrame({"a": np.arange(50_000)}).to_csv(path),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_clear_sentence(tmp_path: Path, writer: Callable[[Path], object]) -> None:
    path = tmp_path / "a.npy"
    path.write_text("old")

    def write() -> None:
        with atomic(path) as temporary:
            temporary.symlink_to("/dev/full")
            writer(temporary)

    with pytest.raises(WriteError) as caught:
        write()
    assert str(caught.value) == f"disk full while writing {path}"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_midway_is_one_clear_sentence(tmp_path: Path) -> None:
    # The kernel stops the file at 64 KiB, as a full disk would, after some of it was written.
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from am.io.files import WriteError, atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
try:
    with atomic(Path(sys.argv[1])) as temporary:
        np.save(temporary, np.zeros(100_000))
except WriteError as error:
    sys.exit(str(error))
"""
    path = tmp_path / "a.npy"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"file size limit reached while writing {path}"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"while writing .*file/a\.txt"), atomic(tmp_path / "file" / "a.txt"):
        pytest.fail("there is nowhere to write")


HALF = """
import sys, time
from pathlib import Path
from am.io.files import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a [1].txt"  # with characters that mean something to glob
    writers = [
        subprocess.Popen([sys.executable, "-c", HALF, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    killed, live = writers
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "half\n"
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert len(list(tmp_path.iterdir())) == 2

        with atomic(path) as temporary:
            temporary.write_text("whole")

        assert path.read_text() == "whole"
        (other,) = set(tmp_path.iterdir()) - {path}
        assert str(live.pid) in other.name
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
