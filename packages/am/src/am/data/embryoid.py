"""The embryoid-body time course as the NLSB benchmark ships it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from am.data.snapshots import DataError

TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Time points 0 to 4: three days each, one every six days."""


def read_embryoid(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal components (n, 100) of the cells, not scaled, and their times (n,) in [0, 1].

    Raises
    ------
    DataError
        The file is no such archive.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            x, step = np.asarray(file["X"], np.float64), np.asarray(file["ts"], np.int64)
        return x, np.array(TIMES)[step]
    except Exception as error:  # numpy and zipfile raise many kinds
        raise DataError(f"{path}: no npz file with the arrays X and ts ({' '.join(str(error).split())})") from None
