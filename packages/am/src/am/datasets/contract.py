"""What a data set offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from am.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from am.marginals.marginals import Marginals


class Dataset(ABC):
    """A path of marginals that methods learn from and are judged against.

    The module of a data set defines one subclass and binds it to ``DATASET``. It must not import
    torch at its top level: settings are read before the workflow has decided what to run.
    """

    settings_type: ClassVar[type[Settings]] = Settings
    """What can be set in an experiment's ``dataset`` section."""
    columns: ClassVar[tuple[str, ...]]
    """Names of the coordinates."""
    unit: ClassVar[str] = ""
    """Unit of all coordinates, for figures."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def marginals(self, data: Path) -> Marginals:
        """The path to learn from; ``data`` is the prepared ``data.h5ad``."""

    @abstractmethod
    def truth(self, data: Path | None = None) -> Marginals:
        """The path to be judged against, which may be sampled afresh."""
