"""What a file of cells is, by its first bytes; and how an ``.h5ad`` is made of what is neither HDF5 nor Zarr."""

from __future__ import annotations

import shlex
import stat
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

from am.io.snapshots import DataError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZARR = {".zgroup", ".zattrs", ".zmetadata", "zarr.json"}
_PACKED = {
    b"\x1f\x8b": ("gzip", "gzip -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
    b"\xfd7zXZ": ("xz", "xz -dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
}
_R = (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"X\n\x00\x00\x00", b"A\n2\n", b"A\n3\n")
_FILTERS = {
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32026: "blosc2",
}
"""Of the HDF Group's register, those that hdf5plugin brings."""


def container(path: Path) -> Literal["hdf5", "zarr"]:
    """Whether cells lie in an HDF5 file or a Zarr store: a folder, or a zip file of one.

    Raises
    ------
    DataError
        They lie in neither: says what the file is, and how an ``.h5ad`` is made of it.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _folder(path)
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: no regular file; copy what it holds into one")
        with path.open("rb") as file:
            start = file.read(4096)
            for place in (0, 512, 1024, 2048, 4096):  # HDF5 leaves room for a header of others
                file.seek(place)
                if file.read(8) == _HDF5:
                    return "hdf5"
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of data") from None
    except PermissionError:
        raise DataError(f"{path}: there is no permission to read it; its owner can give it with chmod a+r") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({str(error.strerror).lower()})") from None
    if start.startswith(b"PK") and zarr_root(path) is not None:
        return "zarr"
    raise DataError(f"{path}: {_what(path, start)}")


def zarr_root(path: Path) -> str | None:
    """Folder inside a zip file in which a Zarr store begins; None where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name) for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return None
    roots = [name.parent.as_posix() for name in names if name.name in _ZARR]
    return min(roots, key=len).removeprefix(".") if roots else None


def why_unreadable(path: Path, file: Any, error: Exception) -> str:
    """What kept an HDF5 file, open as ``file`` or not at all, or a Zarr store, from being read: ends a sentence."""
    words = " ".join(str(error).split())
    if isinstance(error, BlockingIOError) or "unable to lock file" in words:
        return (
            "another program has it open for writing; close it there, or set HDF5_USE_FILE_LOCKING=FALSE where the "
            "file system has no locks"
        )
    if "clear file consistency flags" in words or "already open for write" in words:
        return (
            "a program that writes it has not closed it; close it there, or, if that program was killed, run h5clear "
            f"-s {shlex.quote(str(path))}"
        )
    if isinstance(error, PermissionError):
        return "there is no permission to read it; its owner can give it with chmod a+r"
    if missing := _missing_filter(file):
        return (
            f"it is compressed by the HDF5 filter {missing}, which is not installed; pip install hdf5plugin, or write "
            'the file anew with compression="gzip"'
        )
    if type(error).__name__ == "IORegistryError" or "IORegistryError" in words:
        return f"it was written by a newer anndata; pip install --upgrade anndata ({words})"
    kind = "Zarr store" if path.is_dir() or zipfile.is_zipfile(path) else "h5ad file"
    return f"not a whole {kind} ({words or type(error).__name__}); copy or download it again"


def _folder(path: Path) -> Literal["zarr"]:
    names = {entry.name for entry in path.iterdir()}
    if names & _ZARR:
        return "zarr"
    if any(name.endswith(("matrix.mtx", "matrix.mtx.gz")) for name in names):
        raise DataError(
            f"{path}: a folder of a 10x matrix, which has no times and no embedding; "
            f"adata = scanpy.read_10x_mtx({str(path)!r}) reads it, obs and obsm take them"
        )
    raise DataError(f"{path}: a folder, and no Zarr store; name a file in it")


def _what(path: Path, start: bytes) -> str:
    """What a file is that holds no cells as we read them, and what to do."""
    source, out = shlex.quote(str(path)), shlex.quote(f"{path.with_suffix('').with_suffix('')}.h5ad")
    if not start:
        return "an empty file; copy or download it again"
    if start.startswith(_R):
        return _of_r(path)
    for magic, (name, command) in _PACKED.items():
        if start.startswith(magic):
            inside = _unpacked(start) if name == "gzip" else b""
            if inside.startswith(_R):
                return _of_r(path)
            if inside and not inside.startswith(_HDF5):
                return f"a file compressed by {name} that is no h5ad inside; unpack it with: {command} {source}"
            return f"compressed by {name}; unpack it with: {command} {source} > {out}"
    if start.startswith(b"PK"):
        return f"a zip file without a Zarr store; unpack it with: unzip {source}"
    if start[257:262] == b"ustar":
        return f"a tar archive; unpack it with: tar -xf {source}"
    if start.startswith(b"version https://git-lfs"):
        return f"a pointer of Git LFS and not the file itself; fetch it with: git lfs pull --include {source}"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page, perhaps of a download that failed; download the file again"
    if start.startswith(b"%%MatrixMarket"):
        return (
            f"a matrix of counts in text, which has no times and no embedding; adata = scanpy.read_mtx({str(path)!r}).T"
            " reads it, obs and obsm take them"
        )
    if _is_text(start):
        separator = ", sep='\\t'" if start.count(b"\t") > start.count(b",") else ""
        return (
            f"a text table; make an h5ad of it: table = pandas.read_csv({str(path)!r}, index_col=0{separator}); "
            "anndata.AnnData(obs=table[['time']], obsm={'X_pca': table.filter(like='PC').to_numpy()})"
            f".write_h5ad({str(path.with_suffix('.h5ad'))!r}), with your names of columns"
        )
    return "not a whole h5ad file (it does not begin as HDF5 does); copy or download it again"


def other_hdf5(path: Path, file: Any) -> str | None:
    """What an HDF5 file without ``obs`` is, and what to do; None for a file with ``obs``."""
    if file.attrs.get("encoding-type") == "MuData":
        return (
            f"a MuData file of several tables; take one of them: mudata.read({str(path)!r})['{_first(file, 'mod')}']"
            f".write_h5ad({str(path.with_suffix('.h5ad'))!r})"
        )
    keys = set(file)
    if "obs" in keys:
        return None
    out = str(path.with_name(f"{path.stem}_new.h5ad") if path.suffix == ".h5ad" else path.with_suffix(".h5ad"))
    if {"row_attrs", "col_attrs"} <= keys:
        return f"a loom file; make an h5ad of it: anndata.io.read_loom({str(path)!r}).write_h5ad({out!r})"
    if any("barcodes" in file[key] for key in keys if hasattr(file[key], "keys")):
        return (
            f"a 10x matrix, which has no times and no embedding; adata = scanpy.read_10x_h5({str(path)!r}) reads it, "
            f"obs and obsm take them, adata.write_h5ad({out!r}) writes it"
        )
    if "cell.names" in keys:
        return f"an h5Seurat file; in R, SeuratDisk::Convert({str(path)!r}, dest = 'h5ad') makes an h5ad of it"
    if hasattr(file.get("tables"), "keys"):
        names = ", ".join(f"{path}/tables/{name}" for name in file["tables"])
        return f"a store of several tables; name one of them: {names}"
    return f"it has no obs, and so no cells; it has: {', '.join(sorted(map(str, keys))) or 'nothing'}"


def _first(file: Any, name: str) -> str:
    return next(iter(file[name]), "rna") if name in file else "rna"


def _of_r(path: Path) -> str:
    out = str(path.with_suffix(".h5ad"))
    return (
        f"a file of R; in R, zellkonverter::writeH5AD(Seurat::as.SingleCellExperiment(readRDS({str(path)!r})), "
        f"{out!r}) makes an h5ad of a Seurat object"
    )


def _unpacked(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(start, 512)
    except zlib.error:
        return b""


def _is_text(start: bytes) -> bool:
    if b"\0" in start:
        return False
    try:
        text = start[:-4].decode() if len(start) > 4 else start.decode()
    except UnicodeDecodeError as error:
        text = start[: error.start].decode() if error.start > len(start) - 8 else ""
    printable = sum(letter.isprintable() or letter in "\r\n\t" for letter in text)
    return bool(text) and printable > 0.95 * len(text) and any(mark in text for mark in ",;\t\n")


def _missing_filter(file: Any) -> str | None:
    """Name and number of a filter that data of an open HDF5 file need and that is not to be had."""
    import h5py

    if not isinstance(file, h5py.Group) or not file:
        return None

    def need(_: str, item: Any) -> str | None:
        if isinstance(item, h5py.Dataset):
            plan = item.id.get_create_plist()
            for i in range(plan.get_nfilters()):
                number = plan.get_filter(i)[0]
                if not h5py.h5z.filter_avail(number):
                    return f"{_FILTERS.get(number, 'of an unknown name')} ({number})"
        return None

    try:
        found: str | None = file.visititems(need)
    except Exception:  # what is damaged need not let itself be walked through
        return None
    return found
