"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota used up",
    errno.EFBIG: "file size limit reached",
    errno.EROFS: "read-only file system",
}


class WriteError(RuntimeError):
    """A file that could not be written; its text is one sentence for the user."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place once its content is complete and on disk.

    After any failure, an interrupt included, ``path`` is what it was before and the temporary file is
    gone. What a killed process had to leave behind is removed by the next one that writes ``path``.
    Folders on the way are made. Two processes may write ``path`` at the same time: the last one wins.

    Raises
    ------
    WriteError
        The disk or the quota is full, or the place cannot be written to.
    """
    path = Path(path)
    mine = f"{socket.gethostname()}-{os.getpid()}"
    temporary = _temporary(path, mine)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        yield temporary
        with temporary.open("rb") as file:
            # A full disk may only show here, and a power cut must not leave an empty file.
            os.fsync(file.fileno())
        temporary.replace(path)
    except Exception as error:
        if reason := _reason(error, temporary, path):
            raise WriteError(f"{reason} while writing {path}") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(text: str, path: Path) -> None:
    """Write text in UTF-8, whole or not at all; see :func:`atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def remove_folder(folder: Path) -> None:
    """Remove a folder so that it never exists in part, whenever this is killed."""
    rest = folder.with_name(f"{folder.name}.removed")
    shutil.rmtree(rest, ignore_errors=True)
    folder.rename(rest)
    shutil.rmtree(rest)


def _temporary(path: Path, writer: str) -> Path:
    # The suffix stays last: numpy and matplotlib choose their format by it.
    return path.with_name(f".{path.stem}.{writer}.partial{path.suffix}")


def _remove_abandoned(path: Path) -> None:
    """Delete what processes of this machine that no longer exist left of ``path``."""
    host = socket.gethostname()
    for name in glob.glob(str(_temporary(path.with_name(glob.escape(path.name)), f"{host}-*"))):
        pid = name.removesuffix(f".partial{path.suffix}").rpartition("-")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            Path(name).unlink(missing_ok=True)
        except (PermissionError, ValueError):
            continue


def _reason(error: Exception, temporary: Path, path: Path) -> str | None:
    """Why the file system refused; None if ``error`` is about something else."""
    if isinstance(error, WriteError):
        return None
    if isinstance(error, OSError):
        if error.errno in _REASONS:
            return _REASONS[error.errno]
        if error.filename in (str(temporary), *map(str, path.parents)):
            return str(error.strerror).lower()
    if not temporary.exists():
        return None
    # Many writers hide the cause in an error of their own: one more block asks the disk itself.
    try:
        with temporary.open("ab") as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as refusal:
        return _REASONS.get(refusal.errno or 0)
    return None
