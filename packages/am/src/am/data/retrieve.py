"""Fetch a file from outside: local folders first, then its addresses in turn, resuming what was cut off."""

from __future__ import annotations

import fcntl
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from am.data.registry import RemoteFile
from am.results.files import atomic

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Tries of each address."""
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""
_PIECE = 1 << 16


class RetrieveError(RuntimeError):
    """A file that could not be had; its text is one sentence for the user."""


def retrieve(entry: RemoteFile, path: Path, local_folders: Sequence[Path] = (), pause: float = 1.0) -> None:
    """Put a file at ``path``, whole and checked, or leave ``path`` alone.

    What has arrived stays beside ``path`` as ``<name>.part`` when an attempt is cut off, and the next
    one, of this or of a later process, asks only for the rest. A file whose content is wrong is thrown
    away. Of several processes one fetches, and the others wait for it.

    Parameters
    ----------
    local_folders
        Searched for a file of the same name before anything is asked of the network.
    pause
        Seconds before a second attempt at an address; doubled for the third.

    Raises
    ------
    RetrieveError
        No address gave the file; says what each answered, and what to do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        if path.exists() and entry.fault(path) is None:
            return
        faults = []
        for folder in local_folders:
            local = folder / path.name
            if local.is_file():
                fault = entry.fault(local)
                if fault is None:
                    with atomic(path) as temporary:
                        shutil.copyfile(local, temporary)
                    log.info("%s: copied from %s", path.name, folder)
                    return
                faults.append(f"{local} {fault}")
        part = path.with_name(f"{path.name}.part")
        for url in entry.urls:
            for attempt in range(ATTEMPTS):
                if attempt:
                    time.sleep(pause * 2 ** (attempt - 1))
                failure, in_vain = _attempt(entry, url, part)
                if not failure:
                    part.replace(path)
                    log.info("%s: fetched from %s", path.name, url)
                    return
                log.warning("%s: %s", path.name, failure)
                if in_vain:
                    break
            faults.append(failure)
        raise RetrieveError(
            f"{path.name} could not be had: {'; '.join(faults)}; "
            f"put the file into a folder and name the folder in the environment variable AM_DATA"
        )


def _attempt(entry: RemoteFile, url: str, part: Path) -> tuple[str, bool]:
    """Ask once: what went wrong (nothing, if empty), and whether asking again would be in vain."""
    try:
        refusal = _download(url, part)
    except requests.RequestException as error:
        return f"{url}: {_reason(error)}", False
    if refusal is not None:
        return f"{url}: answered {refusal}", refusal.startswith("4")
    fault = entry.fault(part)
    if fault is None:
        return "", True
    part.unlink()
    return f"{url}: what it sent {fault}", False


def _download(url: str, part: Path) -> str | None:
    """Append to ``part`` what is missing; the status line of an answer that is no file, else None."""
    have = part.stat().st_size if part.exists() else 0
    # Without this a server may compress, and the ranges would be those of the compressed file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return None  # nothing is missing, or what is there is wrong: the check tells
        if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
            return f"{answer.status_code} {answer.reason}"
        resumes = answer.status_code == requests.codes.partial_content
        if resumes and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("it continued at another place than asked")
        announced = answer.headers.get("Content-Length")
        with part.open("ab" if resumes else "wb") as file:
            before = file.tell() if resumes else 0
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
                file.flush()
            arrived = file.tell() - before
    if announced is not None and arrived < int(announced):
        raise requests.ConnectionError(f"it was cut off after {arrived} of {announced} bytes")
    return None


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    text = " ".join(str(error).split())
    return "cannot be reached" if "Max retries" in text else text or type(error).__name__


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time work on ``path``; the kernel lets go however a process ends."""
    lock = path.with_name(f".{path.name}.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
