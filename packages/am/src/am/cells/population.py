"""Cells that are fitted together, and what a method has learned of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from am.cells.learners import AUTO, joined, learner, named
from am.cells.quality import Interval, Weights, averaged, held_out, intervals, some
from am.config import ConfigError
from am.config import digest as digest_of
from am.dynamics.weighted import self_normalised
from am.io.time_course import Floats, Points, TimeCourse
from am.marginals.snapshots import SnapshotPath
from am.marginals.units import Units
from am.methods.contract import ActionMethod, Method, Prediction, TrainedMethod
from am.metrics.fields import cosines
from am.randomness import derive_seed, generator
from am.selection import FOLDS, GROUPS, Choice, choose
from am.training.arithmetic import arithmetic
from am.training.loop import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from am.marginals.snapshots import Coupling, Masses
    from am.training.devices import Processes

CHUNK = 20_000
"""Particles that are moved at once: a million at a time would need memory that a workstation does not have."""
ENOUGH = 100
"""Held-out cells of each time, with which one more fit would make no difference that counts."""
CHOOSING = 500
"""Cells of each time that choose a setup; more would cost seconds and hardly change the choice."""
_STEP = 0.01
"""Of t, over which velocities are measured of methods that do not tell them as a field."""
_REPEATS = 64
_LINES = 100


@dataclass(frozen=True)
class Population:
    """Cells that are fitted together, in the units that a method sees."""

    course: TimeCourse
    learner: TrainedMethod[Any]
    units: Units
    path: SnapshotPath
    key: str
    """From which all random numbers derive."""

    @classmethod
    def of(
        cls,
        course: TimeCourse,
        learner: TrainedMethod[Any],
        key: str,
        masses: Masses = "equal",
        coupling: Coupling | None = None,
        relaxation: float | None = None,
    ) -> Population:
        """The path through the cells of a time course.

        Raises
        ------
        DataError
            Masses are not one positive number for each time.
        """
        units = Units.of(course)
        plain = units.path(course, masses)
        path = SnapshotPath(
            plain.points,
            plain.times.tolist(),
            coupling or "optimal",
            relaxation=1.0 if relaxation is None else relaxation,
            masses=plain.masses,
        )
        return cls(course, learner, units, path, key)

    def chosen(self, seed: int, share: float = 0.0) -> tuple[Population, Choice | None]:
        """The same cells with the setup of :func:`am.choose`; with that of ``auto``, and None, where they choose none.

        Then they are too few, or will be without the ``share`` that is to be held out, or no setup can be followed. The
        setup before counts for nothing, for other cells may have chosen it. The key names the method.
        """
        points = [some(x, CHOOSING, f"choose/{seed}/{k}") for k, x in enumerate(self.path.points)]
        fewest = min(map(len, points))
        folds = min(FOLDS, fewest // GROUPS)
        if (1 - share) * fewest < 2 * GROUPS:
            return self._default(), None
        try:
            choice = choose(points, self.path.times.tolist(), masses=self.path.masses, folds=folds, seed=seed)
        except ConfigError:  # no setup can be followed
            return self._default(), None
        method = choice.setup.model().method
        assert isinstance(method, TrainedMethod)  # noqa: S101  (for type checkers: it was fitted)
        return self._with(choice.setup.method, method, **choice.setup.path), choice

    def _default(self) -> Population:
        """The same cells with the setup of ``auto`` that nothing has chosen."""
        masses: Masses = "equal" if self.path.masses is None else self.path.masses
        name = named(AUTO, masses)
        method = learner(name, {}, masses)
        coupling, cost = joined(name, method, None, None)
        return self._with(name, method, coupling=coupling or "optimal", relaxation=1.0 if cost is None else cost)

    def _with(self, name: str, method: TrainedMethod[Any], **joining: Any) -> Population:
        """The same cells with another method, which the key names, and joined otherwise."""
        path = SnapshotPath(self.path.points, self.path.times.tolist(), masses=self.path.masses, **joining)
        kind, _, rest = self.key.partition("/")
        return replace(self, learner=method, path=path, key=f"{kind}/{name}/{rest.partition('/')[2]}")

    def learn(
        self,
        fabric: Processes,
        state: Path,
        digest: str = "",
        checkpoint_seconds: float = 30.0,
        *,
        backward: bool = True,
    ) -> Dynamics:
        """Train, or go on with what was killed.

        Parameters
        ----------
        state
            Folder of checkpoints.
        digest
            Of all that weights depend on: training begins anew where it differs.
        backward
            Whether cells will also be pushed back, which some methods learn apart.

        Raises
        ------
        TrainingError
            Training cannot go on.
        """
        train = _Training(self.learner, fabric, state, digest, checkpoint_seconds)
        network, trained = train(self.path, self.key)
        models = {"": trained}
        back: Any = None
        if is_turned(self.learner):
            back = network.reversed()
        elif backward:  # learned from the course run backwards
            back, models["_backward"] = train(_backwards(self.path), f"{self.key}/backward")
        return Dynamics(self.learner, network, back, self.key, fabric.device, models)


CHOSEN = "Chosen by cells that were held out"
NOT_CHOSEN = (
    "settings are the default ones: cells chose none, since a fit sees fewer than 20 of a time, or no setup could be "
    "followed"
)


def told_of(choice: Choice | None) -> dict[str, Any]:
    """What was chosen, and what was tried, for settings; nothing where nothing was chosen."""
    return {} if choice is None else {"chosen": str(choice.setup), "tried": [str(row) for row in choice.tried]}


def is_turned(learner: Method[Any]) -> bool:
    """Whether cells run backwards along the same field."""
    return isinstance(learner, ActionMethod) and learner.reversible


@dataclass(frozen=True)
class Dynamics:
    """What was learned of a population; lengths and times are those of its units."""

    learner: Method[Any]
    network: Any
    backward: Any
    """What pushes cells back, from 1 - t on; None where nothing was learned for that."""
    key: str
    device: torch.device
    models: dict[str, Trained]
    """Weights and logs of training, by the ends of their files' names."""

    def push(self, x: Tensor, times: list[float], key: str, *, back: bool = False) -> Prediction:
        """Move (n, d) particles from the first of ``times`` to the others, in chunks.

        Times decrease where particles go ``back``.
        """
        name = f"{self.key}/{key}"
        network = self.backward if back else self.network
        moments = [1 - t for t in times] if back else times
        x = x.to(self.device)
        rng, at = generator(name, "sample", moments[0], device=x.device), torch.tensor(moments, device=x.device)
        parts = [self.learner.sample(network, chunk, at, rng) for chunk in x.split(CHUNK)]
        weights = [part.log_weight for part in parts if part.log_weight is not None]
        return Prediction(
            torch.cat([part.x for part in parts], 1),
            torch.cat(weights, 1) if weights else None,
            max(part.nfe for part in parts),
        )

    def velocity(self, t: float, x: Tensor) -> Tensor:
        """Mean velocity at one time, (n, d): what the method tells, or how far it moves particles in a short step."""
        field = self._field(self.learner.velocity, t, x)
        if field is not None:
            return field
        begin = min(t, 1 - _STEP)

        def once(repeat: int) -> Tensor:
            return (self.push(x, [begin, begin + _STEP], str(repeat)).x[1] - x) / _STEP

        first = once(0)
        if torch.equal(first, once(1)):  # nothing is random
            return first
        return torch.stack([first, *(once(repeat) for repeat in range(1, _REPEATS))]).mean(0)

    def growth_rate(self, t: float, x: Tensor) -> Tensor | None:
        """Rates of log-weights at one time, (n,); None of methods that weigh no cells."""
        return self._field(self.learner.growth_rate, t, x)

    def action(self, t: float, x: Tensor) -> Tensor | None:
        """The action at one time, (n,), less its mean over the points; None of methods that learn none."""
        if not isinstance(self.learner, ActionMethod):
            return None

        def value(network: Any, time: Tensor, points: Tensor) -> Tensor:
            with torch.no_grad():
                return network(time, points)

        action = self._field(value, t, x)
        assert action is not None  # noqa: S101  (for type checkers)
        return action - action.mean()

    def _field(self, field: Callable[[Any, Tensor, Tensor], Tensor | None], t: float, x: Tensor) -> Tensor | None:
        """A field at one time and all of (n, d) points, in chunks; None where the method does not know it."""
        x = x.to(self.device)
        parts = [field(self.network, chunk.new_full((len(chunk),), t), chunk) for chunk in x.split(CHUNK)]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if known else None


@dataclass(frozen=True)
class Told:
    """What is told of every cell, by the names of columns and embeddings."""

    obs: dict[str, Points]
    obsm: dict[str, Points]
    weights: list[Weights]
    """How much the weights of predictions are worth."""
    nfe: int

    def with_errors(self, errors: Mapping[str, Points]) -> Told:
        """The same, and standard errors by the names of columns and embeddings."""
        wide, narrow = _apart(errors)
        return replace(self, obs={**self.obs, **narrow}, obsm={**self.obsm, **wide})


def _apart(found: Mapping[str, Points]) -> tuple[dict[str, Points], dict[str, Points]]:
    """Embeddings, and columns."""
    wide = {name: values for name, values in found.items() if name.startswith("X_")}
    return wide, {name: values for name, values in found.items() if name not in wide}


def tell(population: Population, dynamics: Dynamics) -> Told:
    """Velocity, action and growth rate of each cell at its own time; where it is at the last time and at the first.

    The action has mean zero at each time. So have rates, and weights have mean one, unless masses are given.
    """
    course, units = population.course, population.units
    absolute = population.path.masses is not None
    wide = _Columns(len(course.x))
    weights: list[Weights] = []
    nfe = 0
    first, last = course.times[[0, -1]].tolist()
    known = fields(course, units, dynamics, absolute=absolute)
    for moment in course.times.tolist():
        rows = course.time == moment
        x = units.seen(course, moment).to(dynamics.device)
        t = float(units.clock.learning(moment))
        action = dynamics.action(t, x)
        if action is not None:
            wide.put("am_action", rows, units.actions(action, moment))
        for direction, end in (("forward", 1.0), ("backward", 0.0)):
            back = direction == "backward"
            moved = Prediction(x[None], None, 0) if t == end else dynamics.push(x, [t, end], direction, back=back)
            nfe += moved.nfe
            wide.put(f"X_am_{direction}", rows, units.positions(moved.x[-1]))
            if "am_growth" in known:
                log_weight = x.new_zeros(len(x)) if moved.log_weight is None else moved.log_weight[-1]
                weights.append(Weights.of(moment, first if back else last, log_weight))
                weight = (log_weight if absolute else self_normalised(log_weight)).exp()
                wide.put(f"am_{direction}_weight", rows, weight.cpu().numpy().astype(np.float64))
    obsm, obs = _apart({name: _narrow(values) for name, values in {**known, **wide.found}.items()})
    if course.velocity is not None:
        found, measured = map(torch.from_numpy, (obsm["X_am_velocity"], course.velocity))
        obs["am_velocity_cosine"] = cosines(found, measured).numpy()
    return Told(obs, obsm, weights, nfe)


class _Columns:
    """Values of all cells, which become known time by time."""

    def __init__(self, n: int) -> None:
        self.found: dict[str, Floats] = {}
        self._n = n

    def put(self, name: str, rows: Any, values: Floats) -> None:
        self.found.setdefault(name, np.zeros((self._n, *values.shape[1:])))[rows] = values


def fields(course: TimeCourse, units: Units, dynamics: Dynamics, *, absolute: bool) -> dict[str, Floats]:
    """``X_am_velocity`` (n, d) and, of methods that weigh cells, ``am_growth`` (n,) of each cell at its own time.

    They are in units of the basis and of the column. Rates have mean zero at each time, unless they are ``absolute``.
    """
    wide = _Columns(len(course.x))
    for moment in course.times.tolist():
        rows = course.time == moment
        x = units.seen(course, moment).to(dynamics.device)
        t = float(units.clock.learning(moment))
        wide.put("X_am_velocity", rows, units.velocities(dynamics.velocity(t, x), moment))
        growth = dynamics.growth_rate(t, x)
        if growth is not None:
            wide.put("am_growth", rows, units.rates(growth if absolute else growth - growth.mean(), moment))
    return wide.found


def enough(share: float, fewest: int) -> int:
    """Folds that together hold out :data:`ENOUGH` cells of each time, or all.

    Examples
    --------
    >>> enough(0.2, 250), enough(0.2, 60)
    (2, 5)
    """
    return min(round(1 / share), math.ceil(ENOUGH / (share * fewest))) if share else 1


def measured(
    population: Population,
    share: float,
    replicates: Sequence[Any] | None,
    learn: Callable[[Population, str], Dynamics],
    choosing: int | None = None,
    watch: Callable[[Population, Dynamics], None] | None = None,
) -> list[Interval]:
    """How good a fit is, by others to fewer cells, which push the others; nothing where ``share`` is 0.

    A method that is one solve is fitted without one fold of cells after the other, until :data:`ENOUGH` of each time
    were held out, or all; a method that is trained by steps once.

    Parameters
    ----------
    share, replicates
        Of the cells of each time that are held out: see :func:`am.cells.quality.held_out`.
    learn
        Of a population, with a name for the state of its training.
    choosing
        Seed with which each of these fits chooses its setup anew, among the cells that it sees; None where it is given.
    watch
        Is shown each of these fits.

    Raises
    ------
    DataError
        The share leaves too few cells.
    """
    course, path = population.course, population.path
    most = 1 if hasattr(population.learner.settings, "training") else enough(share, min(map(len, path.points)))
    key = f"fit/{population.key.rpartition('/')[2]}"  # so that all methods hold out the same cells
    found, folds = [], held_out(course, share, key, replicates, most)
    for number, out in enumerate(folds):
        name = f"held out {number}"
        part = Population.of(
            course.some(~out),
            population.learner,
            f"{population.key}/{name}",
            "equal" if path.masses is None else path.masses,
            path.coupling,
            path.relaxation,
        )
        if choosing is not None:
            part, _ = part.chosen(choosing)
        dynamics = learn(part, name)
        if watch is not None:
            with arithmetic():
                watch(part, dynamics)
        found.append(judged(part, dynamics, course.some(out & ~population.units.stray), len(folds)))
    return averaged(found) if found else []


def judged(
    population: Population, dynamics: Dynamics, fresh: TimeCourse | None = None, folds: int = 1
) -> list[Interval]:
    """How near cells come that are pushed to later snapshots: fresh ones, else those that were trained on."""
    units, course = population.units, population.course
    times = course.times.tolist()
    points = population.path.points if fresh is None else [units.seen(fresh, time) for time in times]
    with arithmetic():
        return intervals(
            lambda x, begin, end: dynamics.push(x, [begin, end], "quality"),
            points,
            population.path.times.tolist(),
            times,
            units.spread,
            population.key,
            dynamics.device,
            None if fresh is None else population.path,
            folds,
        )


@dataclass(frozen=True)
class Lines:
    """A few cells of the first snapshot on their way to the last."""

    moments: Floats
    """(T,) learning times."""
    x: Tensor
    """(T, n, d) positions."""
    weights: Floats | None
    """(n,) at the end, of mean one; None without."""


def lines(population: Population, dynamics: Dynamics) -> Lines:
    """Trajectories for a figure."""
    cells = population.path.points[0]
    chosen = torch.randperm(len(cells), generator=generator(population.key, "lines"))[:_LINES]
    moments = np.linspace(0, 1, 51)
    moved = dynamics.push(cells[chosen], moments.tolist(), "lines")
    weights = None if moved.log_weight is None else self_normalised(moved.log_weight[-1]).exp().cpu().double().numpy()
    return Lines(moments, moved.x, weights)


@dataclass(frozen=True)
class _Training:
    """All that training two networks shares."""

    learner: TrainedMethod[Any]
    fabric: Processes
    state: Path
    digest: str
    checkpoint_seconds: float

    def __call__(self, path: SnapshotPath, key: str) -> tuple[Any, Trained]:
        """The network with its averaged weights, on the device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(key, "weights"))
            network = self.learner.build(path, generator(key, "build"))
        trained = self.learner.train(
            network,
            path,
            key=key,
            state=self.state / digest_of(key)[:16],
            digest=self.digest,
            fabric=self.fabric,
            checkpoint_seconds=self.checkpoint_seconds,
        )
        network.load_state_dict(trained.weights)
        return network, trained


def _backwards(path: SnapshotPath) -> SnapshotPath:
    times = (1 - path.times.flip(0)).tolist()
    masses = None if path.masses is None else path.masses[::-1]
    return SnapshotPath(path.points[::-1], times, path.coupling, path.smoothing, path.relaxation, masses)


def _narrow(values: Floats) -> Points:
    """In single precision, unless numbers are too large for it."""
    holds = np.abs(values).max(initial=0) <= np.finfo(np.float32).max
    return values.astype(np.float32) if holds else values
