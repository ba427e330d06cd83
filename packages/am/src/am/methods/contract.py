"""What a method offers: the one interface that every method, rival and control has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from am.config import ConfigError, Settings
from am.potentials.settings import PotentialSettings
from am.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from am.marginals.marginals import Marginals
    from am.objectives.path import PathSample
    from am.training.loop import Trained
    from am.training.stream import Stream


@dataclass(frozen=True)
class Prediction:
    """Particles pushed through time."""

    x: Tensor
    """(T, n, d) positions at the T times asked for, particle by particle."""
    log_weight: Tensor | None
    """(T, n) logarithms of weights, 0 at the start, for methods that weigh particles: what mass each has become.

    Only ratios at one time count where a method learned of probabilities."""
    nfe: int
    """Evaluations of the learned field (drift, score) that this took, each over all particles."""


class PredictionError(ValueError):
    """What a method returned is no prediction; its text names method, time and the shape that is needed."""


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
    learns_from: ClassVar[Literal["path", "snapshots"]] = "path"
    """What ``build`` and ``loss`` are given: any marginals, or an :class:`am.marginals.snapshots.SnapshotPath`,
    which is handed to ``sample`` itself where there is nothing to train."""
    simulates: ClassVar[bool] = False
    """Whether training moves particles through time at every step, so that it takes long."""
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Powers of length and of time in the unit of each setting that has one, t being the time."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages of an extra, as :data:`am.extras.EXTRAS` names them, that it cannot be trained without."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Let every method refuse times that nothing was learned of, and results that are no predictions."""
        super().__init_subclass__(**options)
        for name, checked in _CHECKED.items():
            if name in vars(cls):
                setattr(cls, name, checked(vars(cls)[name]))

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def sample(
        self,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        """Push ``start``, (n, d) particles at ``times[0]``, to each of ``times``, (T,) increasing.

        ``x[0]`` of the result is ``start``. ``network`` is what was trained. For methods that do not train it is
        None, or the snapshots themselves if they learn from ``snapshots``. ``truth`` is given to those that declare
        ``uses_truth`` only.

        Raises
        ------
        DynamicsError
            Times that do not increase, or outside [0, 1]: of every method, as of its fields.
        PredictionError
            What a method returned has another shape, is no tensor or not finite: of every method, as of its fields.
        """

    def velocity(self, network: Any, time: Tensor, x: Tensor) -> Tensor | None:
        """Mean velocity of particles per unit of t, (n,), (n, d) -> (n, d); None where it is not known as a field."""
        return None

    @property
    def weighs(self) -> bool:
        """Whether particles have weights, and a growth rate."""
        return type(self).growth_rate is not Method.growth_rate

    def flow(self, network: Any) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Velocity of the deterministic flow that its samples have the law of, (n,), (n, d) -> (n, d).

        Unlike :meth:`velocity` it can be differentiated in x. None where samples follow no such flow.
        """
        return None

    def growth_rate(self, network: Any, time: Tensor, x: Tensor) -> Tensor | None:
        """Rate of log weights per unit of t, (n,), (n, d) -> (n,); None without weights.

        Up to a function of time where the path tells no masses.
        """
        return None


_SLACK = 1e-6
"""By which a time may pass 0 or 1, since times come in single precision."""


def check_learned(times: Tensor) -> None:
    """Raise DynamicsError unless all of ``times``, of any shape, are in [0, 1], where something was learned."""
    if len(times) and not bool(((times >= -_SLACK) & (times <= 1 + _SLACK)).all()):
        from am.dynamics.trajectory import DynamicsError

        wrong = next(t for t in times.flatten().tolist() if not -_SLACK <= t <= 1 + _SLACK)
        raise DynamicsError(f"nothing was learned of t = {wrong:g}: times are in [0, 1], first to last")


def _checked_sample(sample: Callable[..., Prediction]) -> Callable[..., Prediction]:
    @wraps(sample)
    def checked(
        self: Method,
        network: Any,
        start: Tensor,
        times: Tensor,
        generator: torch.Generator,
        truth: Marginals | None = None,
    ) -> Prediction:
        if times.ndim != 1 or not len(times) or not bool((times.diff() > 0).all()):
            from am.dynamics.trajectory import DynamicsError

            raise DynamicsError(f"times must be increasing numbers, from that of the start on, got {times.tolist()}")
        check_learned(times)
        prediction = sample(self, network, start, times, generator, truth)
        _check_prediction(self.title, prediction, start, times)
        return prediction

    return checked


def _check_prediction(title: str, prediction: Any, start: Tensor, times: Tensor) -> None:
    """Raise PredictionError unless there is a finite position, and a weight or none, for each particle and time."""
    if not isinstance(prediction, Prediction):
        raise PredictionError(f"{title}: sample returned a {type(prediction).__name__}; a Prediction is needed")
    shape = (len(times), *start.shape)
    _check_numbers(f"{title}: x", prediction.x, shape, times, len(start))
    if prediction.log_weight is not None:
        _check_numbers(f"{title}: log_weight", prediction.log_weight, shape[:2], times, len(start))


def _check_numbers(what: str, numbers: Any, shape: tuple[int, ...], times: Tensor, particles: int) -> None:
    import torch

    needed = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
    if not isinstance(numbers, torch.Tensor):
        raise PredictionError(f"{what} is a {type(numbers).__name__}; a tensor of the shape {needed} is needed")
    if tuple(numbers.shape) != shape or not numbers.is_floating_point():
        found = f"has the shape {tuple(numbers.shape)}" if tuple(numbers.shape) != shape else f"is of {numbers.dtype}"
        raise PredictionError(f"{what} {found}; floating-point numbers of the shape {needed} are needed")
    finite = torch.isfinite(numbers)
    if what.endswith("log_weight"):
        finite |= numbers.isneginf()  # which is no mass
    if not bool(finite.all()):
        wrong = (~finite).reshape(len(times), particles, -1).any(-1).sum(1)
        k = int(wrong.nonzero()[0, 0])
        raise PredictionError(f"{what} is not finite for {int(wrong[k])} of {particles} particles at t = {times[k]:g}")


def _checked_field(name: str, field: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    @wraps(field)
    def checked(self: Method, network: Any, time: Tensor, x: Tensor) -> Tensor | None:
        check_learned(time)
        found = field(self, network, time, x)
        if found is not None:
            shape = tuple(x.shape) if name == "velocity" else (len(x),)
            _check_numbers(f"{self.title}: {name}", found, shape, time[:1], len(x))
        return found

    return checked


def _checked_flow(flow: Callable[..., Callable[..., Tensor] | None]) -> Callable[..., Callable[..., Tensor] | None]:
    @wraps(flow)
    def checked(self: Method, network: Any) -> Callable[..., Tensor] | None:
        field = flow(self, network)
        if field is None:
            return None

        def checked_field(time: Tensor, x: Tensor) -> Tensor:
            check_learned(time)
            return field(time, x)

        return checked_field

    return checked


_CHECKED: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "sample": _checked_sample,
    "velocity": partial(_checked_field, "velocity"),
    "growth_rate": partial(_checked_field, "growth_rate"),
    "flow": _checked_flow,
}


def check_per_interval(method: str, settings: Settings, names: Iterable[str], intervals: int) -> None:
    """Raise ConfigError unless each of these settings has one number, or one for each interval between snapshots."""
    for name in names:
        if (given := len(getattr(settings, name))) not in (1, intervals):
            raise ConfigError(f"{method}: {name}: {given} numbers for {intervals} intervals; give one, or one for each")


class TrainedSettings(Settings):
    """Settings of a method with a network."""

    training: TrainingSettings = TrainingSettings()


class TrainedMethod(Method):
    """A method with a network to train."""

    settings_type: ClassVar[type[Settings]] = TrainedSettings
    settings: TrainedSettings

    @abstractmethod
    def build(self, marginals: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh network; scales come from ``marginals``, which are looked at through ``generator``."""

    @abstractmethod
    def loss(self, network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss of one step, and scalars worth logging; all randomness is ``stream``'s."""

    def train(self, network: Any, marginals: Marginals, *, key: str, state: Path, **options: Any) -> Trained:
        """The weights that ``network`` should have; it takes steps down the loss.

        Parameters, errors and ``options`` are those of :func:`am.training.loop.train`.
        """
        from am.training.loop import train

        return train(network, self.loss, marginals, self.settings.training, key=key, state=state, **options)


class ActionSettings(TrainedSettings):
    """Settings that all forms of Action Matching share."""

    potential: PotentialSettings = PotentialSettings()
    weight: Literal["constant", "decreasing", "decreasing_squared", "parabolic"] = Field(
        default="constant", description="w(t) of the objective: 1, 1 - t, (1 - t)^2 or 6 t (1 - t)"
    )
    estimator: Literal["marginal", "conditional"] = Field(
        default="marginal",
        description="marginal: of points of q_t alone, as published; conditional: of the velocities of the curves that "
        "points lie on, where the path has some; the same expectation",
    )


class ActionMethod(TrainedMethod):
    """A method whose network is an action s_t(x)."""

    settings_type: ClassVar[type[Settings]] = ActionSettings
    settings: ActionSettings
    reversible: ClassVar[bool] = True
    """Whether -s_{1 - t} is the action of the path run backwards, which noise rules out."""

    def build(self, marginals: Marginals, generator: torch.Generator) -> nn.Module:
        """A fresh action.

        Raises
        ------
        ValueError
            Velocities are asked for where ``marginals`` have none.
        """
        from am.marginals.marginals import MovingMarginals
        from am.potentials.potential import build_potential

        if self.settings.estimator == "conditional" and not isinstance(marginals, MovingMarginals):
            raise ValueError(
                "'estimator: conditional' needs velocities, which points of this path do not have; use 'marginal'"
            )

        return build_potential(self.settings.potential, marginals, generator)

    def draw(self, network: Any, marginals: Any, stream: Stream) -> PathSample:
        """What the loss of a step is estimated from."""
        return stream.draw_moving(marginals) if self.settings.estimator == "conditional" else stream.draw(marginals)

    def velocity(self, network: Any, time: Tensor, x: Tensor) -> Tensor:
        """The gradient of the action."""
        return network.gradient(time, x)
