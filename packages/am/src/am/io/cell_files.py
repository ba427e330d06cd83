"""Files of cells as anndata wrote them: HDF5 or Zarr, of any age; only what is asked for is read."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from am.extras import brought_by
from am.io.formats import container, other_hdf5, why_unreadable, zarr_root
from am.io.snapshots import DataError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    Source: TypeAlias = Path | AnnData
    """A file of cells, or cells in memory."""


@dataclass(frozen=True)
class CellFile:
    """An open file; before anndata 0.7, ``obs`` and ``obsm`` were tables of records."""

    path: Path
    group: Any
    """``h5py.File`` or ``zarr.Group``"""

    @property
    def is_old(self) -> bool:
        """Whether it has the layout before anndata 0.7."""
        return any(name in self.group and _is_records(self.group[name]) for name in ("obs", "obsm", "var"))

    def columns(self) -> list[str]:
        """Names of the columns of ``obs``, each once."""
        obs = self.group["obs"]
        if self._old_obs:
            return list(obs.dtype.names[1:])
        return [name for name in dict.fromkeys(map(str, obs.attrs["column-order"])) if name in obs]

    def cell_names(self) -> pd.Index:
        """(n,) index of ``obs``."""
        import pandas as pd

        obs = self.group["obs"]
        if self._old_obs:
            return pd.Index(_decoded(obs[...][obs.dtype.names[0]]))
        key = obs.attrs.get("_index", "_index")
        if key not in obs:
            raise DataError(f"{self.path}: obs has no index, which names the cells")
        return pd.Index(self._read(obs[key]))

    def column(self, name: str) -> pd.Series:
        """(n,) a column of ``obs``."""
        import pandas as pd

        obs = self.group["obs"]
        if self._old_obs:
            return pd.Series(self._old_column(_decoded(obs[...][name]), name))
        if obs.attrs.get("encoding-version") == "0.2.0":
            values = self._read(obs[name])
            if np.ndim(values) != 1:
                raise DataError(
                    f"{self.path}: the column '{name}' of obs has the shape {np.shape(values)}; one entry a cell is "
                    "needed"
                )
            return pd.Series(values)
        return self._read(obs)[name].reset_index(drop=True)  # categories lie elsewhere

    def embeddings(self) -> list[str]:
        """Keys of ``obsm``."""
        obsm = self.group.get("obsm", {})
        return list(obsm.dtype.names if _is_records(obsm) else obsm.keys())

    def embedding(self, key: str) -> Any:
        """(n, d) an entry of ``obsm``, as it was stored."""
        obsm = self.group["obsm"]
        if _is_records(obsm):
            return obsm[...][key]
        item = obsm[key]
        if hasattr(item, "nchunks_initialized") and item.nchunks_initialized < item.nchunks:
            raise DataError(
                f"{self.path}: {item.nchunks - item.nchunks_initialized} of {item.nchunks} chunks of obsm/{key} are "
                "missing; copy the store again"
            )
        return self._read(item)

    def check(self) -> None:
        """Raise DataError where it holds no table of cells."""
        group = self.group
        if not hasattr(group, "keys"):
            raise DataError(f"{self.path}: an array and no table of cells")
        if other := other_hdf5(self.path, group):
            raise DataError(f"{self.path}: {other}")
        if not self._old_obs and (not hasattr(group["obs"], "keys") or "column-order" not in group["obs"].attrs):
            raise DataError(f"{self.path}: obs is no table of cells")
        for name, fields in (("obsm", "arrays"), ("uns", "entries")):
            if name in group and not hasattr(group[name], "keys") and not (name == "obsm" and _is_records(group[name])):
                raise DataError(
                    f"{self.path}: {name} is one array and no group of {fields}, which anndata cannot read; take it "
                    f"out: del h5py.File({str(self.path)!r}, 'r+')[{name!r}]"
                )

    @property
    def _old_obs(self) -> bool:
        return _is_records(self.group["obs"])

    def _old_column(self, values: Any, name: str) -> Any:
        """Numbers of categories become what they stand for."""
        import pandas as pd

        place = f"uns/{name}_categories"
        if values.dtype.kind not in "iu" or place not in self.group:
            return values
        categories = _decoded(np.atleast_1d(self.group[place][()]))
        return values if values.max(initial=-1) >= len(categories) else pd.Categorical.from_codes(values, categories)

    @staticmethod
    def _read(item: Any) -> Any:
        from anndata.io import read_elem

        return read_elem(item)


@dataclass(frozen=True)
class CellTable:
    """An AnnData in memory, read like an open file."""

    table: AnnData

    @property
    def path(self) -> str:
        """What errors call it."""
        return called(self.table)

    def columns(self) -> list[str]:
        """Names of the columns of ``obs``, each once."""
        return list(dict.fromkeys(map(str, self.table.obs.columns)))

    def cell_names(self) -> pd.Index:
        """(n,) index of ``obs``."""
        return self.table.obs_names

    def column(self, name: str) -> pd.Series:
        """(n,) a column of ``obs``."""
        column = self.table.obs[name]
        if column.ndim != 1:
            raise DataError(f"{self.path}: obs has {column.shape[1]} columns '{name}'; rename all but one")
        return column.reset_index(drop=True)

    def embeddings(self) -> list[str]:
        """Keys of ``obsm``."""
        return list(self.table.obsm.keys())

    def embedding(self, key: str) -> Any:
        """(n, d) an entry of ``obsm``."""
        return self.table.obsm[key]


def called(source: Source) -> str:
    """What errors call a source of cells."""
    return str(source) if isinstance(source, Path) else "adata"


@contextmanager
def reading(path: Source) -> Iterator[CellFile | CellTable]:
    """Open a file of cells to read; whatever fails meanwhile ends in one sentence. An AnnData is its own file.

    Raises
    ------
    DataError
        The file is missing, locked, damaged or of another kind: says which, and what to do.
    """
    if not isinstance(path, Path):
        yield CellTable(path)
        return
    kind, file = container(path), None
    with suppress(ImportError):  # whose filters HDF5 then knows
        importlib.import_module("hdf5plugin")
    try:
        file = _opened(path, kind)
        cells = CellFile(path, file)
        cells.check()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"anndata|zarr")
            yield cells
    except (DataError, ModuleNotFoundError):
        raise
    except Exception as error:  # h5py, zarr and anndata raise many kinds
        raise DataError(f"{path}: {why_unreadable(path, file, error)}") from None
    finally:
        if kind == "hdf5" and file is not None:
            file.close()


def read_columns(path: Source, names: Sequence[str]) -> pd.DataFrame:
    """Columns of ``obs``, by the names of the cells, and nothing else of the file.

    Raises
    ------
    DataError
        The file cannot be read, or lacks a column: names those that it has.
    """
    import pandas as pd

    with reading(path) as file:
        index = file.cell_names()
        found = {name: column_of(file, name, len(index)).array for name in dict.fromkeys(names)}
    return pd.DataFrame(found, index=index)


def column_of(file: CellFile | CellTable, name: str, cells: int) -> pd.Series:
    """A column of ``obs`` with one entry for each cell; errors as in :func:`read_columns`."""
    has = file.columns()
    if name not in has:
        raise DataError(f"{file.path}: obs has no column '{name}'; it has: {', '.join(has) or 'none'}")
    column = file.column(name)
    if len(column) != cells:
        raise DataError(f"{file.path}: the column '{name}' of obs has {len(column)} entries for {cells} cells")
    return column


def copy_as_h5ad(source: Path, out: Path) -> None:
    """Write all that ``source`` holds as an ``.h5ad``: byte by byte where it is one, else in anndata's layout of today.

    Of a Zarr store one element is in memory at a time, of a file before anndata 0.7 the whole.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    with reading(source) as cells:
        assert isinstance(cells, CellFile)  # noqa: S101  (for type checkers)
        if not cells.is_old:
            if container(source) == "hdf5":
                shutil.copyfile(source, out)
            else:
                _copy_elements(cells.group, out)
            return
        from anndata.io import read_h5ad, read_zarr

        table = read_h5ad(source) if container(source) == "hdf5" else read_zarr(cells.group)
        table.write_h5ad(out, compression="gzip")


def _copy_elements(group: Any, out: Path) -> None:
    import anndata
    import h5py
    from anndata.io import read_elem, write_elem

    def copy(source: Any, target: Any) -> None:
        target.attrs.update({name: source.attrs[name] for name in ("encoding-type", "encoding-version")})
        for key in source.keys():  # noqa: SIM118  (iterating a group of Zarr is slower)
            item = source[key]
            if hasattr(item, "keys") and item.attrs.get("encoding-type") in ("dict", "raw"):
                copy(item, target.create_group(key))
            else:
                write_elem(target, key, read_elem(item), dataset_kwargs=packed(item))

    def packed(item: Any) -> dict[str, str]:
        return {} if getattr(item, "shape", None) == () else {"compression": "gzip"}

    with h5py.File(out, "w") as file, anndata.settings.override(allow_write_nullable_strings=True):
        copy(group, file)


def _opened(path: Path, kind: str) -> Any:
    if kind == "hdf5":
        with brought_by("cells", "a file of cells"):
            import h5py

        return h5py.File(path, "r")
    with brought_by("cells", "a Zarr store"):
        import zarr
        from zarr.storage import ZipStore

    if path.is_dir():
        return zarr.open_group(str(path), mode="r")
    return zarr.open_group(ZipStore(str(path), mode="r"), path=zarr_root(path), mode="r")


def _is_records(item: Any) -> bool:
    return bool(getattr(getattr(item, "dtype", None), "names", None))


def _decoded(values: Any) -> Any:
    """Words of old files, which are bytes."""
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    if values.dtype.kind == "O":
        return np.array([v.decode() if isinstance(v, bytes) else v for v in values], dtype=object)
    return values
