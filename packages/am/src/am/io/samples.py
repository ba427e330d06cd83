"""``samples.npz``: what a method predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from am.io.files import atomic
from am.io.npz import read_arrays, read_headers
from am.io.snapshots import DataError


@dataclass(frozen=True)
class Samples:
    """Predicted points with their times, and weights where the method has them."""

    x: NDArray[np.float32]
    """(n, d), or (n, c, h, w) for images"""
    time: NDArray[np.float64]
    """(n,) in (0, 1]"""
    log_weight: NDArray[np.float32] | None = None
    """(n,) or None"""
    velocity: NDArray[np.float32] | None = None
    """(n, d) mean velocity per unit of t, not at ``x`` but at the test points of the same time, in order; or None"""
    growth: NDArray[np.float32] | None = None
    """(n,) growth rate there; or None"""
    log_density: NDArray[np.float32] | None = None
    """(probes, m) estimates of log q(x) at the first m test images at the last time; or None"""
    redrawn: NDArray[np.float32] | None = None
    """(r, n, d) what the same method predicts with other noise, row by row like ``x``; or None"""
    redrawn_log_weight: NDArray[np.float32] | None = None
    """(r, n) or None"""

    @property
    def draws(self) -> list[Samples]:
        """Points with their weights, those with other noise behind the first."""
        weights = self.redrawn_log_weight
        return [
            Samples(self.x, self.time, self.log_weight),
            *(
                Samples(x, self.time, None if weights is None else weights[k])
                for k, x in enumerate([] if self.redrawn is None else self.redrawn)
            ),
        ]

    def at(self, time: float) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Points, and log-weights, at a time.

        Raises
        ------
        DataError
            There are none: names the times that there are.
        """
        chosen = self._chosen(time)
        return self.x[chosen], None if self.log_weight is None else self.log_weight[chosen]

    def fields_at(self, time: float) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Velocity and growth rate of the test points of a time, where there are some; errors as in :meth:`at`."""
        chosen = self._chosen(time)
        velocity, growth = (None if field is None else field[chosen] for field in (self.velocity, self.growth))
        return velocity, growth

    def _chosen(self, time: float) -> NDArray[np.bool_]:
        chosen = np.isclose(self.time, time, rtol=0, atol=1e-9)
        if not chosen.any():
            raise DataError(f"no samples at time {time}; times: {np.unique(self.time).tolist()}")
        return chosen


_REDRAWN = ("redrawn", "redrawn_log_weight")
_OPTIONAL = ("log_weight", "velocity", "growth", "log_density", *_REDRAWN)
_POINTS = ("x", "velocity", "redrawn")


def write_samples(samples: Samples, path: Path) -> None:
    """Write ``samples.npz``."""
    optional = {name: array for name in _OPTIONAL if (array := getattr(samples, name)) is not None}
    with atomic(path) as temporary, temporary.open("wb") as file:  # given a name, numpy may append to it
        np.savez_compressed(file, x=samples.x, time=samples.time, **optional)


def read_samples(path: Path) -> Samples:
    """Read what :func:`write_samples`, or a method in any language, wrote.

    Raises
    ------
    DataError
        The file is missing or corrupt, would unpack to far more than it is, lacks an array, has arrays of
        different lengths, or holds a number that is not finite.
    """
    names, headers = read_headers(path, ("x", "time", *_OPTIONAL))
    for name in ("x", "time"):
        if name not in headers:
            raise DataError(f"{path}: the array '{name}' is missing; it has: {', '.join(names)}")
    for name, (shape, dtype) in headers.items():
        dimensions = len(shape) - (name in ("log_density", *_REDRAWN))
        if dtype.kind not in "fiu" or (dimensions < 2 if name in _POINTS else dimensions != 1):
            raise DataError(f"{path}: the array '{name}' is of {dtype} and shape {shape}")
    lengths = {name: shape[name in _REDRAWN] for name, (shape, _) in headers.items() if name != "log_density"}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: arrays of different lengths: {lengths}")
    arrays = read_arrays(path, headers)
    for name, array in arrays.items():
        with np.errstate(over="ignore"):  # what is too large for float32 is caught below
            arrays[name] = array.astype(np.float64 if name == "time" else np.float32)
        if not np.isfinite(arrays[name]).all():
            raise DataError(f"{path}: the array '{name}' holds a number that is not finite")
    return Samples(arrays["x"], arrays["time"], *(arrays.get(name) for name in _OPTIONAL))
