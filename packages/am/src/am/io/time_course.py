"""A user's own cells with a time each, in an embedding; and what was found out about them, in a copy."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from am.io.cell_files import called, column_of, copy_as_h5ad, reading
from am.io.files import atomic
from am.io.snapshots import DataError
from am.io.times import Times, read_times

if TYPE_CHECKING:
    from am.io.cell_files import Source

log = logging.getLogger(__name__)

FEWEST = 10
"""Cells without which a time point says too little."""
CLOSEST = 1e-12
"""Part of the whole course that must lie between two time points: below it they are one, but for rounding."""
LARGEST = 1e30
"""What is written in single precision, and its square in double, stays finite below it."""
COLUMNS = ("am_action", "am_growth", "am_forward_weight", "am_backward_weight", "am_velocity_cosine")
EMBEDDINGS = ("X_am_velocity", "X_am_forward", "X_am_backward")
ERRORS = ("am_growth_error", "X_am_velocity_error")
"""A column and an embedding that a fit has where enough folds of cells were held out."""

Floats = NDArray[np.float64]
Points = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class TimeCourse:
    """Cells of a file, in its order."""

    x: Points
    """(n, d) leading components of the embedding, as they are: single precision stays single"""
    time: Floats
    """(n,) in the units of the column, or in ``unit``"""
    basis: str
    """Key of ``obsm``."""
    velocity: Points | None = None
    """(n, d) RNA velocity of those components, not finite where none is known."""
    unit: str | None = None
    """Of the times, such as ``hours``; None where the column holds numbers alone."""
    names: Sequence[str] | None = None
    """(n,) of the cells."""

    @property
    def times(self) -> Floats:
        """(K,) increasing."""
        return np.unique(self.time)

    def some(self, rows: NDArray[np.bool_]) -> TimeCourse:
        """The cells of the (n,) ``rows`` alone."""
        velocity = None if self.velocity is None else self.velocity[rows]
        names = None if self.names is None else [name for name, kept in zip(self.names, rows, strict=True) if kept]
        return replace(self, x=self.x[rows], time=self.time[rows], velocity=velocity, names=names)


def read_cell_times(source: Source, time_key: str, rows: NDArray[np.bool_] | None = None) -> Times:
    """Times of cells in one unit and from one moment on, so that groups of these cells can be compared.

    Parameters
    ----------
    time_key
        Column of ``obs``: numbers, or words that :func:`am.io.times.read_times` understands.
    rows
        (n,) which of the cells have a time; all when None.

    Returns
    -------
    For all n cells of the file; NaN where ``rows`` is false.

    Raises
    ------
    DataError
        The file cannot be read, or one of these cells has no time that is understood.
    """
    with reading(source) as file:
        column = column_of(file, time_key, len(file.cell_names()))
    what = f"{called(source)}: the column '{time_key}' of obs"
    chosen = np.ones(len(column), bool) if rows is None else rows
    told = read_times(column[chosen].reset_index(drop=True), time_key, what)
    if told.unit is not None:
        log.info("%s is read in %s", what, told.unit)
    values = np.full(len(column), np.nan)
    values[chosen] = told.values
    return replace(told, values=values)


def read_time_course(
    source: Source,
    time_key: str,
    basis: str,
    dimensions: int | None = None,
    rows: NDArray[np.bool_] | None = None,
    told: Times | None = None,
) -> TimeCourse:
    """Read embedding, its RNA velocity, and times alone, however large the rest of the file is.

    The source is an AnnData in memory, or a file: an ``.h5ad`` of any version of anndata, or a Zarr store (a folder,
    or a zip file of one).

    RNA velocity is what scVelo writes: ``obsm["velocity_pca"]`` for ``obsm["X_pca"]``.

    Parameters
    ----------
    time_key
        Column of ``obs``: numbers, or words that :func:`am.io.times.read_times` understands.
    basis
        Key of ``obsm``, whose ``X_`` may be left out as in scanpy.
    dimensions
        Leading components to use; all when None.
    rows
        (n,) which of the cells to keep; all when None.
    told
        Times of the cells as from :func:`read_cell_times`; read for ``rows`` alone when None.

    Raises
    ------
    DataError
        The file is missing or corrupt, or its cells do not make a time course: says why.
    """
    path = called(source)
    with reading(source) as file:
        names = file.cell_names()
        if not len(names):
            raise DataError(f"{path}: it holds no cells")
        if not names.is_unique:
            name = names[names.duplicated()][0]
            raise DataError(
                f"{path}: {(names == name).sum()} cells are called '{name}'; adata.obs_names_make_unique() tells them "
                "apart"
            )
        keys = file.embeddings()
        key = basis if basis in keys else f"X_{basis}"
        embedding = file.embedding(key) if key in keys else None
        arrows = f"velocity_{key.removeprefix('X_')}"
        velocity = file.embedding(arrows) if arrows in keys else None
    if embedding is None:
        has = ", ".join(sorted(keys)) or "none: try scanpy.pp.pca"
        raise DataError(f"{path}: obsm has no '{basis}'; it has: {has}")
    what = f"{path}: the column '{time_key}' of obs"
    told = told or read_cell_times(source, time_key, rows)
    if rows is not None:
        names, told = names[rows], replace(told, values=told.values[rows])
    times, counts = np.unique(told.values, return_counts=True)
    if len(times) < 2:
        raise DataError(
            f"{path}: all {len(names)} cells have the time {_word(told, times[0])}; two time points are the least"
        )
    if counts.min() < FEWEST:
        raise DataError(f"{path}: {_too_few(told, times, counts, time_key)}")
    _check_times(times, what)
    x = _components(embedding, rows, len(names), dimensions, f"{path}: {key}")
    found = None if velocity is None else _arrows(velocity, rows, x, f"{path}: {arrows}")
    return TimeCourse(x, told.values, key, found, told.unit, [str(name) for name in names])


def annotate(
    source: Path,
    out: Path,
    obs: Mapping[str, Points],
    obsm: Mapping[str, Points],
    about: Mapping[str, Any],
    key: str = "am",
) -> None:
    """Write ``source`` as an ``.h5ad`` with what was found added, ``about`` in ``uns``, and all else as it is.

    What an earlier copy of a fit holds of :data:`COLUMNS`, :data:`EMBEDDINGS` and :data:`ERRORS` is replaced, or
    dropped.

    Parameters
    ----------
    obs, obsm
        (n,) columns and (n, d) embeddings by name: of a fit, some of these three.
    key
        Of ``about`` in ``uns``: ``am`` is that of a fit.
    """
    import h5py
    from anndata.io import write_elem

    with atomic(out) as temporary:
        copy_as_h5ad(source, temporary)
        with h5py.File(temporary, "r+") as file:
            table, embeddings, rest = file["obs"], file.require_group("obsm"), file.require_group("uns")
            for group, names, new in ((table, COLUMNS, obs), (embeddings, EMBEDDINGS, obsm)):
                for name in [name for name in {*new, *((*names, *ERRORS) if key == "am" else ())} if name in group]:
                    del group[name]
            for name, column in obs.items():
                write_elem(table, name, column)
            order = [name for name in dict.fromkeys(table.attrs["column-order"]) if name in table and name not in obs]
            table.attrs["column-order"] = np.array([*order, *obs], dtype=h5py.string_dtype())
            for name, points in obsm.items():
                write_elem(embeddings, name, points)
            if key in rest:
                del rest[key]
            write_elem(rest, key, dict(about))


def _word(told: Times, time: float) -> str:
    """A time as the column has it."""
    word = told.words[float(time)][0]
    return f"{word:g}" if isinstance(word, int | float) else f"'{word}'"


def _too_few(told: Times, times: Floats, counts: NDArray[np.int64], key: str) -> str:
    """Which time has too few cells, and what to do about it."""
    column, few = f"adata.obs[{key!r}]", int(counts.argmin())
    if len(times) > FEWEST and np.median(counts) < FEWEST:
        new = f"adata.obs['{key}_bin']"
        if any(isinstance(word, str) and "-" in word for words in told.words.values() for word in words):
            line = f"{new} = pandas.to_datetime({column}).dt.strftime('%Y-%m-%d')"
        else:
            line = f"{new} = pandas.cut({column}.astype(float), 6).map(lambda bin: bin.mid).astype(float)"
        return (
            f"{len(times)} distinct times for {counts.sum()} cells; {FEWEST} cells of a time are the least; put them "
            f"into bins: {line}"
        )
    words = told.words[float(times[few])]
    neighbour = told.words[float(times[few - 1 if few else 1])][0]
    these = f"{column} == {words[0]!r}" if len(words) == 1 else f"{column}.isin({words!r})"
    fewest = f"{counts[few]} cells" if counts[few] > 1 else "1 cell"
    others = int((counts < FEWEST).sum()) - 1
    more = f", and {others} more have too few" if others else ""
    return (
        f"the time {_word(told, times[few])} has {fewest}; {FEWEST} are the least{more}: merge it with a neighbour, "
        f"adata.obs.loc[{these}, {key!r}] = {neighbour!r}, or drop it, adata = adata[~({these})].copy()"
    )


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


def _arrows(velocity: Any, rows: NDArray[np.bool_] | None, x: Points, what: str) -> Points:
    arrows = _kept(_dense(velocity, what), rows, what)
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


def _kept(x: Points, rows: NDArray[np.bool_] | None, what: str) -> Points:
    if rows is None:
        return x
    if x.shape[:1] != rows.shape:
        raise DataError(f"{what} has the shape {x.shape}, {len(rows)} cells by components are needed")
    return x[rows]


def _components(
    embedding: Any, rows: NDArray[np.bool_] | None, cells: int, dimensions: int | None, what: str
) -> Points:
    x = _kept(_dense(embedding, what), rows, what)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or len(x) != cells or not x.shape[1]:
        raise DataError(f"{what} has the shape {x.shape}, {cells} cells by components are needed")
    if dimensions is not None and dimensions > x.shape[1]:
        raise DataError(f"{what} has {x.shape[1]} components, {dimensions} are asked for")
    x = x[:, :dimensions]
    for i in range(x.shape[1]):
        bad = int((~np.isfinite(x[:, i])).sum())
        if bad:
            raise DataError(
                f"{what}: component {i + 1} is not finite for {bad} of {len(x)} cells; leave these cells out"
            )
        low, high = float(x[:, i].min()), float(x[:, i].max())
        if low == high:
            raise DataError(
                f"{what}: component {i + 1} is the same for all cells{f'; use {i} dimensions' if i else ''}"
            )
        _check_span(max(-low, high, high - low), f"{what}: component {i + 1}")
    return x
