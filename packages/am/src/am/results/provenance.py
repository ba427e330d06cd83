"""Where a number or a figure comes from: code, settings, data, versions, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Required, TypedDict, cast

from am.results.files import write_text

_DISTRIBUTION = "action-matching"


class ProvenanceError(RuntimeError):
    """Provenance that cannot be told, or a record of it that cannot be used; its text is one sentence for the user."""


class _Written(TypedDict, total=False):
    files: dict[str, str]
    """Sha256 of each file that was written, by name; they lie beside the record. Others' records may lack it."""


class Provenance(_Written):
    """What made the numbers of one run."""

    commit: str
    """Git commit, with ``+changes`` if the working tree differs from it, or ``unknown``."""
    code_digest: str
    config_sha256: str
    """Of the settings that the result depends on, those alone."""
    data: dict[str, str]
    """Sha256 of each file that was read, by path."""
    versions: dict[str, str]
    device: str
    seed: int
    train_seconds: float | None
    """None where nothing was trained."""
    sample_seconds: float | None
    nfe: int | None
    """Evaluations of the learned field for one set of samples, each over all particles."""
    peak_memory_bytes: int | None
    started: str
    """ISO 8601 with time zone, as is ``finished``."""
    finished: str


class Asked(TypedDict, total=False):
    """Settings that a result depends on, and what they were."""

    file: Required[str]
    """Where they stand: a ``config.yaml`` of the results, or a file of ``config/experiments``."""
    scale: str
    """Only of an experiment's file: the scale whose values override its own."""
    keys: Required[list[str]]
    """Those that count."""
    sha256: Required[str]


class _Told(TypedDict, total=False):
    code: list[str]
    """Step, and the plug-ins that it loads by name: what the digest of the code is taken over."""
    settings: list[Asked]


class Origin(_Told):
    """What made a file: a table, a figure, or a table between two steps."""

    inputs: dict[str, str]
    """Sha256 of each file that it was made from, by path."""
    commit: str
    code_digest: str


def collect(
    *,
    code_digest: str,
    config_sha256: str,
    data: Iterable[Path],
    files: Iterable[Path],
    device: str,
    seed: int,
    started: datetime,
    train_seconds: float | None = None,
    sample_seconds: float | None = None,
    nfe: int | None = None,
    peak_memory_bytes: int | None = None,
) -> Provenance:
    """The record of a run that finishes now.

    Parameters
    ----------
    config_sha256
        Digest of the settings that count.
    data, files
        What the run read, and what it wrote.
    started
        With time zone.
    """
    return Provenance(
        commit=commit(),
        code_digest=code_digest,
        config_sha256=config_sha256,
        data=_digests(data),
        files={path.name: file_sha256(path) for path in files},
        versions=versions(),
        device=device,
        seed=seed,
        train_seconds=train_seconds,
        sample_seconds=sample_seconds,
        nfe=nfe,
        peak_memory_bytes=peak_memory_bytes,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write_provenance(record: Provenance, path: Path) -> None:
    """Write the record of a run as JSON."""
    _write_json(record, path)


def read_provenance(path: Path) -> Provenance:
    """Read what :func:`write_provenance` wrote.

    Raises
    ------
    ProvenanceError
        The file is missing, is not JSON, or lacks a field.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProvenanceError(f"{path}: no such record of provenance") from None
    except (OSError, ValueError) as error:  # text and JSON errors are ValueErrors
        raise ProvenanceError(f"{path}: not a record of provenance ({error})") from None
    if not isinstance(record, dict):
        raise ProvenanceError(f"{path}: not a record of provenance (not a mapping)")
    if missing := sorted(Provenance.__required_keys__ - record.keys()):
        raise ProvenanceError(f"{path}: not a record of provenance ('{missing[0]}' is missing)")
    return cast(Provenance, record)


def origin(
    inputs: Iterable[Path], code_digest: str, code: Sequence[str] = (), settings: Iterable[Asked] = ()
) -> Origin:
    """The origin of a file that is made now from the content of ``inputs``."""
    return Origin(
        inputs=_digests(inputs), commit=commit(), code_digest=code_digest, code=list(code), settings=list(settings)
    )


def named(path: Path) -> str:
    """How records name a file: from the current folder where it lies below that, so that a project can be moved."""
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def sidecar(path: Path) -> Path:
    """Where the origin of the file ``path`` is kept: ``<name>.provenance.json`` beside it."""
    return path.with_name(f"{path.name}.provenance.json")


def write_origin(path: Path, made_of: Origin) -> None:
    """Write the sidecar of the finished file ``path``; it holds the digest of that file too."""
    _write_json({"file": path.name, "sha256": file_sha256(path), **made_of}, sidecar(path))


def file_sha256(path: Path) -> str:
    """Sha256 of a file's content; of a Zarr store, of what ``sha256sum`` prints of its files.

    Raises
    ------
    ProvenanceError
        The file is missing or cannot be read.
    """
    try:
        if is_store(path):
            files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
            return hashlib.sha256("".join(f"{file_sha256(path / f)}  {f}\n" for f in files).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProvenanceError(f"{path}: cannot be read ({str(error.strerror).lower()})") from None


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store; any other folder, which a record may name, is not read through."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def commit(folder: Path | None = None) -> str:
    """Git commit of ``folder`` (the current one by default), ``+changes`` if its tree differs, or ``unknown``."""
    try:
        status = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch"],
            cwd=folder,
            # Jobs that run side by side must not fight for the index.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    head = next((line.split()[-1] for line in status if line.startswith("# branch.oid")), "(initial)")
    if head == "(initial)":
        return "unknown"
    return head + "+changes" * any(not line.startswith("#") for line in status)


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of what it directly depends on."""
    found = {"python": platform.python_version()}
    for requirement in [_DISTRIBUTION, *(importlib.metadata.requires(_DISTRIBUTION) or [])]:
        match = re.match(r"[\w.-]+", requirement)
        if match and "extra ==" not in requirement:
            found[match[0]] = importlib.metadata.version(match[0])
    return found


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    # Not getrusage on Linux: it also counts what the process that started this one had used.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    return {named(path): file_sha256(path) for path in sorted(paths)}


def _write_json(data: Mapping[str, Any], path: Path) -> None:
    write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", path)
