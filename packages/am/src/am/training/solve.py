"""Training without steps: the minimum of a loss that is a quadratic form, found by one linear solve.

Features of space are averaged at a few nodes of time (:mod:`am.objectives.quadratic`). The ridge is the largest whose
loss on what was held out is within one standard error of the smallest. Held out is a part of the cells, whose couplings
are solved anew, or of the draws where a path can be drawn from for ever.
"""

from __future__ import annotations

import csv
import logging
import math
import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor

from am.io.files import atomic
from am.marginals.marginals import Marginals, MovingMarginals
from am.marginals.snapshots import FULL_PLAN, Pairs, SnapshotPath
from am.objectives.path import TimeWeight
from am.objectives.quadratic import Moments, Quadratic, Quadrature, mean_moments
from am.potentials.features import SolvingSettings
from am.potentials.linear import LinearAction, LinearNetwork, SpaceFeatures
from am.randomness import generator
from am.training.checkpoint import read_tensors, write_tensors
from am.training.devices import Processes, launch
from am.training.fingerprint import fingerprint
from am.training.loop import Trained, TrainingError, only_run

log = logging.getLogger(__name__)

_CHUNK, _BATCH = 5_000, 512
"""Points whose features are held at once; as many where each chunk is coupled anew."""
_Names = tuple[object, ...]
"""What random numbers are a function of."""


@dataclass(frozen=True)
class Form:
    """Which loss it is."""

    weight: TimeWeight
    sigma: float = 0.0
    """Noise of eAM, in units of the points."""
    growth: float = 0.0
    """lambda of uAM."""
    moving: bool = False
    """Whether b comes from the curves that points lie on, and not from points alone."""
    still: bool = False
    """Whether b comes from noise alone: the loss of score matching, with sigma^2 = 2."""
    log_mass: Callable[[Tensor], Tensor] | None = None
    """Logarithm of the whole mass, (n,) -> (n,), where the loss is of it."""


def solve(
    network: LinearNetwork,
    marginals: Marginals,
    form: Form,
    settings: SolvingSettings,
    *,
    key: str,
    state: Path,
    fabric: Processes | None = None,
    checkpoint_seconds: float = 30.0,
    tensorboard: Path | None = None,
    digest: str | None = None,
) -> Trained:
    """The coefficients of least loss; those that ``state`` holds, if they are of the same settings and data.

    Parameters are those of :func:`am.training.loop.train`. Every process computes the same on its own processor.
    There are no steps, so ``checkpoint_seconds`` and ``tensorboard`` change nothing: what was killed begins anew.

    Raises
    ------
    TrainingError
        Moments of the features are not finite, or another process holds ``state``.
    CheckpointError
        What ``state`` holds is corrupt.
    """
    digest = digest or fingerprint([key, settings, form, network, marginals])
    file, rows = state / "checkpoint.safetensors", state / "training.csv"
    fabric = fabric or launch("cpu")
    with only_run(state, fabric):
        if file.exists():
            weights, about = read_tensors(file)
            if about.get("digest") == digest:
                return Trained(weights, {1: weights}, rows, about["seconds"])
        begun = clock.monotonic()
        solved, row = Solver(network, Averages(network, marginals, [form], settings, key)).solve(form)
        seconds = clock.monotonic() - begun
        weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()} | solved
        if fabric.is_global_zero:
            row = {"step": 1, "seconds": round(seconds, 3), **row}
            with atomic(rows) as temporary, temporary.open("w", newline="") as lines:
                writer = csv.DictWriter(lines, list(row), lineterminator="\n")
                writer.writeheader()
                writer.writerow(row)
            write_tensors(file, weights, {"step": 1, "seconds": seconds, "digest": digest})
            log.info("%s: %d unknowns, held-out loss %.4g", key, solved["theta"].numel(), row["held_out"])
        return Trained(weights, {1: weights}, rows, seconds)


def simplest(losses: Tensor, order: Sequence[Any], folds: int | None = None) -> int:
    """Index of the simplest choice that is not worse than the best one by more than one standard error over folds.

    Parameters
    ----------
    losses
        (folds, R) held-out losses. The standard error is that of their differences to those of the best choice.
    order
        R things that compare: the largest is of the simplest choice. Of ridges, it is the ridge.
    folds
        How many folds share no cell, where cells were split several times; all of them if it is not given.
    """
    above = losses - losses[:, [int(losses.mean(0).argmin())]]
    error = above.std(0) / math.sqrt(folds or len(above)) if len(above) > 1 else torch.zeros_like(above[0])
    as_good = [i for i, good in enumerate((above.mean(0) <= error).tolist()) if good]
    return max(as_good, key=lambda i: order[i])


class _Points(NamedTuple):
    """Points of q_t at one time, in the network's units."""

    z: Tensor
    """(n, d)"""
    share: Tensor
    """(n,) of all points; those of all chunks add up to one."""
    velocity: Tensor | None = None
    """(n, d) per unit of t."""
    gain: Tensor | None = None
    """(n,) how much of the share comes, or goes, per unit of t."""


@dataclass(frozen=True)
class _Curves:
    """Curves between the coupled particles of two snapshots, in the network's units: all of them, or some.

    Sums over all pairs of a coupling have no noise of draws.
    """

    pairs: Pairs
    noise: Tensor | None
    """(n, d) of a bridge around each curve."""
    length: float
    """Of the interval."""

    @classmethod
    def of(cls, pairs: Pairs, smoothing: float, length: float, draws: int, rng: torch.Generator) -> _Curves:
        """All pairs, or ``draws`` of them where there are more; each several times where there is noise to be drawn."""
        common = (pairs.first + pairs.second) / 2
        if len(common) > draws:
            # Evenly spread over the pairs, which stand particle by particle: each has its share to within one draw.
            levels = (torch.arange(draws) + torch.rand(1, generator=rng, dtype=torch.float64)) / draws * common.sum()
            index = torch.searchsorted(common.cumsum(0), levels, right=True).clamp(max=len(common) - 1)
            # A pair is drawn by the mean of its shares, so that neither share of a drawn one is above two parts.
            first, second = (share[index] / common[index] / draws for share in (pairs.first, pairs.second))
            pairs = Pairs(pairs.start[index], pairs.end[index], first / first.sum(), second / second.sum())
        if not smoothing:
            return cls(pairs, None, length)
        copies = 2 * math.ceil(draws / len(pairs.first) / 2)
        half = torch.randn(copies // 2, *pairs.start.shape, generator=rng, dtype=torch.float64)
        start, end = (x.repeat(copies, 1) for x in pairs[:2])
        first, second = (share.repeat(copies) / copies for share in pairs[2:])
        noise = smoothing * torch.cat([half, -half]).flatten(0, 1)
        return cls(Pairs(start, end, first, second), noise, length)

    def at(self, u: float) -> Iterator[_Points]:
        """Where a part u of the interval has passed, in chunks."""
        for first in range(0, len(self.pairs.first), _CHUNK):
            part = slice(first, first + _CHUNK)
            start, end, before, after = (each[part] for each in self.pairs)
            z, velocity = (1 - u) * start + u * end, end - start
            if self.noise is not None:
                width = math.sqrt(u * (1 - u))
                z = z + width * self.noise[part]
                velocity = velocity + (0.5 - u) / max(width, 1e-6) * self.noise[part]
            share, gain = (1 - u) * before + u * after, (after - before) / self.length
            yield _Points(z, share, velocity / self.length, gain)


class Fold(NamedTuple):
    """A part of the cells that is held out."""

    rest: SnapshotPath
    """Through all other cells."""
    held: SnapshotPath
    """Through those of the fold."""
    cells: list[Tensor]
    """For each time, which cells these are."""
    part: float
    """Of all cells."""


class Averages:
    """Means of functions of space along a path, of everything and of folds.

    They do not depend on the noise and growth of a loss, nor on the polynomials of time. Everything is in units of the
    network: (x - c) / L.

    Parameters
    ----------
    forms
        All losses that will be asked for; they agree in what is known of curves.
    folds
        Cells to be held out in turn; by default as many folds as the settings tell.
    """

    def __init__(
        self,
        network: LinearNetwork,
        marginals: Marginals,
        forms: Sequence[Form],
        settings: SolvingSettings,
        key: str,
        folds: Sequence[Fold] | None = None,
    ) -> None:
        self.marginals, self.settings, self.key = marginals, settings, key
        self.features = network.space_features
        self.centre, self.spread = network.centre.double().cpu(), float(network.spread)
        self.moving = forms[0].moving
        self.needs_products = any(form.growth for form in forms)
        self.needs_laplacians = any(form.sigma for form in forms)
        self.nodes = nodes_of(network, settings)
        knots = network.knots.cpu().tolist()
        self.rules = [Quadrature(begin, end, self.nodes, 0) for begin, end in pairwise(knots)]
        if folds is None and _splits(marginals):
            folds = split(marginals, settings.folds, key)
        self.parts = folds
        self.number = self.settings.folds if folds is None else len(folds)
        """Of folds."""
        self._folds: dict[int, tuple[list[Moments], list[Moments]]] = {}

    @cached_property
    def whole(self) -> list[Moments]:
        """Of everything, on each interval."""
        return self._moments(self.marginals, 1, "all") if self.parts is not None else _merged(self._groups)

    def fold(self, i: int) -> tuple[list[Moments], list[Moments]]:
        """Without a fold, and of it alone."""
        if i not in self._folds:
            if self.parts is None:
                groups = self._groups
                self._folds[i] = _merged([*groups[:i], *groups[i + 1 :]]), groups[i]
            else:
                rest, held, _, part = self.parts[i]
                self._folds[i] = self._moments(rest, 1 - part, f"without {i}"), self._moments(held, part, f"{i}")
        return self._folds[i]

    @cached_property
    def _groups(self) -> list[list[Moments]]:
        """Of draws, where they can be drawn for ever."""
        folds = self.settings.folds
        return [self._moments(self.marginals, 1 / folds, f"{i}") for i in range(folds)]

    def _moments(self, path: Marginals, part: float, name: str) -> list[Moments]:
        """Of each interval, from a part of the draws."""
        draws = math.ceil(part * self.settings.draws)
        found = []
        for k, rule in enumerate(self.rules):
            names = self.key, "moments", name, k
            draw = self._drawing(path, k, draws, names)
            nodes = [self._node(draw(time)) for time in rule.times().tolist()]
            gradients, products, values, laplacians, carried = map(torch.stack, zip(*nodes, strict=True))
            ends = torch.stack([self._values(draw, time) for time in (rule.begin, rule.end)])
            moments = Moments(gradients, products, values, laplacians, carried, ends)
            if not all(bool(each.isfinite().all()) for each in moments):
                raise TrainingError(f"{self.key}: features of the points are not finite; look for extreme data")
            found.append(moments)
        return found

    def _node(self, drawn: Iterator[_Points]) -> tuple[Tensor, ...]:
        """Moments at one time, in their order."""
        features, m = self.features, self.features.number
        squares, sums = torch.zeros(2, m, m, dtype=torch.float64), torch.zeros(2, m, dtype=torch.float64)
        carried = torch.zeros(features.shape, dtype=torch.float64)
        for z, share, velocity, gain in drawn:
            values = features.values(z)
            squares[0] += features.gram(z, share)
            sums[0] += share @ values
            if self.needs_products:
                squares[1] += (share[:, None] * values).T @ values
            if self.needs_laplacians and isinstance(features, SpaceFeatures):
                sums[1] += share @ features.laplacians(z)
            if velocity is not None:
                carried += features.carried(z, velocity, share)
            if gain is not None:
                carried += gain @ values
        return *squares, *sums, carried

    def _values(self, draw: Callable[[float], Iterator[_Points]], time: float) -> Tensor:
        """Means of the features at an end of an interval, where the loss asks for them: (M,)."""
        total = torch.zeros(self.features.number, dtype=torch.float64)
        if not self.moving:
            for z, share, *_ in draw(time):
                total += share @ self.features.values(z)
        return total

    def _drawing(self, path: Marginals, k: int, n: int, names: _Names) -> Callable[[float], Iterator[_Points]]:
        """What draws points at a time of interval k: all pairs of a coupling, or n points of the path.

        Random numbers are the same at all times: points of most paths then lie on curves, along which the terms of b
        that cancel do so point by point.
        """
        if isinstance(path, SnapshotPath) and (pairs := path.joined(k)) is not None:
            begin, length = self.rules[k].begin, self.rules[k].end - self.rules[k].begin
            scaled = Pairs(self._scaled(pairs.start), self._scaled(pairs.end), pairs.first, pairs.second)
            curves = _Curves.of(scaled, path.smoothing / self.spread, length, n, generator(*names, "curves"))
            return lambda time: curves.at((time - begin) / length)
        return lambda time: self._draw(path, time, n, names)

    def _draw(self, path: Marginals, time: float, n: int, names: _Names) -> Iterator[_Points]:
        chunk = _BATCH if _couples_batches(path) else _CHUNK
        for first in range(0, n, chunk):
            rng = generator(*names, first)
            times = torch.full((min(chunk, n - first),), time, dtype=torch.float64)
            share = times.new_full(times.shape, 1 / n)
            if self.moving and isinstance(path, MovingMarginals):
                x, v = path.moving(times, rng)
                yield _Points(self._scaled(x), share, v.double() / self.spread)
            else:
                yield _Points(self._scaled(path.sample(times, rng)), share)

    def _scaled(self, x: Tensor) -> Tensor:
        return (x.double().cpu() - self.centre) / self.spread


def _couples_batches(path: Marginals) -> bool:
    if not isinstance(path, SnapshotPath) or path.coupling == "independent":
        return False
    return any(len(x) * len(y) > FULL_PLAN for x, y in pairwise(path.points))


def _merged(groups: Sequence[Sequence[Moments]]) -> list[Moments]:
    """Means over groups, interval by interval."""
    return [mean_moments(parts) for parts in zip(*groups, strict=True)]


class Solver:
    """The least coefficients of a network, from means that others of the same features may share."""

    def __init__(self, network: LinearNetwork, averages: Averages) -> None:
        self.network, self.averages = network, averages
        self.features, self.spread = averages.features, averages.spread
        self.ridges = averages.settings.ridges
        self.shared = len(network.theta) == 1
        knots = network.knots.cpu().tolist()
        span = (knots[0], knots[-1]) if self.shared else None
        self.rules = [Quadrature(*ends, averages.nodes, network.degree, span) for ends in pairwise(knots)]
        self.spared = sum(self.features.sizes[:-1]) * (network.degree + 1)
        """Unknowns of all features but waves: what is simple is not made small."""
        self._known: dict[tuple[int, Form], tuple[list[Quadratic], list[Tensor]]] = {}

    def solve(self, form: Form) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Coefficients by their names in the network, and a row for the log.

        Where there is one ridge, nothing is held out.
        """
        ridge, held_out = self.ridges[0], math.nan
        if len(self.ridges) > 1:
            losses = self.held_out(form)
            best = simplest(losses, self.ridges)
            ridge, held_out = self.ridges[best], float(losses[:, best].mean())
        whole = self.averages.whole
        found = self._minima(whole, form, ridge)
        loss = sum(float(of.loss(theta)) for of, theta in zip(self._forms(whole, form), found, strict=True))
        row = {"loss": self.spread**2 * loss, "held_out": held_out, "ridge": ridge}
        return self.weights(form, whole, found), row

    def held_out(self, form: Form) -> Tensor:
        """Losses of what each fold held out, with each ridge: (folds, R)."""
        losses = []
        for i in range(self.averages.number):
            rest, held = (self._forms(moments, form) for moments in self.averages.fold(i))
            tests = [of.loss(without.minima(self.ridges, self.spared)) for without, of in zip(rest, held, strict=True)]
            losses.append(torch.stack(tests).sum(0))
        return self.spread**2 * torch.stack(losses)

    def without(self, i: int, form: Form, ridge: float) -> dict[str, Tensor]:
        """The coefficients that a fold leaves, by their names in the network."""
        rest, _ = self.averages.fold(i)
        return self.weights(form, rest, self._minima(rest, form, ridge))

    def _minima(self, moments: Sequence[Moments], form: Form, ridge: float) -> list[Tensor]:
        return [quadratic.minima([ridge], self.spared)[0] for quadratic in self._forms(moments, form)]

    def weights(self, form: Form, moments: Sequence[Moments], found: Sequence[Tensor]) -> dict[str, Tensor]:
        """The coefficients of each interval, or of all, by their names in the network.

        An action gets the function of time that makes its mean over q_t what it should be: that of the growth of the
        whole mass, and zero where the loss sees no function of time alone.
        """
        theta = torch.stack([theta.view(self.network.theta.shape[1:]) for theta in found])
        if not isinstance(self.network, LinearAction):
            return {"theta": theta}
        number, offsets = self.network.offset.shape[2], []
        for rule, m, one in zip(self.rules, moments, theta.expand(len(self.rules), -1, -1), strict=True):
            due = _gain(rule, form) / (form.growth * self.spread**2) if form.growth else 0.0
            offsets.append(rule.through(due - rule.mean(m, one.reshape(-1)), number))
        return {"theta": theta, "offset": torch.stack(offsets)[:, None]}

    def _forms(self, moments: Sequence[Moments], form: Form) -> list[Quadratic]:
        """Of each interval, or of all. In units of the network: sigma over L, and lambda times L^2."""
        key = id(moments), replace(form, sigma=0.0)
        if key not in self._known:  # noise changes b alone, in proportion to its square
            forms, noise = [], []
            for rule, m in zip(self.rules, moments, strict=True):
                growth, gain = form.growth * self.spread**2, _gain(rule, form)
                forms.append(rule.form(m, form.weight, growth=growth, moving=form.moving, still=form.still, gain=gain))
                noise.append(rule.noise(m, form.weight))
            self._known[key] = ([reduce(add, forms)], [reduce(add, noise)]) if self.shared else (forms, noise)
        variance = (form.sigma / self.spread) ** 2
        return [one.with_linear(one.b + variance * noise) for one, noise in zip(*self._known[key], strict=True)]


def nodes_of(network: LinearNetwork, settings: SolvingSettings) -> int:
    """Nodes of time on each interval."""
    return settings.nodes or 3 * network.degree + 3


def _gain(rule: Quadrature, form: Form) -> Tensor | float:
    """Rate at which the whole mass grows at the nodes: (Q,)."""
    if (log_mass := form.log_mass) is None:
        return 0.0
    return rule.log_slope(lambda times: log_mass(times).exp())


def _splits(marginals: Marginals) -> TypeGuard[SnapshotPath]:
    """Whether there are cells that can be held out."""
    return isinstance(marginals, SnapshotPath) and min(map(len, marginals.points)) > 1


def split(path: SnapshotPath, folds: int, key: str) -> list[Fold]:
    """Hold out a part of the cells of each time in turn, in so many folds, or as many as there are cells."""
    folds = min(folds, *(len(x) for x in path.points))
    orders = [torch.randperm(len(x), generator=generator(key, "folds", k)) for k, x in enumerate(path.points)]
    found = []
    for fold in range(folds):
        mine = [order[fold::folds] for order in orders]
        rest = [x[order[torch.arange(len(x)) % folds != fold]] for x, order in zip(path.points, orders, strict=True)]
        held = [x[cells] for x, cells in zip(path.points, mine, strict=True)]
        found.append(Fold(_through(path, rest), _through(path, held), mine, 1 / folds))
    return found


def _through(path: SnapshotPath, points: Sequence[Tensor]) -> SnapshotPath:
    times = path.times.tolist()
    return SnapshotPath(points, times, path.coupling, path.smoothing, path.relaxation, path.masses)
