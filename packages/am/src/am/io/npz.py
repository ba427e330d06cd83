"""Arrays in ``.npz`` files of any origin: their headers are looked at before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from am.io.snapshots import DataError

_LARGE, _DENSE = 1 << 28, 200
"""A file whose arrays have more bytes than this, and more than so many times its own size, holds no samples: noise
hardly shrinks, and deflate makes a thousandth of zeros."""


class Header(NamedTuple):
    """What an array is, before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Arrays(NamedTuple):
    """What a file says of itself."""

    names: list[str]
    """Of all arrays."""
    headers: Mapping[str, Header]
    """Of those that were asked for and are there."""


def read_headers(path: Path, asked: Iterable[str]) -> Arrays:
    """What the arrays ``asked`` for are; needs no memory, whatever the file holds.

    Raises
    ------
    DataError
        The file is missing, is no whole npz file, would unpack to far more than it is, or one of these arrays holds
        Python objects, or another number of bytes than its header says.
    """
    headers: dict[str, Header] = {}
    total = packed = 0
    with _opened(path), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename.removesuffix(".npy") for entry in entries]
        for name in asked:
            if (count := names.count(name)) > 1:
                raise DataError(f"{path}: there are {count} arrays '{name}'")
            if not count:
                continue
            entry = entries[names.index(name)]
            with archive.open(entry) as file:
                read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(file)
                start = file.tell()
            if dtype.hasobject:
                raise DataError(f"{path}: the array '{name}' holds Python objects, not numbers")
            if (needed := math.prod(shape) * dtype.itemsize) != entry.file_size - start:
                raise DataError(
                    f"{path}: not a whole npz file (the array '{name}' of shape {shape} has {needed:,} bytes, "
                    f"and {entry.file_size - start:,} are there)"
                )
            headers[name] = Header(shape, dtype)
            total, packed = total + entry.file_size, packed + entry.compress_size
    if total > max(_LARGE, _DENSE * packed):
        raise DataError(f"{path}: its {packed:,} bytes would unpack to {total:,}, which no samples do")
    return Arrays(names, headers)


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The arrays themselves; errors as in :func:`read_headers`, which comes first."""
    with _opened(path), np.load(path, allow_pickle=False) as file:
        return {name: np.asarray(file[name]) for name in names}


@contextmanager
def _opened(path: Path) -> Iterator[None]:
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a whole npz file (it is no plain file)")
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of samples") from None
    except Exception as error:  # numpy, zipfile and zlib raise many kinds
        raise DataError(f"{path}: not a whole npz file ({' '.join(str(error).split())})") from None
