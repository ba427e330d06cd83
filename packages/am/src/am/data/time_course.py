"""A user's own ``.h5ad``: cells with a time each, in an embedding; and what was found out about them, in a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from am.data.snapshots import DataError
from am.results.files import atomic

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10
"""Cells without which a time point says too little."""
CLOSEST = 1e-12
"""Part of the whole course that must lie between two time points: below it they are one, but for rounding."""
LARGEST = 1e30
"""What is written in single precision, and its square in double, stays finite below it."""
COLUMNS = ("am_growth", "am_forward_weight", "am_backward_weight", "am_velocity_cosine")
EMBEDDINGS = ("X_am_velocity", "X_am_forward", "X_am_backward")

Floats = NDArray[np.float64]
Points = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class TimeCourse:
    """Cells of an ``.h5ad``, in its order."""

    x: Points
    """(n, d) leading components of the embedding, as they are: single precision stays single"""
    time: Floats
    """(n,) in the units of the column"""
    basis: str
    """Key of ``obsm``."""
    velocity: Points | None = None
    """(n, d) RNA velocity of those components, not finite where none is known."""
    names: Sequence[str] | None = None
    """(n,) of the cells."""

    @property
    def times(self) -> Floats:
        """(K,) increasing."""
        return np.unique(self.time)


def read_time_course(path: Path, time_key: str, basis: str, dimensions: int | None = None) -> TimeCourse:
    """Read embedding, its RNA velocity, and times alone, however large the rest of the file is.

    RNA velocity is what scVelo writes: ``obsm["velocity_pca"]`` for ``obsm["X_pca"]``.

    Parameters
    ----------
    time_key
        Column of ``obs``: numbers, or words and categories that are numbers.
    basis
        Key of ``obsm``, whose ``X_`` may be left out as in scanpy.
    dimensions
        Leading components to use; all when None.

    Raises
    ------
    DataError
        The file is missing or corrupt, or its cells do not make a time course: says why.
    """
    import pandas as pd
    from anndata.io import read_elem

    with _opened(path) as file:
        obs: pd.DataFrame = read_elem(file["obs"])
        keys = list(file["obsm"].keys()) if "obsm" in file else []
        key = basis if basis in keys else f"X_{basis}"
        embedding = read_elem(file["obsm"][key]) if key in keys else None
        arrows = f"velocity_{key.removeprefix('X_')}"
        velocity = read_elem(file["obsm"][arrows]) if arrows in keys else None
    if not isinstance(obs, pd.DataFrame):
        raise DataError(f"{path}: obs is no table of cells")
    if not len(obs):
        raise DataError(f"{path}: it holds no cells")
    if not obs.index.is_unique:
        name = obs.index[obs.index.duplicated()][0]
        raise DataError(
            f"{path}: {(obs.index == name).sum()} cells are called '{name}'; adata.obs_names_make_unique() tells them "
            "apart"
        )
    if time_key not in obs:
        raise DataError(f"{path}: obs has no column '{time_key}'; it has: {', '.join(map(str, obs.columns)) or 'none'}")
    if embedding is None:
        has = ", ".join(sorted(keys)) or "none: try scanpy.pp.pca"
        raise DataError(f"{path}: obsm has no '{basis}'; it has: {has}")
    time = _numbers(obs[time_key], f"{path}: the column '{time_key}' of obs")
    times, counts = np.unique(time, return_counts=True)
    if len(times) < 2:
        raise DataError(f"{path}: all {len(time)} cells have the time {times[0]:g}; two time points are the least")
    if counts.min() < FEWEST:
        few = counts.argmin()
        raise DataError(f"{path}: the time {times[few]:g} has {counts[few]} cells; {FEWEST} are the least")
    _check_times(times, f"{path}: the column '{time_key}' of obs")
    x = _components(embedding, len(obs), dimensions, f"{path}: {key}")
    found = None if velocity is None else _arrows(velocity, x, f"{path}: {arrows}")
    return TimeCourse(x, time, key, found, names=obs.index.astype(str).to_list())


def annotate(
    source: Path, out: Path, obs: Mapping[str, Points], obsm: Mapping[str, Points], about: Mapping[str, Any]
) -> None:
    """Write a copy of an ``.h5ad`` with what was found added, ``about`` as ``uns["am"]``, and all else as it is.

    What an earlier copy holds of :data:`COLUMNS` and :data:`EMBEDDINGS` is replaced, or dropped.

    Parameters
    ----------
    obs, obsm
        Some of :data:`COLUMNS`, (n,), and of :data:`EMBEDDINGS`, (n, d), by name.
    """
    import h5py
    from anndata.io import write_elem

    with atomic(out) as temporary:
        shutil.copyfile(source, temporary)
        with h5py.File(temporary, "r+") as file:
            table, embeddings, rest = file["obs"], file.require_group("obsm"), file.require_group("uns")
            for group, names in ((table, COLUMNS), (embeddings, EMBEDDINGS)):
                for name in [name for name in names if name in group]:
                    del group[name]
            for name, column in obs.items():
                write_elem(table, name, column)
            order = [name for name in table.attrs["column-order"] if name not in COLUMNS]
            table.attrs["column-order"] = np.array([*order, *obs], dtype=h5py.string_dtype())
            for name, points in obsm.items():
                write_elem(embeddings, name, points)
            if "am" in rest:
                del rest["am"]
            write_elem(rest, "am", dict(about))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of data") from None
    except Exception as error:  # h5py and anndata raise many kinds
        raise DataError(f"{path}: not a whole h5ad file ({' '.join(str(error).split())})") from None


def _numbers(column: pd.Series, what: str) -> Floats:
    import pandas as pd

    words = column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column
    missing = int(words.isna().sum())
    if missing:
        raise DataError(f"{what} is missing for {missing} of {len(words)} cells")
    if words.dtype.kind == "c":
        raise DataError(f"{what} must hold numbers, such as days; it holds complex ones")
    numbers = pd.to_numeric(words, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise DataError(f"{what} must hold numbers, such as days; it holds '{words.iloc[int(bad.argmax())]}'")
    return numbers


def _check_times(times: Floats, what: str) -> None:
    """Refuse times that rounding may have made of one."""
    with np.errstate(over="ignore"):
        _check_span(float(times[-1] - times[0]), what)
    gaps = np.diff(times) / (times[-1] - times[0])
    if gaps.min() < CLOSEST:
        i = int(gaps.argmin())
        raise DataError(
            f"{what}: {times[i]!s} and {times[i + 1]!s} are too close to be told apart in all {times[-1] - times[0]:g}"
        )


def _check_span(span: float, what: str) -> None:
    if not 1 / LARGEST < span < LARGEST:
        raise DataError(
            f"{what} spans {span:g}, between {1 / LARGEST:g} and {LARGEST:g} is possible: choose other units"
        )


def _arrows(velocity: Any, x: Points, what: str) -> Points:
    arrows = _dense(velocity, what)
    if arrows.ndim != 2 or len(arrows) != len(x) or arrows.shape[1] < x.shape[1]:
        raise DataError(
            f"{what} has the shape {arrows.shape}, and {len(x)} cells by at least {x.shape[1]} components are needed; "
            "ask for fewer dimensions, or take it out"
        )
    return arrows[:, : x.shape[1]]


def _dense(values: Any, what: str) -> Points:
    dense = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    try:
        if dense.dtype.kind == "c":
            raise TypeError
        return np.asarray(dense, None if dense.dtype == np.float32 else np.float64)
    except (ValueError, TypeError):
        raise DataError(f"{what} holds something that is not a number") from None


def _components(embedding: Any, cells: int, dimensions: int | None, what: str) -> Points:
    x = _dense(embedding, what)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or len(x) != cells or not x.shape[1]:
        raise DataError(f"{what} has the shape {x.shape}, {cells} cells by components are needed")
    if dimensions is not None and dimensions > x.shape[1]:
        raise DataError(f"{what} has {x.shape[1]} components, {dimensions} are asked for")
    x = x[:, :dimensions]
    for i in range(x.shape[1]):
        bad = int((~np.isfinite(x[:, i])).sum())
        if bad:
            raise DataError(f"{what}: component {i + 1} is not finite for {bad} of {len(x)} cells")
        low, high = float(x[:, i].min()), float(x[:, i].max())
        if low == high:
            raise DataError(
                f"{what}: component {i + 1} is the same for all cells{f'; use {i} dimensions' if i else ''}"
            )
        _check_span(max(-low, high, high - low), f"{what}: component {i + 1}")
    return x
