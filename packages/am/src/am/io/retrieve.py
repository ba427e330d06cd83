"""Fetch a file from outside: local folders first, then its addresses in turn, resuming what was cut off."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from urllib3.exceptions import HTTPError, IncompleteRead, ProtocolError, ReadTimeoutError

from am.io.files import atomic
from am.io.registry import RemoteFile

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Tries of each address."""
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""
SLOWEST, WINDOW = 1000, 60.0
"""Bytes a second that must come, on the mean over so many seconds."""
REPORT_EVERY = 1 << 25
"""Bytes between two reports of progress."""
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
        No address gave the file, or it cannot be written; says what each answered, and what to do.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if path.exists() and entry.fault(path) is None:
                return
            if part.exists() and entry.fault(part) is None:  # a process was killed at the last moment
                part.replace(path)
                return
            _fetch(entry, path, part, local_folders, pause)
    except OSError as error:
        raise RetrieveError(f"{path} cannot be written: {_reason(error)}") from error


def _fetch(entry: RemoteFile, path: Path, part: Path, local_folders: Sequence[Path], pause: float) -> None:
    faults = []
    on_disk = [Path(url2pathname(urlsplit(url).path)) for url in entry.urls if url.startswith("file:")]
    for local in [*(folder / path.name for folder in local_folders), *on_disk]:
        fault = _copy(entry, local, path)
        if fault is None:
            log.info("%s: copied from %s", path.name, local.parent)
            return
        faults.append(f"{local}: {fault}")
    for url in entry.urls:
        if url.startswith("file:"):
            continue
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


def _copy(entry: RemoteFile, local: Path, path: Path) -> str | None:
    """Copy a local file if it is the right one; else say what is wrong with it."""
    try:
        fault = entry.fault(local)
        if fault is None:
            with atomic(path) as temporary:
                shutil.copyfile(local, temporary)
    except OSError as error:
        return _reason(error)
    return fault


def _attempt(entry: RemoteFile, url: str, part: Path) -> tuple[str, bool]:
    """Ask once: what went wrong (nothing, if empty), and whether asking again would be in vain."""
    try:
        coding = _download(entry, url, part)
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
        return f"{url}: it leads to an address that cannot be fetched ({_words(error)})", True
    except requests.TooManyRedirects:
        return f"{url}: it leads from one address to the next without an end", True
    except requests.RequestException as error:
        status = 0 if error.response is None else error.response.status_code
        # A server may be slow (408) or ask for patience (429); what else it refuses, it will refuse again.
        return f"{url}: {_reason(error)}", 400 <= status < 500 and status not in (408, 429)
    except (HTTPError, ValueError) as error:  # which requests lets pass for some addresses
        return f"{url}: it leads to an address that cannot be fetched ({_words(error)})", True
    fault = entry.fault(part)
    if fault is not None and coding in ("gzip", "x-gzip") and _unpacked(entry, part):
        fault = None  # the server packed the file on its way, although it was asked not to
    if fault is None:
        return "", True
    part.unlink()
    return f"{url}: what it sent {fault}", False


def _download(entry: RemoteFile, url: str, part: Path) -> str:
    """Append to ``part`` what is missing, byte for byte as it comes; returns what the server calls its coding.

    A coding is not undone: servers often call that of the file itself so, and the registered file is the coded one.
    """
    have = part.stat().st_size if part.exists() else 0
    # Without this a server may compress, and the ranges would be those of the compressed file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return ""  # nothing is missing, or what is there is wrong: the check tells
        if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
            raise requests.HTTPError(f"answered {answer.status_code} {answer.reason}", response=answer)
        resumes = answer.status_code == requests.codes.partial_content
        with part.open("ab" if resumes else "wb") as file:
            for piece in _pieces(answer):
                file.write(piece)
                file.flush()  # what has come survives a kill
                size = file.tell()
                if size // REPORT_EVERY > (size - len(piece)) // REPORT_EVERY:
                    log.info("%s: %.1f MB have arrived", part.stem, size / 1e6)
                if entry.bytes is not None and size > entry.bytes:
                    break  # it need not fill the disk to be wrong
            os.fsync(file.fileno())
        return answer.headers.get("Content-Encoding", "").strip().lower()


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    """The bytes of an answer as they come, at a least pace."""
    since, size = time.monotonic(), 0
    try:
        while piece := answer.raw.read1(_PIECE, decode_content=False):
            yield piece
            size += len(piece)
            passed = time.monotonic() - since
            if passed > WINDOW:
                if size < SLOWEST * passed:
                    raise requests.Timeout(f"less than {SLOWEST} bytes a second came in {WINDOW:g} s")
                since, size = time.monotonic(), 0
    except ReadTimeoutError as error:
        raise requests.ConnectionError(error) from error
    except (ProtocolError, IncompleteRead) as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error


def _unpacked(entry: RemoteFile, part: Path) -> bool:
    """Put what the bytes of ``part`` stand for in their place, if that is the registered file."""
    plain = part.with_name(f"{part.name}.plain")
    unpack = zlib.decompressobj(wbits=31)
    try:
        with part.open("rb") as packed, plain.open("wb") as file:
            while piece := packed.read(_PIECE):
                while piece:
                    file.write(unpack.decompress(piece, _PIECE))
                    piece = unpack.unconsumed_tail
                if entry.bytes is not None and file.tell() > entry.bytes:
                    return False
        if entry.fault(plain) is not None:
            return False
        plain.replace(part)
        return True
    except zlib.error:
        return False
    finally:
        plain.unlink(missing_ok=True)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())


def _reason(error: OSError) -> str:
    """What went wrong, in a few words; the errors of requests are OSErrors too."""
    match error:
        case requests.exceptions.ProxyError():
            return "the proxy cannot be reached"
        case requests.exceptions.SSLError():
            return "no secure connection can be made"
        case requests.Timeout() if f"{SLOWEST} bytes" in str(error):
            return str(error)
        case requests.Timeout():
            return "no answer in time"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke"
        case requests.ConnectionError() if "Max retries" in str(error):
            return "cannot be reached"
        case requests.ConnectionError() if "Read timed out" in str(error):
            return "no more came in time"
    return (error.strerror or "").lower() or _words(error) or type(error).__name__


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time work on ``path``; the kernel lets go however a process ends."""
    with path.with_name(f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: waiting for another process that fetches it", path.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
