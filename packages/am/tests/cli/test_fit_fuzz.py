"""``am fit`` on cells of every form and value: a complete result, or one sentence and nothing else."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from scipy import sparse

from am.config import write_yaml
from am.io.time_course import EMBEDDINGS

pytestmark = pytest.mark.trains

few = settings(
    deadline=None, max_examples=12, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
many = settings(few, max_examples=1000, derandomize=False)

TIMES: dict[str, Any] = {
    **{kind: lambda time, kind=kind: time.astype(kind) for kind in ("int8", "uint64", "f2", "f4", "f8", "bool", "str")},
    "Int16": lambda time: pd.array(np.clip(time, -1e4, 1e4).astype(int), dtype="Int16"),
    "Float32": lambda time: pd.array(time.astype(int), dtype="Float32"),
    "categories": lambda time: pd.Categorical(time.astype(str)),
    "numbered categories": pd.Categorical,
    "words": lambda time: np.array([f"day {t:g}" for t in time]),
}
FORMS: dict[str, Any] = {
    "dense": lambda x: x,
    "rows": sparse.csr_matrix,
    "columns": sparse.csc_matrix,
    "frame": lambda x: pd.DataFrame(
        x, index=[f"c{i}" for i in range(len(x))], columns=[f"d{i}" for i in range(x.shape[1])]
    ),
    "images": lambda x: x[:, :, None],
}
KINDS = ["f2", "f4", "f8", ">f8", "int8", "uint64", "bool", "complex64", "str"]
METHODS = ["am", "am", "uam", "eam", "otcfm", "icfm"]
SMALL = {"training": {"iterations": 2, "batch_size": 16, "warmup": 0}}
OWN = {
    "am": {"potential": {"width": 8, "depth": 1}},
    "uam": {"potential": {"width": 8, "depth": 1}},
    "eam": {"potential": {"width": 8, "depth": 1}, "sampling": {"steps": 5}},
    "otcfm": {"network": {"width": 8, "depth": 1}},
    "icfm": {"network": {"width": 8, "depth": 1}},
}


@st.composite
def cells(draw: st.DrawFn) -> AnnData:
    """Cells that usually make a time course, in usual and in odd forms."""
    number = st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1.0, 7.0, 1e-9, 1 + 1e-9, 1e20, 1e300, float("nan")])
    times = draw(
        st.lists(number | st.integers(0, 3).map(float), min_size=1, max_size=3, unique=True) | st.just([0.0, 1.0])
    )
    sizes = [draw(st.sampled_from([10, 12, 12, 15, 1])) for _ in times]
    time = np.repeat(times, sizes)
    n, d = len(time), draw(st.sampled_from([1, 2, 2, 3, 0]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.normal(size=(n, d)) * draw(st.sampled_from([1.0, 1.0, 10.0, 1e-6, 1e6, 1e200])) + draw(
        st.sampled_from([0, 5])
    )
    if d and draw(st.integers(0, 5)) == 0:
        x[draw(st.integers(0, n - 1)), draw(st.integers(0, d - 1))] = draw(st.sampled_from([np.nan, np.inf]))
    if d and draw(st.integers(0, 8)) == 0:
        x[:, draw(st.integers(0, d - 1))] = 1
    form = draw(st.sampled_from([*FORMS, *["dense"] * 4]))
    kinds = ["f4", "f8", "int8", "bool", "complex64"] if form in ("rows", "columns") else KINDS
    kind = draw(st.sampled_from([*kinds, *["f4", "f8"] * 4]))
    with np.errstate(all="ignore"):
        day = (
            TIMES[draw(st.sampled_from([*TIMES, *["f8"] * 4]))](np.nan_to_num(time, nan=2.0))
            if draw(st.booleans())
            else time
        )
        points = FORMS[form](x.astype(kind))
    gene = draw(st.sampled_from([np.float32, np.int64, bool, None]))
    table = AnnData(
        None if gene is None else np.ones((n, 2), gene), obs=pd.DataFrame(index=[f"c{i}" for i in range(n)])
    )
    table.obs["day"] = day
    table.obsm["X_pca"] = points
    return table


def check_cells(am: Any, folder: Path, profile: settings) -> None:
    out, path = folder / "out", folder / "my.h5ad"

    @profile
    @given(cells(), st.sampled_from(METHODS))
    def check(table: AnnData, method: str) -> None:
        shutil.rmtree(out, ignore_errors=True)
        try:
            table.write_h5ad(path)
        except Exception:  # what cannot be written is given to nobody
            reject()
        write_yaml(SMALL | OWN[method], folder / "settings.yaml")
        options = ("--method", method, "--settings", folder / "settings.yaml", "--out", out, "--accelerator", "cpu")
        told = am("fit", path, "--time-key", "day", *options)
        if told.code:
            assert told.sentence
            assert not out.exists() or [file.name for file in out.iterdir()] == ["state"], told
            return
        copy = read_h5ad(out / "my_am.h5ad")
        for name in EMBEDDINGS:
            assert np.isfinite(copy.obsm[name]).all()
            assert copy.obsm[name].shape == table.obsm["X_pca"].shape
        record = json.loads((out / "provenance.json").read_text())
        assert {"my_am.h5ad", "model.safetensors", "training.csv", "trajectories.pdf"} <= record["files"].keys()
        for name, digest in record["files"].items():
            assert sha256((out / name).read_bytes()).hexdigest() == digest

    check()


def test_cells_of_any_form_give_a_whole_result_or_one_sentence(am: Any, tmp_path: Path) -> None:
    check_cells(am, tmp_path, few)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_cells_of_any_form_give_a_whole_result_or_one_sentence_many_times(am: Any, tmp_path: Path) -> None:
    check_cells(am, tmp_path, many)
