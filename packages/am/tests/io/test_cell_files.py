"""Files of cells of every kind: read, or one sentence that says what the file is and what to do."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

from am.io.cell_files import read_columns
from am.io.provenance import file_sha256
from am.io.snapshots import DataError, read_snapshots
from am.io.time_course import annotate, read_time_course

X = np.random.default_rng(0).normal(size=(60, 3))


def course(days: Any = (0, 2, 5)) -> AnnData:
    """Sixty cells at three days, with all that a file of cells may have."""
    obs = pd.DataFrame(
        {"day": np.repeat(days, 60 // len(days)), "batch": pd.Categorical(["a", "b"] * 30)},
        index=[f"cell{i}" for i in range(60)],
    )
    table = AnnData(sparse.random(60, 7, 0.5, "csr", np.float32, random_state=0), obs=obs)
    table.raw = table.copy()
    table.layers["counts"] = table.X.copy()
    table.obsm["X_pca"] = X
    table.obsp["near"] = sparse.identity(60, format="csr")
    table.uns["pca"] = {"variance": np.ones(3), "name": "pca", "deep": {"n": 3}}
    return table


def old(path: Path) -> Path:
    """What anndata wrote before version 0.7: tables of records, categories in ``uns``."""
    names = np.array([f"cell{i}" for i in range(60)], "S8")
    obs = np.zeros(60, [("index", "S8"), ("day", "i8"), ("stage", "i1")])
    obs["index"], obs["day"], obs["stage"] = names, np.repeat([0, 2, 5], 20), np.repeat([1, 0, 2], 20)
    obsm = np.zeros(60, [("X_pca", "f4", (3,)), ("X_umap", "f4", (2,))])
    obsm["X_pca"] = X
    with h5py.File(path, "w") as file:
        file["X"] = np.arange(240, dtype=np.float32).reshape(60, 4)
        file["obs"], file["obsm"] = obs, obsm
        file["var"] = np.array([(f"gene{i}".encode(),) for i in range(4)], [("index", "S8")])
        file["uns/stage_categories"] = np.array(["day 3", "day 1", "day 7"], "S5")
    return path


def zarr_store(path: Path) -> Path:
    course().write_zarr(path)
    return path


def zipped(path: Path, below: str = "") -> Path:
    store = zarr_store(path.with_name("inside.zarr"))
    with zipfile.ZipFile(path, "w") as archive:
        for file in store.rglob("*"):
            if file.is_file():
                archive.write(file, f"{below}{file.relative_to(store).as_posix()}")
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("cells.h5ad", lambda path: course().write_h5ad(path)),
        ("old.h5ad", old),
        ("cells.zarr", zarr_store),
        ("cells.zarr.zip", zipped),
        ("below.zarr.zip", lambda path: zipped(path, "folder/")),
    ],
)
def test_every_layout_is_read_and_copied_as_todays(tmp_path: Path, name: str, write: Callable[[Path], Any]) -> None:
    path, copy = tmp_path / name, tmp_path / "copy.h5ad"
    write(path)
    before = file_sha256(path)
    cells = read_time_course(path, "day", "pca")
    np.testing.assert_allclose(cells.x, X, rtol=1e-6)
    np.testing.assert_array_equal(cells.time, np.repeat([0, 2, 5], 20))
    annotate(path, copy, {"am_growth": np.arange(60.0)}, {"X_am_velocity": X}, {"seed": 1})
    assert file_sha256(path) == before
    table = read_h5ad(copy)
    assert table.obs["am_growth"].tolist() == list(range(60))
    assert table.uns["am"]["seed"] == 1
    np.testing.assert_array_equal(table.obsm["X_am_velocity"], X)
    np.testing.assert_allclose(table.obsm["X_pca"], X, rtol=1e-6)
    assert "encoding-type" in h5py.File(copy)["obs"].attrs
    if name == "old.h5ad":
        np.testing.assert_array_equal(table.X, np.arange(240).reshape(60, 4))
        assert table.obs["stage"].tolist() == ["day 1"] * 20 + ["day 3"] * 20 + ["day 7"] * 20
        return
    source = course()
    pd.testing.assert_frame_equal(table.obs.drop(columns="am_growth"), source.obs)
    assert (table.X != source.X).nnz == (table.raw.X != source.X).nnz == 0
    assert (table.layers["counts"] != source.X).nnz == (table.obsp["near"] != source.obsp["near"]).nnz == 0
    assert (table.uns["pca"]["name"], int(table.uns["pca"]["deep"]["n"])) == ("pca", 3)


def test_categories_of_an_old_file_are_what_they_stand_for(tmp_path: Path) -> None:
    """The numbers in the table are 1, 0, 2."""
    cells = read_time_course(old(tmp_path / "old.h5ad"), "stage", "X_pca")
    np.testing.assert_array_equal(cells.time, np.repeat([1, 3, 7], 20))
    assert cells.unit == "days"


def refusal(path: Path, key: str = "day") -> str:
    with pytest.raises(DataError) as caught:
        read_time_course(path, key, "X_pca")
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path}: ")


def loom(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["matrix"] = np.zeros((2, 60))
        file["row_attrs/Gene"], file["col_attrs/day"] = np.zeros(2), np.zeros(60)


def cellranger(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["matrix/barcodes"] = np.array([b"AAAC-1"])


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content)


def whole(path: Path) -> bytes:
    course().write_h5ad(path)
    return path.read_bytes()


def empty_store(path: Path) -> None:
    shutil.copytree(zarr_store(path.with_name("full.zarr")) / "layers", path)
    shutil.rmtree(path / "counts")


def broken_store(path: Path) -> None:
    for file in zarr_store(path).iterdir():
        if file.is_file():
            file.write_text("{")


FOREIGN: list[tuple[str, Any, str]] = [
    ("cells.h5ad.gz", lambda p: p.write_bytes(gzipped(whole(p))), "compressed by gzip; unpack it with: gzip -dc "),
    (
        "cells.csv.gz",
        gzipped(b"a,b\n1,2\n" * 9),
        "a file compressed by gzip that is no h5ad inside; unpack it with: gz",
    ),
    ("cells.rds", gzipped(b"X\n\0\0\0\3" + b"\0" * 99), "a file of R; in R, zellkonverter::writeH5AD("),
    ("cells.bz2", b"BZh91AY", "compressed by bzip2; unpack it with: bzip2 -dc "),
    ("cells.loom", loom, "a loom file; make an h5ad of it: anndata.io.read_loom("),
    ("cells.h5", cellranger, "a 10x matrix, which has no times and no embedding; adata = scanpy.read_10x_h5("),
    ("cells.csv", b",PC1,PC2,time\nc0,1.5,2,0\n" * 9, "a text table; make an h5ad of it: table = pandas.read_csv("),
    ("cells.mtx", b"%%MatrixMarket matrix\n", "a matrix of counts in text, which has no times and no embedding"),
    ("cells.h5ad", b"<!DOCTYPE html><title>404", "a web page, perhaps of a download that failed"),
    ("cells.h5ad", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS and not the file itself"),
    ("cells.h5ad", b"", "an empty file; copy or download it again"),
    ("cells.h5ad", b"\x89junk" * 30, "not a whole h5ad file (it does not begin as HDF5 does)"),
    ("cells.zip", lambda p: zipfile.ZipFile(p, "w").close(), "a zip file without a Zarr store; unpack it with: unzip"),
    ("folder", lambda p: p.mkdir(), "a folder, and no Zarr store; name a file in it"),
    ("pipe", os.mkfifo, "no regular file; copy what it holds into one"),
    (
        "cut.h5ad",
        lambda p: p.write_bytes(whole(p)[:5000]),
        "not a whole h5ad file (Unable to synchronously open file (tr",
    ),
    ("empty.zarr", empty_store, "it has no obs, and so no cells; it has: nothing"),
    ("broken.zarr", broken_store, "not a whole Zarr store ("),
    ("other.h5", lambda p: h5py.File(p, "w").close(), "it has no obs, and so no cells; it has: nothing"),
]


@pytest.mark.parametrize(("name", "content", "sentence"), FOREIGN, ids=[f"{n}-{s[:12]}" for n, _, s in FOREIGN])
def test_each_other_file_is_called_what_it_is(tmp_path: Path, name: str, content: Any, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    assert refusal(path).startswith(sentence)
    with pytest.raises(DataError) as caught:  # the workflow's own files are read by the same rules
        read_snapshots(path)
    assert sentence in str(caught.value)


def test_the_lines_for_text_and_gzip_make_a_file_that_is_read(tmp_path: Path) -> None:
    text = tmp_path / "cells.csv"
    table = pd.DataFrame(X, columns=["PC1", "PC2", "PC3"]).assign(time=np.repeat([0, 2, 5], 20))
    table.index = [f"c{i}" for i in range(60)]
    table.to_csv(text)
    line = refusal(text).partition("make an h5ad of it: ")[2].removesuffix(", with your names of columns")
    exec(line, {"pandas": pd, "anndata": anndata})  # noqa: S102  (the line is what is tested)
    np.testing.assert_allclose(read_time_course(tmp_path / "cells.h5ad", "time", "X_pca").x, X)

    packed = tmp_path / "it's packed.h5ad.gz"
    packed.write_bytes(gzipped((tmp_path / "cells.h5ad").read_bytes()))
    subprocess.run(refusal(packed).partition("unpack it with: ")[2], shell=True, check=True)  # noqa: S602
    np.testing.assert_allclose(read_time_course(tmp_path / "it's packed.h5ad", "time", "X_pca").x, X)


def test_a_file_that_another_program_writes_is_called_locked(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    course().write_h5ad(path)
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+', locking=True); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        sentence = refusal(path)
        other.communicate("\n")
    assert sentence.startswith("another program has it open for writing; close it there, or set HDF5_USE_FILE_LOCKING=")
    assert len(read_time_course(path, "day", "X_pca").x) == 60


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    course().write_h5ad(path)
    path.chmod(0)
    assert refusal(path).startswith("there is no permission to read it")


@pytest.mark.parametrize(("number", "name"), [(32015, "zstd (32015)"), (31999, "of an unknown name (31999)")])
def test_a_filter_that_is_not_there_is_named(tmp_path: Path, number: int, name: str) -> None:
    path = tmp_path / "cells.h5ad"
    course().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["obsm/X_pca"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((60, 3))
        plan.set_filter(number, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((60, 3))
        data = h5py.h5d.create(file["obsm"].id, b"X_pca", h5py.h5t.NATIVE_DOUBLE, space, plan)
        data.write_direct_chunk((0, 0), X.tobytes())
    if h5py.h5z.filter_avail(number):
        pytest.skip("this filter is installed here")
    assert refusal(path).startswith(f"it is compressed by the HDF5 filter {name}, which is not installed; pip install ")


def test_hdf5plugin_is_imported_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hdf5plugin.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    course().write_h5ad(tmp_path / "cells.h5ad")
    read_time_course(tmp_path / "cells.h5ad", "day", "X_pca")
    assert sys.modules.pop("hdf5plugin").__file__ == str(tmp_path / "hdf5plugin.py")


def test_chunks_that_a_store_lost_are_missed(tmp_path: Path) -> None:
    """Zarr reads them as zeros."""
    store = zarr_store(tmp_path / "cells.zarr")
    (chunk,) = [f for f in (store / "obsm/X_pca").rglob("*") if f.is_file() and f.name[0] not in ".z"]
    chunk.unlink()
    assert refusal(store) == "1 of 1 chunks of obsm/X_pca are missing; copy the store again"


def test_a_column_that_is_listed_twice_counts_once(tmp_path: Path) -> None:
    path, copy = tmp_path / "cells.h5ad", tmp_path / "copy.h5ad"
    course().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["obs"].attrs["column-order"] = ["day", "batch", "day", "gone"]
    assert read_time_course(path, "day", "X_pca").times.tolist() == [0, 2, 5]
    assert "it has: day, batch" in refusal(path, "gone")
    annotate(path, copy, {"am_growth": np.ones(60)}, {}, {})
    assert read_h5ad(copy).obs.columns.tolist() == ["day", "batch", "am_growth"]


@pytest.mark.parametrize(
    "form",
    [
        lambda x: np.round(x * 100).astype(int),
        lambda x: x.astype(np.float16),
        sparse.csr_matrix,
        lambda x: pd.DataFrame(x, columns=list("abc"), index=[f"cell{i}" for i in range(60)]),
    ],
    ids=["integers", "half precision", "sparse", "frame"],
)
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_embeddings_of_every_form_are_read(tmp_path: Path, form: Callable[[Any], Any], suffix: str) -> None:
    table, path = course(), tmp_path / f"cells.{suffix}"
    table.obsm["X_pca"] = form(X)
    table.write_h5ad(path) if suffix == "h5ad" else table.write_zarr(path)
    found = read_time_course(path, "day", "X_pca").x
    stored: Any = table.obsm["X_pca"]
    expected = stored.toarray() if hasattr(stored, "toarray") else np.asarray(stored)
    np.testing.assert_array_equal(found, expected.astype(np.float64))
    assert found.dtype == np.float64


def test_genes_are_never_read(tmp_path: Path) -> None:
    """X, raw and layers lead nowhere, and nobody notices."""
    path = tmp_path / "cells.h5ad"
    course().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name in ("X", "raw", "layers", "obsp", "var", "obs/batch"):
            del file[name]
            file[name] = h5py.ExternalLink("absent.h5", "/x")
    assert len(read_time_course(path, "day", "X_pca").x) == 60


def test_columns_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    course().write_h5ad(path)
    pd.testing.assert_frame_equal(read_columns(path, ["batch", "day"]), course().obs[["batch", "day"]])
    with pytest.raises(DataError, match="obs has no column 'batsh'; it has: day, batch"):
        read_columns(path, ["batsh"])


def remedied(path: Path, key: str, mark: str, end: str | None = None) -> AnnData:
    """The table after the line of code that the refusal tells."""
    line = refusal(path, key).partition(mark)[2]
    names = {"adata": read_h5ad(path), "pandas": pd}
    exec(line.partition(end)[0] if end else line, names)  # noqa: S102
    table: AnnData = names["adata"]
    table.write_h5ad(path)
    return table


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(("mark", "end", "left"), [("neighbour, ", ", or drop", 60), ("drop it, ", None, 56)])
def test_a_time_of_few_cells_is_merged_or_dropped_by_the_line_told(
    tmp_path: Path, words: bool, mark: str, end: str | None, left: int
) -> None:
    table, path = course(), tmp_path / "cells.h5ad"
    table.obs["day"] = np.repeat([0, 2, 5], [30, 26, 4])
    if words:
        table.obs["day"] = pd.Categorical(table.obs["day"].map("day {}".format))
    table.write_h5ad(path)
    word = "'day 5'" if words else 5
    assert refusal(path).startswith(f"the time {word} has 4 cells; 10 are the least: merge it with")
    remedied(path, "day", mark, end)
    cells = read_time_course(path, "day", "X_pca")
    assert (len(cells.x), cells.times.tolist()) == (left, [0, 2])


def test_a_time_for_each_cell_is_binned_by_the_line_told(tmp_path: Path) -> None:
    table, path = course(), tmp_path / "cells.h5ad"
    table.obs["day"] = np.linspace(0, 1, 60)
    table.write_h5ad(path)
    assert refusal(path).startswith(
        "60 distinct times for 60 cells; 10 cells of a time are the least; put them into bins"
    )
    remedied(path, "day", "into bins: ")
    assert len(read_time_course(path, "day_bin", "X_pca").times) == 6


def test_the_hash_of_a_folder_is_of_names_and_content(tmp_path: Path) -> None:
    store = zarr_store(tmp_path / "a.zarr")
    shutil.copytree(store, tmp_path / "b.zarr")
    assert file_sha256(store) == file_sha256(tmp_path / "b.zarr")
    (tmp_path / "b.zarr" / "more").write_text("")
    assert file_sha256(store) != file_sha256(tmp_path / "b.zarr")
