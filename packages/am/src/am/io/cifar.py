"""CIFAR-10: the archive for Python, read without running what its pickles might say, or a folder of binary batches."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from am.io.snapshots import DataError

FOLDER = "cifar-10-batches-py"
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = ("test_batch",)
SHAPE = (3, 32, 32)
MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
"""Of the published binary batches, those for training first."""

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
}
"""All that a pickled array of numbers needs."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only arrays are allowed")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_cifar10(archive: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
    """Images (N, 3, 32, 32) and classes (N,) of ``cifar-10-python.tar.gz``, and how many of them are for training.

    Training images come first.

    Raises
    ------
    DataError
        The archive is cut off, lacks a batch, or holds something else.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            batches = [_batch(tar, name, archive) for name in (*TRAIN, *TEST)]
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive}: not a whole archive of CIFAR-10 ({error}); delete it to fetch it again") from None
    pixels, label = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return pixels, label, sum(len(part) for part, _ in batches[: len(TRAIN)])


def read_batches(folder: Path, partial: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
    """The same of a folder of binary batches: ``data_batch_1.bin`` to ``5``, and ``test_batch.bin`` where it is there.

    A record is the class in one byte, and the image in 3,072. With ``partial``, batches for training may be missing.

    Raises
    ------
    DataError
        A batch is missing, or not the published one by its MD5; with ``partial``, there is none for training.
    """
    records: dict[str, NDArray[np.uint8]] = {}
    for name, expected in MD5.items():
        path = folder / name
        if (partial or name.startswith("test")) and not path.is_file():
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from None
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != expected:
            raise DataError(f"{path}: not the published batch: its md5 is {found}, expected {expected}")
        records[name] = np.frombuffer(content, np.uint8).reshape(-1, 1 + int(np.prod(SHAPE)))
    learned = sum(len(images) for name, images in records.items() if name.startswith("data"))
    if not learned:
        raise DataError(f"{folder}: there is none of {', '.join(name for name in MD5 if name.startswith('data'))}")
    whole = np.concatenate(list(records.values()))
    return whole[:, 1:].reshape(-1, *SHAPE), whole[:, 0].astype(np.int64), learned


def _batch(tar: tarfile.TarFile, name: str, archive: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    where = f"{archive}: {FOLDER}/{name}"
    member = next((member for member in tar.getmembers() if member.name == f"{FOLDER}/{name}"), None)
    file = tar.extractfile(member) if member and member.isreg() else None  # a link may lead to itself
    if file is None:
        raise DataError(f"{where}: there is no such batch in the archive")
    try:
        content = _ArraysOnly(file, encoding="bytes").load()
    except (EOFError, OSError, zlib.error):
        raise
    except Exception as error:  # whoever writes a pickle chooses what it raises
        raise DataError(
            f"{where}: not a batch of images ({' '.join(str(error).split()) or type(error).__name__})"
        ) from None
    if not isinstance(content, dict) or not {b"data", b"labels"} <= content.keys():
        raise DataError(f"{where}: holds no data and labels")
    pixels, label = np.asarray(content[b"data"]), np.asarray(content[b"labels"])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != np.prod(SHAPE):
        raise DataError(f"{where}: data of shape {pixels.shape} and type {pixels.dtype}, expected (n, 3072) of uint8")
    if label.shape != (len(pixels),) or label.dtype.kind not in "iu":
        raise DataError(f"{where}: {len(pixels)} images need as many whole numbers for labels, got {label.shape}")
    return pixels.reshape(-1, *SHAPE), label.astype(np.int64)
