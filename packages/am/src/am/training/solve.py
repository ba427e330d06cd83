"""Training without steps: the minimum of a loss that is a quadratic form, found by one linear solve.

Features of space are averaged at a few nodes of time (:mod:`am.objectives.quadratic`). The ridge of each interval is
the one with the smallest loss on what was held out: a part of the cells, whose couplings are solved anew, or of the
draws where a path can be drawn from for ever.
"""

from __future__ import annotations

import csv
import logging
import math
import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from am.marginals.marginals import Marginals, MovingMarginals
from am.marginals.snapshots import FULL_PLAN, SnapshotPath
from am.objectives.path import TimeWeight
from am.objectives.quadratic import Moments, Quadratic, Quadrature, mean_moments
from am.potentials.features import SolvingSettings
from am.potentials.linear import LinearAction
from am.randomness import generator
from am.results.files import atomic
from am.training.checkpoint import read_tensors, write_tensors
from am.training.devices import launch
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
    """Whether the path tells velocities."""


def solve(
    network: LinearAction,
    marginals: Marginals,
    form: Form,
    settings: SolvingSettings,
    *,
    key: str,
    state: Path,
    fabric: Fabric | None = None,
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
    digest = digest or fingerprint([key, settings, form.sigma, form.growth, form.moving, network, marginals])
    file, rows = state / "checkpoint.safetensors", state / "training.csv"
    fabric = fabric or launch("cpu")
    with only_run(state, fabric):
        if file.exists():
            weights, about = read_tensors(file)
            if about.get("digest") == digest:
                return Trained(weights, {1: weights}, rows, about["seconds"])
        begun = clock.monotonic()
        theta, row = _Solver(network, marginals, form, settings, key).solve()
        seconds = clock.monotonic() - begun
        weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        weights["theta"] = theta
        if fabric.is_global_zero:
            row = {"step": 1, "seconds": round(seconds, 3), **row}
            with atomic(rows) as temporary, temporary.open("w", newline="") as lines:
                writer = csv.DictWriter(lines, list(row), lineterminator="\n")
                writer.writeheader()
                writer.writerow(row)
            write_tensors(file, weights, {"step": 1, "seconds": seconds, "digest": digest})
            log.info("%s: %d unknowns, held-out loss %.4g", key, theta.numel(), row["held_out"])
        return Trained(weights, {1: weights}, rows, seconds)


class _Solver:
    """Everything is in units of the network: (x - c) / L, so sigma is over L and lambda times L^2."""

    def __init__(
        self, network: LinearAction, marginals: Marginals, form: Form, settings: SolvingSettings, key: str
    ) -> None:
        self.network, self.marginals, self.settings, self.key = network, marginals, settings, key
        self.features = network.space_features
        self.centre, self.spread = network.centre.double().cpu(), float(network.spread)
        self.form = replace(form, sigma=form.sigma / self.spread, growth=form.growth * self.spread**2)
        nodes = settings.nodes or 3 * network.degree + 3
        knots = network.knots.cpu().tolist()
        self.rules = [Quadrature(begin, end, nodes, network.degree) for begin, end in pairwise(knots)]

    def solve(self) -> tuple[Tensor, dict[str, float]]:
        """(K - 1, M, J) coefficients, and a row for the log."""
        full, folds = self._forms()
        ridges = self.settings.ridges
        spared = self.features.constant * (self.network.degree + 1)  # a ridge on it would bend the mass
        theta, losses, held_out, chosen = [], 0.0, 0.0, list[float]()
        for k, whole in enumerate(full):
            tests = torch.stack([test[k].loss(train[k].minima(ridges, spared)) for train, test in folds]).mean(0)
            best = int(tests.argmin())
            chosen.append(ridges[best])
            found = whole.minima([ridges[best]], spared)[0]
            theta.append(found.view(self.features.number, -1))
            held_out += float(tests[best])
            losses += float(whole.loss(found))
        unit = self.spread**2
        ridge = math.exp(sum(map(math.log, chosen)) / len(chosen))
        return torch.stack(theta), {"loss": unit * losses, "held_out": unit * held_out, "ridge": ridge}

    def _forms(self) -> tuple[list[Quadratic], list[tuple[list[Quadratic], list[Quadratic]]]]:
        """The form of each interval, of everything and, for each fold, without it and of it alone."""
        if isinstance(self.marginals, SnapshotPath) and min(map(len, self.marginals.points)) > 1:
            whole = self._form(self._moments(self.marginals, 1, "all"))
            return whole, [
                (
                    self._form(self._moments(rest, 1 - part, f"without {i}")),
                    self._form(self._moments(held, part, f"{i}")),
                )
                for i, (rest, held, part) in enumerate(_split(self.marginals, self.settings.folds, self.key))
            ]
        folds = self.settings.folds
        groups = [self._moments(self.marginals, 1 / folds, f"{i}") for i in range(folds)]
        return self._form(_merged(groups)), [
            (self._form(_merged([*groups[:i], *groups[i + 1 :]])), self._form(held)) for i, held in enumerate(groups)
        ]

    def _form(self, moments: Sequence[Moments]) -> list[Quadratic]:
        form = self.form
        return [
            rule.form(m, form.weight, sigma=form.sigma, growth=form.growth, moving=form.moving)
            for rule, m in zip(self.rules, moments, strict=True)
        ]

    def _moments(self, path: Marginals, part: float, name: str) -> list[Moments]:
        """Of each interval, from a part of the draws."""
        draws = math.ceil(part * self.settings.draws)
        found = []
        for k, rule in enumerate(self.rules):
            names = self.key, "moments", name, k
            nodes = [self._node(path, time, draws, names) for time in rule.times().tolist()]
            gradients, products, values, laplacians, carried = map(torch.stack, zip(*nodes, strict=True))
            ends = torch.stack([self._values(path, time, draws, names) for time in (rule.begin, rule.end)])
            moments = Moments(gradients, products, values, laplacians, carried, ends)
            if not all(bool(each.isfinite().all()) for each in moments):
                raise TrainingError(f"{self.key}: features of the points are not finite; look for extreme data")
            found.append(moments)
        return found

    def _node(self, path: Marginals, time: float, draws: int, names: _Names) -> tuple[Tensor, ...]:
        """Moments at one time, in their order."""
        features, form, m = self.features, self.form, self.features.number
        squares, sums = torch.zeros(2, m, m, dtype=torch.float64), torch.zeros(3, m, dtype=torch.float64)
        for z, v in self._draw(path, time, draws, names):
            values = features.values(z)
            squares[0] += features.gram(z)
            sums[0] += values.sum(0)
            if form.growth:
                squares[1] += values.T @ values
            if form.sigma:
                sums[1] += features.laplacians(z).sum(0)
            if v is not None:
                sums[2] += features.along(z, v).sum(0)
        return *(squares / draws), *(sums / draws)

    def _values(self, path: Marginals, time: float, draws: int, names: _Names) -> Tensor:
        """Means of the features at an end of an interval, where the loss asks for them: (M,)."""
        total = torch.zeros(self.features.number, dtype=torch.float64)
        if not self.form.moving:
            for z, _ in self._draw(path, time, draws, names):
                total += self.features.values(z).sum(0)
        return total / draws

    def _draw(self, path: Marginals, time: float, n: int, names: _Names) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Points in the network's units, and velocities where they are used, in chunks.

        Random numbers are the same at all times: points of most paths then lie on curves, along which the terms of b
        that cancel do so point by point.
        """
        chunk = _BATCH if _couples_batches(path) else _CHUNK
        for first in range(0, n, chunk):
            rng = generator(*names, first)
            times = torch.full((min(chunk, n - first),), time, dtype=torch.float64)
            if self.form.moving and isinstance(path, MovingMarginals):
                x, v = path.moving(times, rng)
                yield (x.double() - self.centre) / self.spread, v.double() / self.spread
            else:
                yield (path.sample(times, rng).double() - self.centre) / self.spread, None


def _couples_batches(path: Marginals) -> bool:
    if not isinstance(path, SnapshotPath) or path.coupling == "independent":
        return False
    return any(len(x) * len(y) > FULL_PLAN for x, y in pairwise(path.points))


def _merged(groups: Sequence[Sequence[Moments]]) -> list[Moments]:
    """Means over groups, interval by interval."""
    return [mean_moments(parts) for parts in zip(*groups, strict=True)]


def _split(path: SnapshotPath, folds: int, key: str) -> Iterator[tuple[SnapshotPath, SnapshotPath, float]]:
    """The path through all cells but those of a fold, that through those of the fold, and the part of cells there.

    There are as many folds as cells allow.
    """
    folds = min(folds, *(len(x) for x in path.points))
    orders = [torch.randperm(len(x), generator=generator(key, "folds", k)) for k, x in enumerate(path.points)]
    for fold in range(folds):
        rest, held = [], []
        for x, order in zip(path.points, orders, strict=True):
            mine = torch.arange(len(x)) % folds == fold
            rest.append(x[order[~mine]])
            held.append(x[order[mine]])
        yield _through(path, rest), _through(path, held), 1 / folds


def _through(path: SnapshotPath, points: Sequence[Tensor]) -> SnapshotPath:
    times = path.times.tolist()
    return SnapshotPath(points, times, path.coupling, path.smoothing, path.relaxation, path.masses)
