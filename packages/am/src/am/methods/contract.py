"""What a method offers: the one interface that every method, rival and control has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from am.config import Settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from am.marginals.marginals import Marginals
    from am.training.settings import TrainingSettings
    from am.training.stream import Stream


@dataclass(frozen=True)
class Prediction:
    """Particles pushed through time."""

    x: Tensor
    """(T, n, d) positions at the T times asked for, particle by particle."""
    log_weight: Tensor | None
    """(T, n) logarithms of weights of mean one at each time, for methods that weigh particles."""
    nfe: int
    """Evaluations of the learned field (drift, score) that this took, each over all particles."""


class Method(ABC):
    """Learns from a path of marginals, then pushes particles from a time to later ones.

    The module of a method defines one subclass and binds it to ``METHOD``. It must not import torch
    at its top level: settings are read before the workflow has decided what to run.
    """

    settings_type: ClassVar[type[Settings]] = Settings
    """What can be set. A field ``sampling`` holds all that training does not depend on."""
    title: ClassVar[str]
    """A few words for tables and legends."""
    control: ClassVar[bool] = False
    """Whether it bounds the other methods instead of competing with them."""
    uses_truth: ClassVar[bool] = False
    """Whether ``sample`` needs the true marginals, which no learned method may see there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def sample(
        self,
        network: nn.Module | None,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Push ``start``, (n, d) particles at ``times[0]``, to each of ``times``, (T,) increasing.

        ``x[0]`` of the result is ``start``. ``network`` is None for methods that do not train,
        ``truth`` is given to those that declare ``uses_truth`` only.
        """


class TrainedMethod(Method):
    """A method with a network to train."""

    @property
    @abstractmethod
    def training(self) -> TrainingSettings:
        """How to train."""

    @abstractmethod
    def build(self, marginals: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh network; initial weights and scales come from ``generator`` and ``marginals``."""

    @abstractmethod
    def loss(self, network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss of one step, and scalars worth logging; all randomness is ``stream``'s."""
