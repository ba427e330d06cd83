"""Archives that hold many results in one file: the same content makes the same bytes, and no name leads outside."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from am.config import nearest
from am.io.files import atomic

_TIME = (1980, 1, 1, 0, 0, 0)
"""The first that a zip file can tell: when a file was written is not what it is."""
_NAME = re.compile(r"(?:(?!-)[\w.+-]+/)*(?!-)[\w.+-]+", re.ASCII)


class ArchiveError(RuntimeError):
    """An archive that cannot be made or used; its text is one sentence for the user."""


def write_archive(files: Mapping[str, Path | str], out: Path) -> None:
    """Write a zip file, whole or not at all.

    Parameters
    ----------
    files
        A file, or a text, for each path inside; they stand in this order.

    Raises
    ------
    ArchiveError
        A name cannot stand in an archive that is to be unpacked anywhere, or a file cannot be read.
    """
    for name in files:
        if not _NAME.fullmatch(name) or {"..", "."} & set(name.split("/")):
            raise ArchiveError(f"{name}: a file of an archive is named in letters, digits and . _ + -; rename it")
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # whose modes these are
            runs = isinstance(content, Path) and os.access(content, os.X_OK)
            entry.external_attr = (stat.S_IFREG | (0o755 if runs else 0o644)) << 16
            if isinstance(content, str):
                archive.writestr(entry, content)
                continue
            try:
                file = content.open("rb")
            except OSError as error:
                raise ArchiveError(f"{content}: cannot be read: {str(error.strerror).lower()}") from None
            with file, archive.open(entry, "w", force_zip64=True) as inside:
                shutil.copyfileobj(file, inside, 1 << 20)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file to read from.

    Raises
    ------
    ArchiveError
        It is missing, not a zip file, or something in it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise ArchiveError(f"{path}: there is no such archive") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise ArchiveError(f"{path}: not a whole zip file ({error})") from None


def extract(archive: zipfile.ZipFile, files: Mapping[str, Path]) -> None:
    """Write some files of an archive, each to a path that the caller chose; none when anything is wrong with one.

    Names inside decide nothing about where anything is written, and only files are taken: no links, no folders.

    Raises
    ------
    ArchiveError
        One of them is not there, is no plain file, or is damaged.
    """
    names = archive.namelist()
    with ExitStack() as stack:
        for name, path in files.items():
            if names.count(name) != 1:
                what = "there are two of it" if name in names else nearest(name, names)
                raise ArchiveError(f"{archive.filename}: cannot give {name}: {what}")
            entry = archive.getinfo(name)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir() or kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
                raise ArchiveError(f"{archive.filename}: {name} is no plain file")
            temporary = stack.enter_context(atomic(path))
            with archive.open(entry) as inside, temporary.open("wb") as file:
                shutil.copyfileobj(inside, file, 1 << 20)
