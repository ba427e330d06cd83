"""Which setup tells most of cells that it has not seen: cross-validation among the cells that are at hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from am.config import ConfigError
from am.dynamics.trajectory import DynamicsError
from am.marginals.snapshots import SnapshotPath
from am.methods.closed_form import ClosedForm
from am.methods.contract import PredictionError
from am.models import Model
from am.randomness import generator
from am.training.arithmetic import arithmetic
from am.training.solve import Averages, Fold, Solver, nodes_of, simplest, split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FOLDS, REPEATS, GROUPS = 3, 3, 10
FEATURES = tuple(
    {"shared": shared, "degree": degree, "nodes": 4, "waves": 200, "bandwidths": [0.5, 1.0]}
    for shared, degree in ((True, 0), (False, 1))
)
"""Features of closed forms to choose from, unless others are given."""
_OF_FEATURES = {"features", "solving"}
"""Sections of settings with which losses remain those of the same action."""


@dataclass(frozen=True)
class Setup:
    """A method with its settings, and how it joins snapshots."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """As of :class:`am.Model`."""
    path: Mapping[str, Any] = field(default_factory=dict)
    """``coupling``, ``smoothing`` and ``relaxation`` of :class:`am.SnapshotPath`."""

    def model(self) -> Model:
        """The method, not fitted."""
        return Model(self.method, **self.settings)

    def __str__(self) -> str:
        told = {**self.settings, **self.path}
        return ", ".join([self.method, *(f"{name} {value}" for name, value in told.items())])


@dataclass(frozen=True)
class Compared:
    """A number beside the least that any setup reached."""

    value: float
    above: float
    """By how much it is above the least."""
    error: float
    """Standard error of that."""

    @property
    def as_good(self) -> bool:
        """Whether it is above the least by no more than one standard error."""
        return self.above <= self.error

    def __str__(self) -> str:
        return f"{self.value:.4f} (above the least by {self.above:.4f} +- {self.error:.4f})"


@dataclass(frozen=True)
class Tried:
    """What cells that were held out told of a setup."""

    setup: Setup
    distance: Compared
    """Energy distance of cells pushed one interval to those that were seen there, mean over intervals."""
    mass: Compared | None
    """Relative error of the mass of pushed cells, beside those whose distance is as good; None where none is known."""

    def __str__(self) -> str:
        return f"{self.setup}: distance {self.distance}" + ("" if self.mass is None else f", mass error {self.mass}")


@dataclass(frozen=True)
class Choice:
    """The setup that was chosen, and all that were tried."""

    setup: Setup
    tried: Sequence[Tried]
    """From the simplest on."""
    path: SnapshotPath
    """Through all cells, as the setup joins them."""

    def fit(self, seed: int = 0) -> Model:
        """The setup, fitted to all cells."""
        return self.setup.model().fit(self.path, seed)

    def __str__(self) -> str:
        return "\n".join(f"{'*' if row.setup == self.setup else ' '} {row}" for row in self.tried)


def choose(
    points: Sequence[Tensor | ArrayLike],
    times: Sequence[float],
    setups: Sequence[Setup] | None = None,
    *,
    masses: Sequence[float] | None = None,
    folds: int = FOLDS,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Choice:
    """Choose a setup by cells that it has not seen.

    The cells of each time are split into parts, several times. Each part is left out in turn, and what it has of a
    time is pushed to the next. A setup is as good as the best if it is farther from the cells there by no more than
    one standard error and, of those and where masses are known, no more off in mass. The first of them is chosen.
    Errors are those of a jackknife over ten groups of cells, pair by pair of setups.

    Closed forms that differ in nothing but features compare by their losses before: the fewest unknowns, then the
    largest ridge, within one standard error over parts.

    Parameters
    ----------
    points, times, masses
        Of the snapshots, as of :class:`am.SnapshotPath`.
    setups
        What to choose from, the simplest first; those of :func:`am.selection.default_setups` if it is not given.
    folds, repeats
        Into how many parts cells are split, and how often. Distances compare cells that are left out together, so that
        few and large parts tell most.

    Raises
    ------
    ConfigError
        There is nothing to choose from, a setting is wrong, or no setup can be followed from a time to the next.
    ValueError
        Points or times make no path, or a time has too few cells.

    Examples
    --------
    >>> import am, torch
    >>> clouds = [torch.randn(60, 2), torch.randn(60, 2) + 3]
    >>> setups = [am.Setup("am_closed", {"waves": 5}), am.Setup("eam_closed", {"waves": 5, "sigma": 0.5})]
    >>> choice = am.choose(clouds, [0, 1], setups, folds=2)
    >>> choice.fit().sample(clouds[0], [0, 1]).x.shape
    torch.Size([2, 60, 2])
    """
    if folds < 2 or repeats < 1:
        raise ConfigError(f"folds is {folds} and repeats {repeats}; two folds and one repeat are the least")
    whole = SnapshotPath(points, times, masses=masses)
    if (fewest := min(map(len, whole.points))) < GROUPS * folds:
        raise ValueError(
            f"a time has {fewest} cells: too few for {GROUPS} groups in each of {folds} folds; take fewer folds"
        )
    setups = default_setups(whole.points, times, masses) if setups is None else setups
    if not setups:
        raise ConfigError("there is no setup to choose from")
    members = [_Member(place, setup, setup.model().method) for place, setup in enumerate(setups)]
    found: dict[int, tuple[Setup, SnapshotPath, Tensor]] = {}
    for group in _grouped(members, lambda member: tuple(sorted(member.setup.path.items()))):
        path = SnapshotPath(whole.points, times, masses=masses, **group[0].setup.path)
        parts = [part for repeat in range(repeats) for part in split(path, folds, f"choose/{seed}/{repeat}")]
        for place, setup, fits in _fitted(group, path, parts, folds, seed):
            found[place] = setup, path, _scores(fits, parts, seed)
    fitted = [found[place] for place in sorted(found)]
    distances, mass_errors = torch.stack([scores for *_, scores in fitted], 1)
    if not bool(distances[:, 0].isfinite().any()):
        raise ConfigError("no setup can be followed from one time to the next; try larger ridges")
    distance = _compared(distances, range(len(fitted)))
    good = [i for i, one in enumerate(distance) if one.as_good]
    mass: list[Compared | None] = [None] * len(fitted)
    if masses is not None:
        mass = [*_compared(mass_errors, good)]
        good = [i for i in good if (one := mass[i]) is not None and one.as_good]
    rows = [Tried(setup, near, kept) for (setup, *_), near, kept in zip(fitted, distance, mass, strict=True)]
    return Choice(rows[good[0]].setup, rows, fitted[good[0]][1])


def _compared(values: Tensor, among: Sequence[int]) -> list[Compared]:
    """(S, 1 + groups) values, first of all cells and then without each group, beside the least of some."""
    above = values - values[min(among, key=lambda i: float(values[i, 0]))]
    error = ((GROUPS - 1) * above[:, 1:].var(1, correction=0)).sqrt()
    return [Compared(*row) for row in zip(values[:, 0].tolist(), above[:, 0].tolist(), error.tolist(), strict=True)]


def default_setups(
    points: Sequence[Tensor | ArrayLike], times: Sequence[float], masses: Sequence[float] | None = None
) -> list[Setup]:
    """Closed forms with several features: AM and eAM with more and more noise; where masses are known, uAM.

    Noise, lambda and relaxation are in units of the root mean square distance of the points from their centre, per
    coordinate; noise of an interval between two snapshots.
    """
    x = torch.cat([torch.as_tensor(cloud, dtype=torch.float64) for cloud in points])
    unit = float((x - x.mean(0)).square().mean().sqrt()) or 1.0
    noise = unit * math.sqrt(len(times) - 1)
    kinds = [Setup("am_closed"), *(Setup("eam_closed", {"sigma": _round(share * noise)}) for share in (0.5, 1.0))]
    if masses is not None:
        kinds = [
            Setup("uam_closed", {"growth": _round(growth / unit**2)}, {"coupling": "unbalanced", "relaxation": cost})
            for cost in (_round(unit**2),)
            for growth in (0.1, 0.3, 0.03)
        ]
    return [replace(kind, settings={**kind.settings, **features}) for kind in kinds for features in FEATURES]


def _round(number: float) -> float:
    """Two digits: what is chosen is no better known."""
    return float(f"{number:.2g}")


@dataclass(frozen=True)
class _Member:
    """A setup with its place among all."""

    place: int
    setup: Setup
    method: Any

    @property
    def family(self) -> str:
        """What setups have in common that differ in nothing but features, so that their losses compare."""
        if not isinstance(self.method, ClosedForm):
            return f"{self.place}"
        return f"{self.setup.method} {self.method.settings.model_dump(exclude=_OF_FEATURES)}"


def _grouped(members: Iterable[_Member], by: Callable[[_Member], Any]) -> list[list[_Member]]:
    groups: dict[Any, list[_Member]] = {}
    for member in members:
        groups.setdefault(by(member), []).append(member)
    return list(groups.values())


_Fits = Sequence[tuple[Any, Any]]
"""For each fold, a method and its network."""


def _fitted(
    members: Sequence[_Member], path: SnapshotPath, parts: Sequence[Fold], folds: int, seed: int
) -> Iterator[tuple[int, Setup, _Fits]]:
    """One setup of each family with its place, fitted without each part."""
    solvers = _solvers([member for member in members if isinstance(member.method, ClosedForm)], path, parts, seed)
    for family in _grouped(members, lambda member: member.family):
        first = family[0]
        if first.place in solvers:
            yield first.place, *_least(family, [solvers[member.place] for member in family], path, folds)
        else:
            models = [first.setup.model().fit(part.rest, seed) for part in parts]
            yield first.place, first.setup, [(model.method, model.network) for model in models]


def _solvers(closed: Sequence[_Member], path: SnapshotPath, parts: Sequence[Fold], seed: int) -> dict[int, Solver]:
    """What solves each closed form, by its place: those with the same functions of space share their means."""
    networks, keys = {}, {}
    for member in closed:
        key, settings = f"{member.setup.method}/{seed}", member.method.settings
        networks[member.place] = network = member.method.build(path, generator(key, "build"))
        functions = settings.features.model_dump(exclude={"shared", "degree"}), settings.solving.model_dump()
        own = nodes_of(network, settings.solving), member.method.form(path).moving
        keys[member.place] = f"{functions} {own}"
    solvers = {}
    for group in _grouped(closed, lambda member: keys[member.place]):
        first = networks[group[0].place]
        forms = [member.method.form(path) for member in group]
        averages = Averages(first, path, forms, group[0].method.settings.solving, f"choose/{seed}", parts)
        for member in group:
            network = networks[member.place]
            common = {name: value for name, value in first.state_dict().items() if name not in {"theta", "offset"}}
            network.load_state_dict(network.state_dict() | common)
            solvers[member.place] = Solver(network, averages)
    return solvers


def _least(family: Sequence[_Member], solvers: Sequence[Solver], path: SnapshotPath, folds: int) -> tuple[Setup, _Fits]:
    """The features and the ridge that losses on what was held out choose."""
    forms = [one.method.form(path) for one in family]
    losses = [solver.held_out(form) for solver, form in zip(solvers, forms, strict=True)]
    tried = [(k, ridge) for k, solver in enumerate(solvers) for ridge in solver.ridges]
    order = [(-solvers[k].network.theta.numel(), ridge) for k, ridge in tried]
    k, ridge = tried[simplest(torch.cat(losses, 1), order, folds)]
    setup, method, solver, fits = family[k].setup, family[k].method, solvers[k], []
    for i in range(solver.averages.number):
        network = copy.deepcopy(solver.network)
        network.load_state_dict(network.state_dict() | solver.without(i, forms[k], ridge))
        fits.append((method, network.eval()))
    return replace(setup, settings={**setup.settings, "ridges": [ridge]}), fits


def _scores(fits: _Fits, folds: Sequence[Fold], seed: int) -> Tensor:
    """Distance and error of mass of cells that were held out, of all and without each group: (2, 1 + groups).

    Infinite where cells cannot be followed, or one of them carries all weight.
    """
    points, times, masses = folds[0].rest.points, folds[0].held.times.tolist(), folds[0].held.masses
    group = [_groups(sum(len(part.points[k]) for part in folds[0][:2]), seed, k) for k in range(len(points))]
    distances, found = [], []
    lost = torch.full((2, 1 + GROUPS), math.inf, dtype=torch.float64)
    for i, ((method, network), fold) in enumerate(zip(fits, folds, strict=True)):
        held = fold.held.points
        for k, step in enumerate(pairwise(times)):
            try:
                with arithmetic():
                    rng = generator("choose", seed, "push", i, k)
                    pushed = method.sample(network, held[k], held[k].new_tensor(step), rng)
            except (DynamicsError, PredictionError):  # particles ran away
                return lost
            log_weight = torch.zeros(len(held[k])) if pushed.log_weight is None else pushed.log_weight[1]
            belongs = [group[k][fold.cells[k]], group[k + 1][fold.cells[k + 1]]]
            distances.append(energies(pushed.x[1], held[k + 1], log_weight, *belongs))
            found.append(_without_each(log_weight.double().exp(), belongs[0]))
    distance = torch.stack(distances).mean(0)
    mass = torch.stack(found).view(len(fits), -1, 1 + GROUPS).mean(0)
    due = torch.ones(len(times)) if masses is None else torch.tensor(masses)
    scores = torch.stack([distance, (mass / (due[1:] / due[:-1])[:, None] - 1).abs().mean(0)])
    return scores if bool(scores.isfinite().all()) else lost


def _groups(n: int, seed: int, time: int) -> Tensor:
    """The group of each of n cells of a time, the same however cells are split: (n,)."""
    return torch.randperm(n, generator=generator("choose", seed, "groups", time)) % GROUPS


def _without_each(values: Tensor, group: Tensor) -> Tensor:
    """Mean of (n,) values, and without each group: (1 + groups,)."""
    one = torch.nn.functional.one_hot(group, GROUPS).to(values)
    totals, counts = values @ one, one.sum(0)
    return torch.cat([values.mean()[None], (totals.sum() - totals) / (counts.sum() - counts)])


def energies(x: Tensor, y: Tensor, log_weight: Tensor, x_group: Tensor, y_group: Tensor) -> Tensor:
    """Energy distance as of :func:`am.metrics.energy.energy_distance`, and without each group: (1 + groups,).

    From one sum of distances for each pair of groups.
    """
    one = torch.nn.functional.one_hot
    w = torch.softmax(log_weight.double(), 0)
    wx, wy = w[:, None] * one(x_group, GROUPS), one(y_group, GROUPS).double() / len(y)
    between, within_x, within_y = (
        a.T @ torch.cdist(p.double(), q.double(), compute_mode="donot_use_mm_for_euclid_dist") @ b
        for a, p, b, q in ((wx, x, wy, y), (wx, x, wx, x), (wy, y, wy, y))
    )

    def rest(sums: Tensor) -> Tensor:
        """Of all pairs, and of pairs without each group."""
        return torch.cat([sums.sum()[None], sums.sum() - sums.sum(0) - sums.sum(1) + sums.diagonal()])

    def left(weight: Tensor) -> Tensor:
        """The same of one weight for each group."""
        return torch.cat([weight.sum()[None], weight.sum() - weight])

    mass_x, mass_y = left(wx.sum(0)), left(wy.sum(0))
    pairs_x, pairs_y = mass_x**2 - left(wx.square().sum(0)), mass_y**2 - left(wy.square().sum(0))
    return 2 * rest(between) / (mass_x * mass_y) - rest(within_x) / pairs_x - rest(within_y) / pairs_y
