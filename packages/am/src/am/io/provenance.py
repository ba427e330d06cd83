"""Where a number or a figure comes from: code, settings, data, versions, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, Required, TypedDict, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from am.io.files import write_text

_DISTRIBUTION = "action-matching"


class ProvenanceError(RuntimeError):
    """Provenance that cannot be told, or a record of it that cannot be used; its text is one sentence for the user."""


class _Written(TypedDict, total=False):
    files: dict[str, str]
    """Sha256 of each file that was written, by name; they lie beside the record. Others' records may lack it."""
    commit_unknown: str
    """Why, where the commit is unknown."""


class Provenance(_Written):
    """What made the numbers of one run."""

    commit: str
    """Git commit of the library, with ``+changes`` if its code or settings differ from it, or ``unknown``."""
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
    experiment: str
    """Only of an experiment's file: which of those that stand there; that of the file's name in older records."""
    scale: str
    """Only of an experiment's file: the scale whose values override its own."""
    benchmarks: list[str]
    """Only of an experiment's file: the benchmarks that took part, which may have been named for that run alone."""
    keys: Required[list[str]]
    """Those that count."""
    sha256: Required[str]


class _Told(TypedDict, total=False):
    code: list[str]
    """Step, and the plug-ins that it loads by name: what the digest of the code is taken over."""
    settings: list[Asked]
    commit_unknown: str
    """Why, where the commit is unknown."""


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
    record = Provenance(
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
    if why := _commit_here().unknown:
        record["commit_unknown"] = why
    return record


def write_provenance(record: Provenance, path: Path) -> None:
    """Write the record of a run as JSON."""
    _write_json(record, path)


MOST_BYTES = 1 << 24
"""That a record may have: the largest one of a run is a few kilobytes."""
_DEEPEST = 64


class Record(BaseModel):
    """What is checked of any record: types of what it must hold. More may stand in it."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


R = TypeVar("R", bound=Record)


def _names(files: dict[str, str]) -> dict[str, str]:
    for name in files:
        if Path(name).name != name:
            raise ValueError(f"{name!r} is no name of a file beside it")
    return files


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("it has no time zone")
    return text


_Seconds = Annotated[float, Field(ge=0, lt=1e15)]
_Count = Annotated[int, Field(ge=0, lt=1 << 63)]
_Moment = Annotated[str, AfterValidator(_moment)]


class _Run(Record):
    """Of a :class:`Provenance`."""

    commit: str
    code_digest: str
    config_sha256: str
    data: dict[str, str]
    files: Annotated[dict[str, str], AfterValidator(_names)] = {}
    versions: dict[str, str]
    device: str
    seed: int
    train_seconds: _Seconds | None
    sample_seconds: _Seconds | None
    nfe: _Count | None
    peak_memory_bytes: _Count | None
    started: _Moment
    finished: _Moment


class _AskedRecord(Record):
    file: str
    experiment: str | None = None
    scale: str | None = None
    benchmarks: list[str] | None = None
    keys: list[str]
    sha256: str


class _Made(Record):
    """Of an :class:`Origin`."""

    inputs: dict[str, str]
    commit: str
    code_digest: str
    code: list[str] = []
    settings: list[_AskedRecord] = []


class _Sidecar(_Made):
    sha256: str


class Sidecar(Origin):
    """What stands beside a file: its origin, and what the file was."""

    file: str
    sha256: str


def read_json(path: Path) -> Any:
    """Plain data from a JSON file that anybody may have written.

    Raises
    ------
    ProvenanceError
        The file is missing, is no plain file (a device or a pipe would never end), is larger than
        :data:`MOST_BYTES`, is not JSON, is nested too deeply, or holds text that cannot be printed.
    """
    try:
        with open_plain(path) as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ProvenanceError(f"{path}: no such record of provenance") from None
    except OSError as error:
        raise _no_record(path, str(error.strerror).lower()) from None
    if len(content) > MOST_BYTES:
        raise _no_record(path, f"it has more than {MOST_BYTES:,} bytes")
    return parse_json(content, str(path))


def parse_json(content: str | bytes, where: object) -> Any:
    """The same from text; errors as in :func:`read_json`."""
    try:
        data = json.loads(content if isinstance(content, str) else content.decode("utf-8"), parse_constant=_no_constant)
        _check_depth(data)
        json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair can be read, and never printed
    except RecursionError:
        raise _no_record(where, "it is nested too deeply") from None
    except ValueError as error:  # those of text, of JSON and of numbers with too many digits
        raise _no_record(where, error) from None
    return data


def open_plain(path: Path) -> Any:
    """Open a plain file for reading bytes; waits for nothing.

    Raises
    ------
    OSError
        It cannot be opened, or is a folder, a device, a pipe or a socket.
    """

    def opener(name: str, flags: int) -> int:
        # Opening a pipe would wait for one who writes into it.
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "it is no plain file")
        return descriptor

    return open(path, "rb", opener=opener)  # Path.open takes no opener


def check(model: type[R], content: Any, where: object) -> R:
    """Plain data as a record.

    Raises
    ------
    ProvenanceError
        They are not a mapping, lack a field, or hold something else in one; names the field.
    """
    if not isinstance(content, dict):
        raise _no_record(where, "not a mapping")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise _no_record(where, f"'{key}' is missing") from None
        why = first["msg"].removeprefix("Value error, ")
        raise _no_record(where, f"'{key}' is wrong: {why[0].lower() + why[1:]}") from None
    except RecursionError:
        raise _no_record(where, "it is nested too deeply") from None


def read_provenance(path: Path) -> Provenance:
    """Read what :func:`write_provenance` wrote, or a program in any language.

    Raises
    ------
    ProvenanceError
        The file cannot be read as :func:`read_json` does, lacks a field, or holds something else in one.
    """
    content = read_json(path)
    check(_Run, content, path)
    return cast(Provenance, content)


def read_origin(file: Path) -> Sidecar:
    """Read what :func:`write_origin` wrote beside ``file``.

    Raises
    ------
    ProvenanceError
        As in :func:`read_provenance`; of the sidecar.
    """
    content = read_json(sidecar(file))
    check(_Sidecar, content, sidecar(file))
    return cast(Sidecar, content)


def check_origin(content: Any, where: object) -> Origin:
    """Plain data as what a figure carries inside; errors as in :func:`check`."""
    check(_Made, content, where)
    return cast(Origin, content)


def _no_record(where: object, why: object) -> ProvenanceError:
    return ProvenanceError(f"{where}: not a record of provenance ({' '.join(str(why).split())[:300]})")


def _check_depth(data: Any) -> None:
    """No deeper than any program can write again."""
    level = [data]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecursionError


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def origin(
    inputs: Iterable[Path], code_digest: str, code: Sequence[str] = (), settings: Iterable[Asked] = ()
) -> Origin:
    """The origin of a file that is made now from the content of ``inputs``."""
    record = Origin(
        inputs=_digests(inputs), commit=commit(), code_digest=code_digest, code=list(code), settings=list(settings)
    )
    if why := _commit_here().unknown:
        record["commit_unknown"] = why
    return record


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
        The file is missing, cannot be read, or is a device or a pipe.
    """
    try:
        if is_store(path):
            files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
            return hashlib.sha256("".join(f"{file_sha256(path / f)}  {f}\n" for f in files).encode()).hexdigest()
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProvenanceError(f"{path}: cannot be read ({str(error.strerror).lower()})") from None


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store; any other folder, which a record may name, is not read through."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


class Commit(NamedTuple):
    """What git says of some files."""

    name: str
    """Of the commit, with ``+changes`` where what counts differs from it; or ``unknown``."""
    unknown: str = ""
    """Why it is unknown."""


_LIBRARY = Path(__file__).parents[1]
_COUNTS = (
    *("Snakefile", "Makefile", "pyproject.toml", "requirements.in", "requirements.lock", "environment.yml"),
    *("config", "workflow", "packages", "data/registry.yaml", "data/derive_myoblast.py"),
)
"""What of the project makes ``+changes``: code, workflow, settings and environment. Results, data, documentation and
notebooks change no number."""


def commit() -> str:
    """Git commit that the running library comes from, ``+changes`` if what counts differs from it, or ``unknown``.

    It is that of the repository which tracks the library's own files, wherever one stands. A library that was
    installed as a copy, or unpacked below another repository, has none.
    """
    return _commit_here().name


def commit_of(file: Path, counts: Sequence[Path]) -> Commit:
    """What git says of ``file``, and whether anything of ``counts`` differs from the commit.

    Parameters
    ----------
    file
        Must be tracked; the repository that tracks it is the one that is asked.
    counts
        Files and folders of that repository; they need not exist.
    """
    folder = file.parent
    try:
        _git(folder, "ls-files", "--error-unmatch", "--", file.name)
        told = _git(folder, "status", "--porcelain=v2", "--branch", "--", *(os.path.relpath(c, folder) for c in counts))
    except FileNotFoundError:
        return Commit("unknown", "git is not installed")
    except subprocess.TimeoutExpired:
        return Commit("unknown", "git did not answer in time")
    except subprocess.CalledProcessError as error:
        said = str(error.stderr)
        reasons = {
            "dubious ownership": f"git: dubious ownership of {folder}; see git's setting safe.directory",
            "not a git repository": f"{folder} is in no git repository",
            "did not match any file": f"{file} is not tracked by git",
            "outside repository": f"{file} is not tracked by git",
        }
        lines = said.strip().splitlines() or ["git failed"]
        return Commit("unknown", next((reason for words, reason in reasons.items() if words in said), lines[0]))
    except OSError as error:
        return Commit("unknown", f"git cannot run ({str(error.strerror).lower()})")
    lines = told.splitlines()
    head = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "(initial)")
    if head == "(initial)":
        return Commit("unknown", f"the repository of {folder} has no commit yet")
    return Commit(head + "+changes" * any(not line.startswith("#") for line in lines))


def changes() -> list[str]:
    """Files that make ``+changes``: those of what counts that differ from the commit of the running library.

    Raises
    ------
    ProvenanceError
        The commit is unknown; says why.
    """
    if why := _commit_here().unknown:
        raise ProvenanceError(f"the commit of this library is unknown: {why}")
    told = _git(_LIBRARY, "status", "--porcelain", "-z", "--no-renames", "--", *map(str, _counts()))
    return [line[3:] for line in told.split("\0") if line]


def committed(folder: Path) -> dict[Path, bool] | None:
    """Files below ``folder`` that git tracks, and whether each is as it was committed; None where it tracks none."""
    try:
        tracked = _git(folder, "ls-files", "-z").split("\0")
        changed = set(_git(folder, "diff", "--name-only", "--relative", "-z", "HEAD", "--", ".").split("\0"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {folder / name: name not in changed for name in tracked if name} or None


@cache
def _commit_here() -> Commit:
    """Asked once in a process: the code that runs is that of its start."""
    return commit_of(_LIBRARY / "__init__.py", _counts())


def _counts() -> list[Path]:
    project = _LIBRARY.parents[3] if _LIBRARY.parts[-4:] == ("packages", "am", "src", "am") else None
    return [_LIBRARY] if project is None else [project / name for name in _COUNTS]


def _git(folder: Path, *arguments: str) -> str:
    # Variables that a hook of another repository sets must not answer for this one.
    own = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        # Jobs that run side by side must not fight for the index; reasons are told apart by their English words.
        env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
        timeout=30,
    ).stdout


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of what it directly depends on."""
    found = {"python": platform.python_version()}
    for requirement in [_DISTRIBUTION, *(importlib.metadata.requires(_DISTRIBUTION) or [])]:
        match = re.match(r"[\w.-]+", requirement)
        if match:
            with suppress(importlib.metadata.PackageNotFoundError):  # of an extra that is not installed
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
