"""What a data set offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from am.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from am.io.snapshots import Array, Snapshots
    from am.marginals.marginals import Marginals
    from am.marginals.snapshots import Coupling, Masses, SnapshotPath


def _quotient(value: Any) -> Any:
    """Times such as 1/3 are written as they are: their decimals are either long or wrong."""
    if not isinstance(value, str):
        return value
    try:
        return float(Fraction(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError("input should be a number, or a quotient such as 1/3") from None


_NUMBER = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_QUOTIENT = {"type": "string", "pattern": r"^\d+/\d+$"}

Time = Annotated[float, BeforeValidator(_quotient), Field(gt=0, le=1), WithJsonSchema({"anyOf": [_NUMBER, _QUOTIENT]})]
"""A time in (0, 1], as a number or as a quotient such as 1/3."""


class Dataset(ABC):
    """A path of marginals that methods learn from and are judged against.

    The module of a data set defines one subclass and binds it to ``DATASET``. It must not import
    torch at its top level: settings are read before the workflow has decided what to run.
    """

    settings_type: ClassVar[type[Settings]] = Settings
    """What can be set in an experiment's ``dataset`` section."""
    columns: tuple[str, ...]
    """Names of the coordinates."""
    unit: ClassVar[str] = ""
    """Unit of all coordinates, for figures."""
    files: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Source and name of each file of the registry that it is read from."""
    image_shape: tuple[int, int, int] | None = None
    """(c, h, w) where the leading c h w coordinates of a point are an image in this order, of values in [-1, 1].

    Coordinates after them are what the image is conditioned on, and never move.
    """

    levels: int = 256
    """Different values of a pixel."""
    has_density: bool = False
    """Whether points at t = 1 are spread over all space, and those at t = 0 standard normal."""
    conditioned: bool = False
    """Whether points hold what an image is conditioned on."""

    shared_test_points: ClassVar[bool] = False
    """Whether all seeds are judged by the same points, so that the spread over seeds does not show their luck."""

    fields_known: ClassVar[bool] = False
    """Whether the truth tells velocities (``drift`` or ``velocity``) or growth rates (``growth``) at any point."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def leaky(self) -> bool:
        """Whether what is learned from depends on points that judge, or that are held out."""
        return False

    def sources(self) -> tuple[Path, ...]:
        """Where the files are that it is read from; none where points are drawn.

        Raises
        ------
        DataError
            One of them is not at hand.
        """
        from am.io.raw import find_raw

        return tuple(find_raw(*file) for file in self.files)

    @property
    def observed(self) -> tuple[float, ...] | None:
        """Times at which there are points, from 0 to 1; None where there are at every time."""
        return None

    @abstractmethod
    def marginals(self, data: Path) -> Marginals:
        """The path to learn from; ``data`` is the prepared ``data.h5ad``."""

    @abstractmethod
    def truth(self, data: Path | None = None) -> Marginals:
        """The path to be judged against, which may be sampled afresh: never a test point."""

    def population(self) -> Marginals:
        """All that is known of the truth, test points among it: what the floor is measured between."""
        return self.truth()

    def images(self, split: Literal["train", "test"], mirrored: bool = False) -> Array:
        """All images of a split, (n, c h w); with those that are mirrored, where such are learned from.

        Raises
        ------
        DataError
            The points are no images.
        """
        from am.io.snapshots import DataError

        raise DataError("this data set has no images")

    def dequantised(self, count: int, generator: torch.Generator) -> Tensor:
        """The first test images as points at t = 1, with noise between their levels: (count, d).

        Raises
        ------
        DataError
            There are no images, or fewer.
        """
        from am.io.snapshots import DataError

        raise DataError("this data set has no images")

    def labelled_images(self) -> tuple[Array, NDArray[np.int64]] | None:
        """Training images (n, d) and the class of each (n,); None where there are no classes."""
        return None

    def wrapped(self, x: Tensor) -> Tensor:
        """Points as they are compared, (..., d): particles that went around a space without ends are brought back."""
        return x

    def pictures(self, points: Tensor) -> Tensor:
        """The images that points at t = 1 stand for: (n, d) -> (n, c h w); where points are none, themselves."""
        return points

    def snapshots(self, data: Path) -> SnapshotPath:
        """The training points of ``data``, for methods that learn from snapshots alone."""
        return path_through(data)

    def training_points(self, times: int, size: int, key: str) -> Iterator[tuple[float, Array]]:
        """Times, and the points (n, d) at each, that methods may learn from.

        Drawn afresh at so many equal ``times``, ``size`` at each, where the path is known; all there are where not.
        """
        import numpy as np

        for time in np.linspace(0, 1, times).tolist():
            yield time, self._drawn("train", time, size, -1, key)

    def test_points(self, time: float, size: int, seed: int, key: str) -> Array:
        """``size`` points at a time that start or judge the particles of a seed: (size, d)."""
        return self._drawn("test", time, size, seed, key)

    def points(self, times: int, size: int, key: str) -> Snapshots:
        """Points for a person to look at: training points, and all other cells where cells are measured."""
        from am.io.snapshots import Snapshots

        return Snapshots.together(Snapshots.at(t, x, "train", -1) for t, x in self.training_points(times, size, key))

    def _drawn(self, split: str, time: float, size: int, seed: int, key: str) -> Array:
        import numpy as np
        import torch

        from am.randomness import generator

        rng = generator(key, split, seed, time)
        return self.truth().sample(torch.full((size,), time), rng).numpy().astype(np.float32)


def path_through(
    data: Path,
    coupling: Coupling = "optimal",
    smoothing: float = 0.0,
    relaxation: float = 1.0,
    masses: Masses = "equal",
) -> SnapshotPath:
    """A path through the training points of a ``data.h5ad``, and through no other of its points.

    What else is asked for is described in :class:`am.marginals.snapshots.SnapshotPath`; ``masses`` are numbers, all
    equal, or the ``counts`` of the points.

    Raises
    ------
    DataError
        They do not make a path.
    """
    import numpy as np
    import torch

    from am.io.snapshots import DataError, read_snapshots
    from am.marginals.snapshots import SnapshotPath, masses_of

    points = read_snapshots(data)
    train = points.split == "train"
    times = np.unique(points.time[train]).tolist()
    try:
        parts = [torch.from_numpy(points.x[train & (points.time == time)]) for time in times]
        return SnapshotPath(parts, times, coupling, smoothing, relaxation, masses_of(parts, masses))
    except ValueError as error:
        raise DataError(f"{data}: {error}") from None
