"""``data.h5ad``: points of the path that train, start and judge every method of an experiment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from am.io.files import atomic

if TYPE_CHECKING:
    from anndata import AnnData

Array = NDArray[np.float32]


class DataError(ValueError):
    """Data that cannot be used; its text is one sentence for the user."""


@dataclass(frozen=True)
class Snapshots:
    """Points with their times.

    ``X`` of the file holds ``x``; ``obs`` the columns ``time``, ``split`` (train, test) and ``seed``: each
    seed has its own test points, of which those at time 0 start its particles. Training points have
    seed -1.
    """

    x: Array
    """(n, d)"""
    time: NDArray[np.float64]
    """(n,) in [0, 1]"""
    split: NDArray[np.str_]
    """(n,) "train" or "test" """
    seed: NDArray[np.int64]
    """(n,)"""

    @classmethod
    def at(cls, time: float, x: Array, split: str, seed: int) -> Snapshots:
        """Points of one time, split and seed: (n, d)."""
        n = len(x)
        return cls(x, np.full(n, time), np.full(n, split), np.full(n, seed))

    @classmethod
    def together(cls, parts: Iterable[Snapshots]) -> Snapshots:
        """One after another."""
        columns = zip(*((p.x, p.time, p.split, p.seed) for p in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    def test(self, seed: int, time: float) -> Array:
        """Test points of a seed at a time: (m, d).

        Raises
        ------
        DataError
            There are none: names the seeds, or times, that there are.
        """
        test = self.split == "test"
        mine = test & (self.seed == seed)
        if not mine.any():
            raise DataError(
                f"the data hold no test points of seed {seed}; seeds: {np.unique(self.seed[test]).tolist()}"
            )
        chosen = mine & np.isclose(self.time, time, rtol=0, atol=1e-9)
        if not chosen.any():
            times = np.unique(self.time[mine]).tolist()
            raise DataError(f"the data hold no test points of seed {seed} at time {time}; times: {times}")
        return self.x[chosen]


def annotated(data: Snapshots, columns: tuple[str, ...]) -> AnnData:
    """The points as a table; ``columns`` names the coordinates."""
    import pandas as pd
    from anndata import AnnData

    obs = pd.DataFrame(
        {"time": data.time, "split": pd.Categorical(data.split), "seed": data.seed},
        index=pd.RangeIndex(len(data.x)).astype(str),
    )
    return AnnData(data.x, obs=obs, var=pd.DataFrame(index=list(columns)))


def write_snapshots(data: Snapshots, columns: tuple[str, ...], path: Path) -> None:
    """Write ``data.h5ad``; ``columns`` names the coordinates."""
    table = annotated(data, columns)
    with atomic(path) as temporary:
        table.write_h5ad(temporary, compression="gzip")


def read_snapshots(path: Path) -> Snapshots:
    """Read what :func:`write_snapshots` wrote.

    Raises
    ------
    DataError
        The file is missing or corrupt, lacks a column, or holds a number that is not finite.
    """
    data = _as_written(path) or _as_table(path)
    if unknown := {*np.unique(data.split).tolist()} - {"train", "test"}:
        raise DataError(f"{path}: the column 'split' of obs holds {min(unknown)!r}; choose from: test, train")
    if data.x.ndim != 2:
        raise DataError(f"{path}: it has no table X of points")
    bad = ~(np.isfinite(data.x).all(1) & np.isfinite(data.time))
    if bad.any():
        raise DataError(f"{path}: {bad.sum()} of {len(bad)} points are not finite, the first is row {bad.argmax()}")
    return data


def _as_written(path: Path) -> Snapshots | None:
    """The points of a file as :func:`write_snapshots` lays it out, else None: importing anndata takes half a second."""
    import h5py

    from am.io.formats import container  # which raises what is defined here

    if container(path) != "hdf5":
        return None
    try:
        with h5py.File(path) as file:
            obs = file["obs"]
            x, time, seed = file["X"][()], obs["time"][()], obs["seed"][()]
            codes, names = obs["split/codes"][()], obs["split/categories"].asstr()[()].astype(str)
    except (OSError, KeyError, TypeError, AttributeError):
        return None
    kinds = [array.dtype.str for array in (x, time, seed)]
    if kinds != ["<f4", "<f8", "<i8"] or len({len(x), *time.shape, *seed.shape, *codes.shape}) > 1 or (codes < 0).any():
        return None
    return Snapshots(x, time, names[codes], seed)


def _as_table(path: Path) -> Snapshots:
    """The points of any table that anndata reads."""
    from anndata import read_h5ad

    from am.io.cell_files import reading  # which raises what is defined here

    with reading(path):
        table = read_h5ad(path)
        x = np.asarray(table.X, dtype=np.float32)
    for column in ("time", "split", "seed"):
        if column not in table.obs:
            raise DataError(f"{path}: obs has no column '{column}'; it has: {', '.join(table.obs.columns)}")
    try:
        time = table.obs["time"].to_numpy(dtype=np.float64)
    except (ValueError, TypeError):
        raise DataError(f"{path}: the column 'time' of obs holds something that is not a number") from None
    seed = table.obs["seed"].to_numpy()
    if seed.dtype.kind not in "iu":
        raise DataError(f"{path}: the column 'seed' of obs holds something that is not a whole number")
    return Snapshots(x, time, table.obs["split"].to_numpy(dtype=str), seed.astype(np.int64))
