"""Derives the myoblast time course that the library carries from the package that its measurements come in.

    python data/derive_myoblast.py SOURCE packages/am/src/am/datasets/myoblast.h5ad

SOURCE is the tarball of Bioconductor's HSMMSingleCell, or the Debian package of it. Needs pyreadr, which nothing else
here does: `pip install pyreadr`. packages/am/src/am/datasets/myoblast.md says where both are, which hash was checked,
and what is done to the measurements.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadr
from anndata import AnnData

GENES = 500
IN_CELLS = 0.1
COMPONENTS = 30
STEP = 1 / 256


def members(deb: bytes) -> dict[str, bytes]:
    """What a Debian package, an ar archive, consists of."""
    found, place = {}, 8
    while place < len(deb):
        head = deb[place : place + 60]
        size = int(head[48:58])
        found[head[:16].decode().strip().rstrip("/")] = deb[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    return found


def tables(source: Path) -> dict[str, pd.DataFrame]:
    """The R data frames in the package, by name."""
    content = source.read_bytes()
    archive = members(content)["data.tar.xz"] if content.startswith(b"!<arch>") else content
    frames = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar, tempfile.TemporaryDirectory() as folder:
        for member in tar:
            if member.name.endswith(".rda"):
                tar.extract(member, folder, filter="data")
                frames.update(pyreadr.read_r(str(Path(folder, member.name))))
    return frames


def derive(frames: dict[str, pd.DataFrame]) -> AnnData:
    """Cells by their most variable genes, with the time of each."""
    fpkm = frames["HSMM_expr_matrix"]
    sheet = frames["HSMM_sample_sheet"].loc[fpkm.columns]
    names = frames["HSMM_gene_annotation"]["gene_short_name"].astype(str)
    x = fpkm.to_numpy().T
    x = np.log1p(1e6 * x / x.sum(1, keepdims=True))
    often = (x > 0).mean(0) >= IN_CELLS
    chosen = np.sort(np.argsort(-np.where(often, x.var(0), 0), kind="stable")[:GENES])
    x = np.round(x[:, chosen] / STEP) * STEP
    u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    sign = np.sign(v[np.arange(len(v)), np.abs(v).argmax(1)])
    table = AnnData(
        x.astype(np.float32),
        obs=pd.DataFrame({"hours": sheet["Hours"].astype(int).to_numpy()}, index=list(sheet.index)),
        var=pd.DataFrame({"gene": names[fpkm.index[chosen]].to_numpy()}, index=list(fpkm.index[chosen])),
        obsm={"X_pca": (u * s * sign)[:, :COMPONENTS].astype(np.float32)},
    )
    table.uns["source"] = (
        "Trapnell et al., Nature Biotechnology 32, 381-386 (2014); Bioconductor HSMMSingleCell 1.18.0, Artistic-2.0"
    )
    return table


if __name__ == "__main__":
    derive(tables(Path(sys.argv[1]))).write_h5ad(sys.argv[2], compression="gzip")
