"""The embryoid-body time course as the NLSB benchmark ships it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from am.io.npz import read_arrays, read_headers
from am.io.snapshots import DataError

TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Time points 0 to 4: three days each, one every six days."""


def read_embryoid(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal components (n, 100) of the cells, not scaled, and their times (n,) in [0, 1].

    Raises
    ------
    DataError
        The file is no such archive, or what it holds is something else.
    """
    headers = read_headers(path, ("X", "ts")).headers
    if len(headers) < 2:
        raise DataError(f"{path}: no npz file with the arrays X and ts")
    x, step = read_arrays(path, ("X", "ts")).values()
    if x.dtype.kind not in "fiu" or x.ndim != 2 or step.shape != (len(x),):
        raise DataError(
            f"{path}: X of {x.dtype} and shape {x.shape}, ts of shape {step.shape}: no cells with a time each"
        )
    if not np.isin(step, range(len(TIMES))).all():
        raise DataError(f"{path}: ts must hold whole numbers from 0 to {len(TIMES) - 1}")
    return x.astype(np.float64), np.array(TIMES)[step.astype(np.int64)]
