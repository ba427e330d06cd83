"""What a method offers: the one interface that every method, rival and control has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, final

from pydantic import Field

from am.config import ConfigError, Settings
from am.potentials.settings import PotentialSettings
from am.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from am.dynamics.dynamics import Dynamics
    from am.marginals.marginals import Marginals
    from am.objectives.path import PathSample
    from am.potentials.potential import Potential
    from am.training.loop import Trained
    from am.training.stream import Stream

Network = TypeVar("Network")
"""What the dynamics of a method are made of."""
Trainable = TypeVar("Trainable", bound="nn.Module")
"""The network of a method that trains one."""
Loss = tuple["Tensor", dict[str, "Tensor"]]
"""Scalar loss of a step, and scalars worth logging."""


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


class Method(ABC, Generic[Network]):
    """Learns from a path of marginals, then pushes particles from a time to later ones.

    A method states its dynamics; samples, velocities and growth rates follow from them, and are checked, here.
    The module of a method defines one subclass and binds it to ``METHOD``. It must not import torch
    at its top level: settings are read before the workflow has decided what to run.
    """

    settings_type: ClassVar[type[Settings]] = Settings
    """What can be set. A field ``sampling`` holds all that training does not depend on."""
    title: ClassVar[str]
    """A few words for tables and legends."""
    control: ClassVar[bool] = False
    """Whether it bounds the other methods instead of competing with them."""
    learns_from: ClassVar[Literal["path", "snapshots"]] = "path"
    """What ``build`` and ``loss`` are given: any marginals, or an :class:`am.marginals.snapshots.SnapshotPath`,
    which is handed to ``dynamics`` itself where there is nothing to train."""
    weighs: ClassVar[bool] = False
    """Whether its dynamics have a growth rate. It is stated, as tables need it before there is any network, and
    ``sample`` refuses dynamics that do otherwise."""
    simulates: ClassVar[bool] = False
    """Whether training moves particles through time at every step, so that it takes long."""
    dimensions: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Powers of length and of time in the unit of each setting that has one, t being the time."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages of an extra, as :data:`am.extras.EXTRAS` names them, that it cannot be trained without."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def dynamics(self, network: Network) -> Dynamics:
        """How particles move, given ``network``: what was trained.

        For methods that do not train it is None, or the snapshots themselves if they learn from ``snapshots``, or the
        truth itself for a :class:`TruthMethod`.
        """

    @final
    def sample(self, network: Network, start: Tensor, times: Tensor, generator: torch.Generator) -> Prediction:
        """Push ``start``, (n, d) particles at ``times[0]``, to each of ``times``, (T,) increasing.

        ``x[0]`` of the result is ``start``.

        Raises
        ------
        DynamicsError
            Times that do not increase, or outside [0, 1]; dynamics that cannot be followed.
        PredictionError
            What the dynamics returned has another shape, is no tensor or not finite.
        """
        from am.dynamics.trajectory import DynamicsError, Trajectory

        if times.ndim != 1 or not len(times) or not bool((times.diff() > 0).all()):
            raise DynamicsError(f"times must be increasing numbers, from that of the start on, got {times.tolist()}")
        check_learned(times)
        path = self._stated(network).move(start, times, generator)
        if not isinstance(path, Trajectory):
            raise PredictionError(f"{self.title}: its dynamics made a {type(path).__name__}; a Trajectory is needed")
        shape = (len(times), *start.shape)
        _check_numbers(f"{self.title}: x", path.x, shape, times, len(start))
        if path.log_weight is not None:
            _check_numbers(f"{self.title}: log_weight", path.log_weight, shape[:2], times, len(start))
        return Prediction(path.x, path.log_weight, path.nfe)

    @final
    def velocity(self, network: Network, time: Tensor, x: Tensor) -> Tensor | None:
        """Mean velocity of particles per unit of t, (n,), (n, d) -> (n, d); None where it is not known as a field.

        Errors as of :meth:`sample`.
        """
        return self._told("velocity", self._stated(network).mean_velocity, time, x, x.shape)

    @final
    def growth_rate(self, network: Network, time: Tensor, x: Tensor) -> Tensor | None:
        """Rate of log-weights per unit of t, (n,), (n, d) -> (n,); None without weights.

        Up to a function of time where the path tells no masses. Errors as of :meth:`sample`.
        """
        return self._told("growth_rate", self._stated(network).growth_rate, time, x, x.shape[:1])

    @final
    def flow(self, network: Network) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Velocity of the deterministic flow that its samples have the law of, (n,), (n, d) -> (n, d).

        Unlike :meth:`velocity` it can be differentiated in x. None where samples follow no such flow. It refuses times
        as :meth:`sample` does.
        """
        field = self._stated(network).flow
        if field is None:
            return None

        def checked(time: Tensor, x: Tensor) -> Tensor:
            check_learned(time)
            return field(time, x)

        return checked

    def _stated(self, network: Network) -> Dynamics:
        """Its dynamics, if they are dynamics and weigh particles as the method says."""
        from am.dynamics.dynamics import Dynamics

        stated = self.dynamics(network)
        if not isinstance(stated, Dynamics):
            raise PredictionError(
                f"{self.title}: its dynamics are a {type(stated).__name__}; one of am.dynamics is needed, such as Ode"
            )
        if (stated.growth_rate is not None) != self.weighs:
            raise PredictionError(
                f"{self.title}: its dynamics {'have no' if self.weighs else 'have a'} growth rate; "
                f"set 'weighs = {not self.weighs}'"
            )
        return stated

    def _told(
        self,
        name: str,
        field: Callable[[Tensor, Tensor], Tensor] | None,
        time: Tensor,
        x: Tensor,
        shape: tuple[int, ...],
    ) -> Tensor | None:
        """A field at points, detached and checked."""
        import torch

        check_learned(time)
        if field is None:
            return None
        with torch.no_grad():
            found = field(time, x)
        _check_numbers(f"{self.title}: {name}", found, tuple(shape), time[:1], len(x))
        return found.detach()


class TruthMethod(Method["Marginals"]):
    """A method whose ``network`` is the true path, which no method that learns may see: a control, or a bound."""


_SLACK = 1e-6
"""By which a time may pass 0 or 1, since times come in single precision."""


def check_learned(times: Tensor) -> None:
    """Raise DynamicsError unless all of ``times``, of any shape, are in [0, 1], where something was learned."""
    if len(times) and not bool(((times >= -_SLACK) & (times <= 1 + _SLACK)).all()):
        from am.dynamics.trajectory import DynamicsError

        wrong = next(t for t in times.flatten().tolist() if not -_SLACK <= t <= 1 + _SLACK)
        raise DynamicsError(f"nothing was learned of t = {wrong:g}: times are in [0, 1], first to last")


def _check_numbers(what: str, numbers: Any, shape: tuple[int, ...], times: Tensor, particles: int) -> None:
    """Raise PredictionError unless these are finite numbers of a shape, for each particle and time."""
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


def check_per_interval(method: str, settings: Settings, names: Iterable[str], intervals: int) -> None:
    """Raise ConfigError unless each of these settings has one number, or one for each interval between snapshots."""
    for name in names:
        if (given := len(getattr(settings, name))) not in (1, intervals):
            raise ConfigError(f"{method}: {name}: {given} numbers for {intervals} intervals; give one, or one for each")


class TrainedSettings(Settings):
    """Settings of a method with a network."""

    training: TrainingSettings = TrainingSettings()


class TrainedMethod(Method[Trainable]):
    """A method with a network to train."""

    settings_type: ClassVar[type[Settings]] = TrainedSettings
    settings: TrainedSettings

    @abstractmethod
    def build(self, path: Marginals, generator: torch.Generator) -> Trainable:
        """A fresh network; scales come from ``path``, which is looked at through ``generator``."""

    @abstractmethod
    def loss(self, network: Trainable, path: Marginals, stream: Stream) -> Loss:
        """Scalar loss of one step, and scalars worth logging; all randomness is ``stream``'s."""

    def train(self, network: Trainable, path: Marginals, *, key: str, state: Path, **options: Any) -> Trained:
        """The weights that ``network`` should have; it takes steps down the loss.

        Parameters, errors and ``options`` are those of :func:`am.training.loop.train`.
        """
        from am.training.loop import train

        loss: Any = self.loss  # of this network alone
        return train(network, loss, path, self.settings.training, key=key, state=state, **options)


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


class ActionMethod(TrainedMethod["Potential"]):
    """A method whose network is an action s_t(x)."""

    settings_type: ClassVar[type[Settings]] = ActionSettings
    settings: ActionSettings
    reversible: ClassVar[bool] = True
    """Whether -s_{1 - t} is the action of the path run backwards, which noise rules out."""

    def build(self, path: Marginals, generator: torch.Generator) -> Potential:
        """A fresh action.

        Raises
        ------
        ValueError
            Velocities are asked for where ``path`` has none.
        """
        from am.marginals.marginals import MovingMarginals
        from am.potentials.build import build_potential

        if self.settings.estimator == "conditional" and not isinstance(path, MovingMarginals):
            raise ValueError(
                "'estimator: conditional' needs velocities, which points of this path do not have; use 'marginal'"
            )

        return build_potential(self.settings.potential, path, generator)

    def draw(self, network: Potential, path: Any, stream: Stream) -> PathSample:
        """What the loss of a step is estimated from."""
        return stream.draw_moving(path) if self.settings.estimator == "conditional" else stream.draw(path)
