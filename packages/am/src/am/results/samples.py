"""Predicted particles as the contract ``samples.npz`` keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from am.results.files import atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SamplesError(RuntimeError):
    """Samples that cannot be used; the text is one sentence for the user."""


@dataclass(frozen=True)
class Samples:
    """Points at several times."""

    x: NDArray[np.floating]
    """(n, d) positions, or (n, channels, height, width) images."""
    time: NDArray[np.floating]
    """(n,) times in [0, 1]."""
    log_weight: NDArray[np.floating] | None = None
    """(n,) logarithms of weights, for methods that weigh particles."""

    def at(self, time: float) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
        """Points at a time, and the logarithms of their weights where there are weights.

        Raises
        ------
        SamplesError
            There are none.
        """
        here = np.isclose(self.time, time, atol=1e-6)
        if not here.any():
            others = ", ".join(f"{other:g}" for other in np.unique(self.time))
            raise SamplesError(f"there are no points at time {time:g}, only at {others}")
        return self.x[here], None if self.log_weight is None else self.log_weight[here]


def write_samples(samples: Samples, path: Path) -> None:
    """Write samples so that :func:`read_samples` gives them back."""
    weights = {} if samples.log_weight is None else {"log_weight": samples.log_weight}
    with atomic(path) as temporary:
        np.savez(temporary, allow_pickle=False, x=samples.x, time=samples.time, **weights)


def read_samples(path: Path) -> Samples:
    """Read what :func:`write_samples`, or an external method, wrote.

    Raises
    ------
    SamplesError
        The file is missing, is not whole, lacks an array, or has arrays of different lengths or with
        numbers that are not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x", "time", "log_weight") if name in file}
    except FileNotFoundError:
        raise SamplesError(f"{path}: no such samples") from None
    except Exception as error:  # zipfile, zlib and numpy each have their own
        raise SamplesError(f"{path}: not whole samples ({error})") from None
    for name in ("x", "time"):
        if name not in arrays:
            raise SamplesError(f"{path}: the array '{name}' is missing")
    for name, array in arrays.items():
        if len(array) != len(arrays["x"]):
            raise SamplesError(f"{path}: 'x' has {len(arrays['x'])} points, '{name}' has {len(array)}")
        if not np.isfinite(array).all():
            raise SamplesError(f"{path}: '{name}' holds numbers that are not finite")
    return Samples(**arrays)
