"""What a million cells of fifty components ask for: memory and time of `am fit`, one pass over the cells.

python benchmarks/million.py [cells [components]]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from machine import describe

TIMES, BATCH = 5, 512


def main() -> None:
    cells, components = (int(argument) for argument in (*sys.argv[1:], *("1000000", "50")[len(sys.argv) - 1 :]))
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "cells.h5ad", Path(folder) / "fitted"
        write(source, cells, components)
        settings = Path(folder) / "settings.yaml"
        settings.write_text(f"training: {{iterations: {cells // BATCH}, batch_size: {BATCH}}}\n")
        command = ["am", "fit", str(source), "--time-key", "day", "--basis", "X_pca", "--method", "am"]
        begun = time.monotonic()
        subprocess.run([*command, "--settings", str(settings), "--out", str(out)], check=True)
        passed = time.monotonic() - begun
        record = json.loads((out / "provenance.json").read_text())
    print(
        f"{cells} cells x {components} components, {source_size(cells, components):.2f} GB: {passed:.0f} s, of which "
        f"{record['train_seconds']:.0f} s training for one pass, {record['sample_seconds']:.0f} s moving all cells; "
        f"peak memory {record['peak_memory_bytes'] / 2**30:.2f} GiB"
    )


def source_size(cells: int, components: int) -> float:
    """GB of the components alone."""
    return 4e-9 * cells * components


def write(path: Path, cells: int, components: int) -> None:
    """Clouds that drift, as many cells on each of five days."""
    rng = np.random.default_rng(0)
    day = np.arange(cells) % TIMES
    x = rng.standard_normal((cells, components), dtype=np.float32)
    x[:, :3] += day[:, None]
    table = anndata.AnnData(obs=pd.DataFrame({"day": day}, index=pd.RangeIndex(cells).astype(str)), obsm={"X_pca": x})
    table.write_h5ad(path)


if __name__ == "__main__":
    main()
