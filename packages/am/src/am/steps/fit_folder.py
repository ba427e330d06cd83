"""The folder of ``am fit``: nothing there is touched that this command did not write."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from am.config import ConfigError, digest, read_yaml
from am.io.files import WriteError, remove_folder, write_text
from am.io.provenance import Provenance, ProvenanceError, file_sha256, read_json, read_provenance, sidecar

STATE = ".am-fit-state"
"""Holds what training needs to go on, a lock, and while results are written the names of all files concerned."""
SETTINGS, RECORD = "settings.yaml", "provenance.json"


@dataclass(frozen=True)
class FitFolder:
    """Where one fit is written."""

    out: Path
    about: Mapping[str, Any]
    """What is asked for now, as settings.yaml keeps it."""
    data: str
    """Sha256 of the file of cells."""
    targets: frozenset[Path]
    """All files that will be written."""
    overwrite: bool

    @property
    def state(self) -> Path:
        """Folder for what training needs to go on."""
        return self.out / STATE

    def check(self) -> None:
        """Raise WriteError where results would replace what this command did not write, or another fit."""
        if os.path.lexists(self.out) and not self.out.is_dir():
            raise WriteError(f"{self.out}: it is no folder and cannot be written to")
        half = self._half_written()
        earlier = {} if half else _written(self.out)
        if earlier and not self.overwrite and (other := self._other()):
            raise WriteError(f"{self.out}: it holds a fit {other}; give another --out, or --overwrite to replace it")
        for path in sorted(self.targets | earlier.keys()):
            if not os.path.lexists(path) or path in half:
                continue
            if path not in earlier:
                raise WriteError(f"{path}: it is there, and am fit did not write it; give another --out, or move it")
            if earlier[path] is not None and file_sha256(path) != earlier[path]:
                raise WriteError(f"{path}: it has changed since am fit wrote it; give another --out, or move it")

    @contextmanager
    def claimed(self) -> Iterator[Path]:
        """Keep other fits out of the folder; yields where the state of training belongs.

        Raises
        ------
        WriteError
            The folder cannot be made, or another fit is at work there; and as :meth:`check`.
        """
        lock = self.state / "lock"
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            file = lock.open("w")
        except OSError as error:
            raise WriteError(f"{self.out}: it cannot be written to ({str(error.strerror).lower()})") from None
        with file:
            if not _locked(file, lock):
                raise WriteError(f"{self.out}: another am fit is at work there; wait for it, or give another --out")
            try:
                self.check()
                yield self.state
            finally:
                with suppress(OSError):
                    lock.unlink()
                for folder in (self.state, self.out):  # unless something is in them
                    with suppress(OSError):
                        folder.rmdir()

    def clear(self) -> None:
        """Remove what an earlier fit left and this one does not replace; from here on :meth:`finish` must follow.

        Whoever is killed in between can start again: the names of all files are noted first.
        """
        half = self._half_written()
        earlier = half or set(_written(self.out))
        write_text(
            json.dumps(sorted(str(path.relative_to(self.out)) for path in self.targets | earlier)), self._journal
        )
        for path in earlier - self.targets:
            path.unlink(missing_ok=True)
            if path.parent != self.out:
                with suppress(OSError):
                    path.parent.rmdir()

    def finish(self, trained: Iterable[Path]) -> None:
        """Remove the state of training that results were made from."""
        for folder in trained:
            if folder.is_dir():
                remove_folder(folder)
        self._journal.unlink(missing_ok=True)

    @property
    def _journal(self) -> Path:
        return self.state / "writing.json"

    def _half_written(self) -> set[Path]:
        """Files of a fit that was killed while it wrote them; none where the list is not one that this class wrote."""
        try:
            names = read_json(self._journal)
        except ProvenanceError:
            return set()
        if not isinstance(names, list) or not all(isinstance(name, str) and _is_below(name) for name in names):
            return set()
        return {self.out / name for name in names}

    def _other(self) -> str | None:
        """In words, how the fit that is there differs from this one."""
        told = {key: value for key, value in read_yaml(self.out / SETTINGS).items() if key != "units"}
        if told != self.about:
            then, now = _flat(told), _flat(self.about)
            names = [name for name in {**now, **then} if then.get(name) != now.get(name)]
            shown = ", ".join(f"{name} {then.get(name, 'not set')}" for name in names[:3])
            return f"with other settings ({shown}{', ...' if len(names) > 3 else ''})"
        data = read_provenance(self.out / RECORD)["data"]
        if self.data not in data.values():
            return f"to other cells ({', '.join(f'{name} with sha256 {sha256[:12]}' for name, sha256 in data.items())})"
        return None


def _is_below(name: str) -> bool:
    """Whether a file lies in the folder, or in one of a group there."""
    parts = Path(name).parts
    return 1 <= len(parts) <= 2 and not Path(name).is_absolute() and ".." not in parts


def _locked(file: IO[str], path: Path) -> bool:
    """Whether the lock is ours now, and still has its name: the one before may just have removed it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


def _written(out: Path) -> dict[Path, str | None]:
    """Sha256 of all that a whole fit wrote into a folder, by path, None where no record has it; nothing without one."""
    record = _record(out)
    if record is None:
        return {}
    files: dict[Path, str | None] = {out / name: sha256 for name, sha256 in record.get("files", {}).items()}
    files |= {sidecar(path): None for path in files if path.suffix in (".pdf", ".png")}
    files |= {out / SETTINGS: None, out / RECORD: None}
    groups = read_yaml(out / SETTINGS).get("groups")
    for name in groups.values() if isinstance(groups, Mapping) else ():
        if isinstance(name, str) and name and Path(name).name == name:
            files |= _written(out / name)
    return files


def _record(out: Path) -> Provenance | None:
    """The record of a fit, whose settings are still those that it was made with."""
    try:
        record = read_provenance(out / RECORD)
        told = {key: value for key, value in read_yaml(out / SETTINGS).items() if key != "units"}
    except (ProvenanceError, ConfigError):
        return None
    return record if digest(told) == record["config_sha256"] else None


def _flat(data: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found
