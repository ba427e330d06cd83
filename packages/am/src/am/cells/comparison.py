"""Which method for these cells: each predicts cells, and times, that it has not seen.

Every method is fitted to the same parts of the cells and pushes the same cells to the same others, so that differences
are paired. What is held out chooses nothing.
"""

from __future__ import annotations

import json
import logging
import math
import time as clock
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from am.cells.learners import AUTO, fitted, is_iterated, joined, learner, named
from am.cells.model import checkpoints, opened, replicates_of
from am.cells.population import Dynamics, Population, enough
from am.cells.quality import CELLS, SPLITS, held_out, jackknife_reach, some, splits
from am.config import ConfigError
from am.dynamics.trajectory import DynamicsError
from am.extras import MissingExtraError, require
from am.io.cell_files import called
from am.io.files import remove_folder, write_text
from am.io.time_course import TimeCourse, read_time_course
from am.marginals.units import Units
from am.methods.contract import PredictionError, TrainedMethod
from am.randomness import generator
from am.runs import build_method, step_digest
from am.selection import GROUPS, energies
from am.training.arithmetic import arithmetic
from am.training.devices import Processes, launch
from am.training.fingerprint import fingerprint
from am.training.loop import Trained, TrainingError, only_run

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from am.io.cell_files import Source

    Rows = NDArray[np.bool_]
    Values = NDArray[np.float64]

log = logging.getLogger(__name__)

ITERATIONS = 500
"""Steps of a method that is trained by steps, unless another number is asked for."""
NEAR = 0.1
"""Part by which the distance after half of the steps may differ from that after all."""
Task = Literal["cells", "time"]
"""What was held out: some cells of each time, or all cells of one."""
STILL = "no_dynamics"
_STOPPED = "stopped by "
"""In the words of a training that a scheduler, or the user, ends with a signal: no fault of the method."""
CONTROLS: Mapping[Task, tuple[str, ...]] = {"cells": (STILL,), "time": (STILL, "ot_interpolation")}
"""Optimal transport to a time that was learned from would return the cells that it has seen."""
_FLOOR = "noise floor"


@dataclass(frozen=True, eq=False)
class Comparison:
    """How near methods come to cells, and to times, that they have not seen."""

    table: pd.DataFrame
    """A row for each method and each interval that cells were pushed over; ``from`` and ``to`` are NaN for the mean.

    held_out: ``cells`` or ``time``. distance: energy distance to the later cells, in units of the basis. half: the same
    after half of the steps. cut_short: whether these two differ by more than a tenth. behind, behind_low, behind_high:
    how much farther than the best method, with a 95 % interval. tied: whether that interval holds 0. noise_floor:
    below which 95 % of the distances of two samples lie. seconds: of one fit. failure: why there is no distance."""
    time_key: str
    basis: str

    @property
    def verdict(self) -> str:
        """Sentences that name the methods which cannot be told apart from the best, and those that were cut short."""
        sentences = []
        whole = self.table[self.table["from"].isna()]
        for task, title in (("cells", "Held-out cells"), ("time", "Held-out times")):
            rows = whole[whole["held_out"] == task].set_index("method")
            if rows.empty:
                continue
            found = rows[~rows["control"] & rows["distance"].notna()]
            if found.empty:
                sentences.append(f"{title}: every method failed.")
                continue
            best = found["distance"].idxmin()
            tied = [_called(row) for name, row in rows[rows["tied"]].iterrows() if name != best]
            others = f"not significantly farther: {', '.join(tied)}" if tied else "all others are significantly farther"
            still = bool(rows.loc[STILL, "tied"])
            warning = "no method is shown to be nearer than no dynamics; do not interpret; " if still else ""
            sentences.append(f"{title}: {warning}{best} is nearest; {others}.")
        short = whole.loc[whole["cut_short"], "method"].unique().tolist()
        if short:
            sentences.append(f"Cut short, so that more iterations may change their place: {', '.join(short)}.")
        failed = whole[whole["failure"].notna()].drop_duplicates("method")
        sentences += [f"{row['method']} failed: {row['failure']}." for _, row in failed.iterrows()]
        return "\n".join(sentences)

    def __str__(self) -> str:
        """Verdict, and means over intervals, for people."""
        import pandas as pd

        lines = [self.verdict, f"Mean energy distance to the later cells, in units of {self.basis}:"]
        whole = self.table[self.table["from"].isna()]
        for task, rows in whole.sort_values("distance").groupby("held_out"):
            shown = pd.DataFrame(
                {
                    f"{task} held out": rows["method"],
                    "distance": rows["distance"].map("{:.3g}".format),
                    "behind the best": [
                        f"{row.behind:.3g} [{row.behind_low:.3g}, {row.behind_high:.3g}]" for row in rows.itertuples()
                    ],
                    "seconds": rows["seconds"].map("{:.1f}".format).replace("nan", ""),
                    "": np.where(rows["cut_short"], "cut short", ""),
                }
            )
            floor = rows["noise_floor"].iloc[0]
            lines += [shown.to_string(index=False), f"  noise floor {floor:.3g}"]
        return "\n".join(lines)


def _called(row: Any) -> str:
    return f"{row.name} (control)" if row["control"] else str(row.name)


def compare(
    cells: Source | str,
    time_key: str,
    *,
    basis: str = "X_pca",
    methods: Iterable[str] | None = None,
    dimensions: int | None = None,
    iterations: int = ITERATIONS,
    held_out: float = 0.2,
    replicate_key: str | None = None,
    seed: int = 0,
    state: Path | str | None = None,
    device: str = "cpu",
    checkpoint_seconds: float = 30.0,
) -> Comparison:
    """Compare methods by how near they push cells to cells that they have not seen.

    Some cells of each time are held out: those of a time are pushed to the next. Each inner time is held out as a whole
    as well: cells of the time before are pushed to it. Controls are cells that do not move and, where a time is held
    out, straight lines of optimal transport between its neighbours.

    Intervals are a jackknife over groups of cells, pair by pair. They hold the sampling error of the cells, and
    neither the variation between seeds of a network, nor that so many methods are compared.

    Parameters
    ----------
    cells, time_key, basis, dimensions, held_out, replicate_key, seed, device
        As of :func:`am.fit`. For 0 as ``held_out``, times alone are held out.
    methods
        Names of methods that learn from snapshots, or ``auto``: what :func:`am.fit` chooses. All that can run here
        when None.
    iterations
        Steps of methods that are trained by steps. A method is cut short if its distance after half of them differs
        from that after all by more than a tenth: of the distance, of what it gained over no dynamics where that is
        less, or of the noise floor for a distance below it. Where the error falls at least as one over the number of
        steps, what more steps would gain is at most this difference.
    state
        Folder that keeps what is finished, and checkpoints: the same call goes on from there. Another call uses what
        is of the same cells, settings and code.
    checkpoint_seconds
        At least so long between checkpoints.

    Raises
    ------
    DataError
        The cells do not make a time course, or too few of them would be left.
    ConfigError
        A method cannot be compared, or nothing is held out.
    MissingExtraError
        Every named method needs a package that is not installed.
    TrainingError
        It was stopped by a signal; the same call goes on. A method whose training fails, or that lacks a package, is a
        row that says why, and the others go on.

    Examples
    --------
    >>> import am
    >>> cells = am.datasets.load("myoblast", dimensions=2)
    >>> found = am.compare(cells, "time", methods=["am_closed", "otcfm_closed"], held_out=0)
    >>> found.table.columns.tolist()[:5]
    ['held_out', 'from', 'to', 'method', 'control']
    >>> print(found.verdict)  # doctest: +ELLIPSIS
    Held-out times: ...
    """
    require("am.compare", "cells")
    source = opened(cells, dimensions, held_out)
    learners = _learners(methods, iterations)
    course = read_time_course(source, time_key, basis, dimensions)
    parts = _parts(course, held_out, replicates_of(source, replicate_key), seed)
    if not parts:
        raise ConfigError(f"{called(source)}: there is no inner time to hold out; hold out a share of the cells")
    fabric = launch(device)
    with checkpoints(state) as folder, only_run(folder, fabric):
        trials = _Trials(learners, parts, seed, fabric, folder, checkpoint_seconds).all()
    return Comparison(_table(parts, learners, trials), time_key, course.basis)


def _learners(methods: Iterable[str] | None, iterations: int) -> dict[str, TrainedMethod[Any] | MissingExtraError]:
    """Methods by the names that they are asked for by, or what a named one lacks."""
    if isinstance(methods, str):
        methods = [methods]
    found: dict[str, TrainedMethod[Any] | MissingExtraError] = {}
    for name in (AUTO, *fitted()) if methods is None else methods:
        if name in found:
            raise ConfigError(f"the method '{name}' is named twice")
        known = named(name, "equal")
        steps = known in fitted() and is_iterated(known)
        given = {"training": {"snapshots": 2}} if steps else {}
        try:
            found[name] = learner(known, given, iterations=iterations if steps else None, where=name)
        except MissingExtraError as error:
            log.warning("%s is left out: %s", name, error)
            if methods is not None:
                found[name] = error
    lacking = [method for method in found.values() if isinstance(method, MissingExtraError)]
    if lacking and len(lacking) == len(found):
        raise lacking[0]
    if not found:
        raise ConfigError("no method is named; leave the methods away for all")
    return found


@dataclass(frozen=True)
class _Step:
    """From some cells to later ones."""

    begin: float
    end: float
    """Times of the column."""
    start: Tensor
    target: Tensor
    """Rows of the course."""


@dataclass(frozen=True)
class _Part:
    """Cells that methods learn from, and steps that they are judged by."""

    task: Task
    name: str
    course: TimeCourse
    """All cells."""
    rows: Rows
    """(n,) which are learned from."""
    steps: Sequence[_Step]
    group: Tensor
    """(n,) of the jackknife: the same in all parts."""

    @cached_property
    def learned(self) -> TimeCourse:
        return self.course.some(self.rows)

    @cached_property
    def units(self) -> Units:
        return Units.of(self.learned)

    @cached_property
    def digest(self) -> str:
        """Of all that a trial depends on but the method."""
        steps = [(step.start, step.target) for step in self.steps]
        return fingerprint([self.course.x, self.course.time, self.rows, steps, self.group])

    def seen(self, rows: Tensor) -> Tensor:
        """Some cells of the course as a method sees them, (m, d)."""
        return self.units.scaled(self.course.x[rows.numpy()])


def _parts(course: TimeCourse, share: float, replicates: Sequence[Any] | None, seed: int) -> list[_Part]:
    times = course.times.tolist()
    at = {time: course.time == time for time in times}
    fewest = min(int(here.sum()) for here in at.values())
    # The cells that am.fit holds out with this seed, too.
    folds = held_out(course, share, f"fit/{seed}", replicates, enough(share, fewest))
    group, stray = _groups(course, folds, seed), Units.of(course).stray

    def rows(of: Rows, name: str) -> Tensor:
        return some(torch.from_numpy(np.flatnonzero(of & ~stray)), CELLS, f"compare/{seed}/{name}")

    parts = []
    for number, out in enumerate(folds):
        chosen = {time: rows(out & at[time], f"{number}/{time}") for time in times}
        steps = [_Step(begin, end, chosen[begin], chosen[end]) for begin, end in pairwise(times)]
        parts.append(_Part("cells", f"cells {number}", course, ~out, steps, group))
    for begin, end in pairwise(times[:-1]):
        step = _Step(begin, end, rows(at[begin], f"{begin}"), rows(at[end], f"{end}"))
        parts.append(_Part("time", f"time {end:.15g}", course, ~at[end], [step], group))
    return parts


def _groups(course: TimeCourse, folds: Sequence[Rows], seed: int) -> Tensor:
    """The group of each cell, (n,): equally many of each time, and of each fold of it, are in each."""
    fold = np.zeros(len(course.x))
    for number, out in enumerate(folds):
        fold[out] = number + 1
    shuffled = torch.randperm(len(fold), generator=generator("compare", seed, "groups")).numpy()
    order = shuffled[np.lexsort((fold[shuffled], course.time[shuffled]))]
    group = np.empty(len(fold), np.int64)
    group[order] = np.arange(len(fold)) % GROUPS
    return torch.from_numpy(group)


@dataclass(frozen=True)
class _Trial:
    """What one method made of one part."""

    scores: list[list[float]] = field(default_factory=list)
    """For each step, the distance, and that without each group of cells; of the floor, distances of samples."""
    half: list[float] | None = None
    """For each step, after half of the steps of training; None for a method without them."""
    seconds: float = math.nan
    failure: str | None = None


@dataclass(frozen=True)
class _Trials:
    """Methods and parts, each pair of which is tried once, however often this is killed."""

    learners: Mapping[str, TrainedMethod[Any] | MissingExtraError]
    parts: Sequence[_Part]
    seed: int
    fabric: Processes
    folder: Path
    checkpoint_seconds: float

    def all(self) -> dict[tuple[str, str], _Trial]:
        """By the names of method and part; the whole of a part after the other, so that all speeds are soon known."""
        found: dict[tuple[str, str], _Trial] = {}
        took: dict[str, list[float]] = {}
        pairs = [(name, part) for part in self.parts for name in self.learners]
        for number, (name, part) in enumerate(pairs, 1):
            begun = clock.monotonic()
            trial, fresh = self._kept(name, part)
            found[name, part.name] = trial
            if fresh:
                took.setdefault(name, []).append(clock.monotonic() - begun)
                left = _left([other for other, _ in pairs[number:]], took)
                log.info("%d of %d: %s, %s held out; %s left", number, len(pairs), name, part.name, left)
        for part in self.parts:
            for name in (_FLOOR, *CONTROLS[part.task]):
                found[name, part.name] = self._control(name, part)
        return found

    def _kept(self, name: str, part: _Part) -> tuple[_Trial, bool]:
        """The trial, and whether it was made now."""
        method = self.learners[name]
        if isinstance(method, MissingExtraError):
            return _failed(method), False
        code = step_digest("compare", f"am.methods.{named(name, 'equal')}")
        digest = fingerprint([name, method.settings, self.seed, code, part.digest])
        file = self.folder / name / f"{part.name}.json"
        if file.exists():
            told = json.loads(file.read_text(encoding="utf-8"))
            if told.pop("digest", None) == digest:
                return _Trial(**told), False
        state = file.with_suffix("")
        try:
            trial = self._tried(name, method, part, state, digest)
        except (TrainingError, MissingExtraError) as error:
            if _STOPPED in str(error):
                raise
            log.warning("%s, %s held out: %s", name, part.name, error)
            return _failed(error), True  # not kept: there may be more memory, or the package, another time
        write_text(json.dumps({"digest": digest, **asdict(trial)}), file)
        if state.is_dir():
            remove_folder(state)
        return trial, True

    def _tried(self, name: str, method: TrainedMethod[Any], part: _Part, state: Path, digest: str) -> _Trial:
        joining, cost = joined(named(name, "equal"), method, None, None)
        key = f"compare/{named(name, 'equal')}/{self.seed}/{part.name}"
        population = Population.of(part.learned, method, key, "equal", joining, cost)
        begun = clock.monotonic()
        if name == AUTO:
            population, _ = population.chosen(self.seed)
        chosen = clock.monotonic() - begun
        try:
            dynamics = population.learn(self.fabric, state, digest, self.checkpoint_seconds, backward=False)
            trained = dynamics.models[""]
            scores = _scores(dynamics, part)
            half = _half(dynamics, trained, part) if hasattr(method.settings, "training") else None
        except (DynamicsError, PredictionError) as error:
            return _failed(error)
        if not np.isfinite(scores).all():
            return _Trial(failure="its weights are worth no two cells")
        return _Trial(scores, half, chosen + trained.seconds)

    def _control(self, name: str, part: _Part) -> _Trial:
        if name == _FLOOR:
            return _Trial(_floors(part))
        method = build_method(name, {}, name)
        network = part.units.path(part.learned) if method.learns_from == "snapshots" else None
        key = f"compare/{name}/{self.seed}/{part.name}"
        return _Trial(_scores(Dynamics(method, network, None, key, torch.device("cpu"), {}), part))


def _failed(error: Exception) -> _Trial:
    return _Trial(failure=" ".join(str(error).split()).removesuffix("."))


def _left(names: Sequence[str], took: Mapping[str, Sequence[float]]) -> str:
    """How long the trials of these methods will take, in words; what is not known of one is taken to be as others."""
    means = {name: float(np.mean(seconds)) for name, seconds in took.items()}
    typical = float(np.mean([*means.values()]))
    seconds = sum(means.get(name, typical) for name in names)
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _scores(dynamics: Dynamics, part: _Part) -> list[list[float]]:
    """For each step, how far pushed cells are from those that are there, and without each group of cells."""
    found = []
    for step in part.steps:
        x, y = part.seen(step.start), part.seen(step.target)
        with arithmetic():
            moved = dynamics.push(x, part.units.clock.learning([step.begin, step.end]).tolist(), "compare")
        weight = torch.zeros(len(x)) if moved.log_weight is None else moved.log_weight[-1].cpu()
        distances = energies(moved.x[-1].cpu(), y, weight, part.group[step.start], part.group[step.target])
        found.append((part.units.spread * distances).tolist())
    return found


def _half(dynamics: Dynamics, trained: Trained, part: _Part) -> list[float]:
    """Distances with the weights after half of the steps; NaN where there are none, or they cannot be followed."""
    first, last = min(trained.snapshots), max(trained.snapshots)
    if first == last:
        return [math.nan] * len(part.steps)
    dynamics.network.load_state_dict(trained.snapshots[first])
    try:
        return [score[0] for score in _scores(dynamics, part)]
    except (DynamicsError, PredictionError):
        return [math.nan] * len(part.steps)


def _floors(part: _Part) -> list[list[float]]:
    """For each step, distances of pairs of samples of the later cells."""
    found = []
    for step in part.steps:
        more = part.units.seen(part.learned, step.end) if part.task == "cells" else None
        key = f"compare/{part.name}/{step.end}"
        distances = splits(part.seen(step.target), len(step.start), key, more, SPLITS)
        found.append((part.units.spread * np.array(distances)).tolist())
    return found


def _table(parts: Sequence[_Part], learners: Collection[str], trials: Mapping[tuple[str, str], _Trial]) -> pd.DataFrame:
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for task in ("cells", "time"):
        mine = [part for part in parts if part.task == task]
        intervals = list(dict.fromkeys((step.begin, step.end) for part in mine for step in part.steps))
        for interval in [*intervals, None] if mine else []:
            rows += _rows(mine, learners, trials, interval)
    return pd.DataFrame(rows)


def _rows(
    parts: Sequence[_Part],
    learners: Collection[str],
    trials: Mapping[tuple[str, str], _Trial],
    interval: tuple[float, float] | None,
) -> Iterator[dict[str, Any]]:
    """A row for each method: of one interval, or of the mean over all."""
    chosen = [
        (part.name, number)
        for part in parts
        for number, step in enumerate(part.steps)
        if interval in (None, (step.begin, step.end))
    ]

    def mean(name: str) -> Values:
        return np.mean([trials[name, part].scores[number] for part, number in chosen], 0)

    failures = {
        name: next((why for part, _ in chosen if (why := trials[name, part].failure) is not None), None)
        for name in (*learners, *CONTROLS[parts[0].task])
    }
    scores = {name: mean(name) for name, failure in failures.items() if failure is None}
    floor = float(np.sort(mean(_FLOOR))[-2])
    best = min((name for name in scores if name in learners), key=lambda name: scores[name][0], default=None)
    for name, failure in failures.items():
        row: dict[str, Any] = {
            "held_out": parts[0].task,
            "from": interval[0] if interval else math.nan,
            "to": interval[1] if interval else math.nan,
            "method": name,
            "control": name not in learners,
            "distance": math.nan,
            "half": math.nan,
            "cut_short": False,
            "behind": math.nan,
            "behind_low": math.nan,
            "behind_high": math.nan,
            "tied": False,
            "noise_floor": floor,
            "seconds": float(np.mean([trials[name, part].seconds for part, _ in chosen])),
            "failure": failure,
        }
        if name in scores:
            row["distance"] = distance = float(scores[name][0])
            halves = [half[number] for part, number in chosen if (half := trials[name, part].half) is not None]
            if halves:
                row["half"] = float(np.mean(halves))
                row["cut_short"] = is_short(row["half"], distance, float(scores[STILL][0]), floor)
        if name in scores and best is not None:
            row |= _behind(scores[name] - scores[best])
        yield row


def is_short(half: float, distance: float, still: float, floor: float) -> bool:
    """Whether the second half of the steps still changed a distance by more than a tenth.

    A tenth of the distance, or of what was gained over no dynamics where that is less: who has not begun to learn
    changes little too. Below the noise floor, a tenth of the floor.

    Examples
    --------
    >>> is_short(half=0.105, distance=0.1, still=1.0, floor=0.05)
    False
    >>> is_short(half=0.84, distance=0.83, still=0.85, floor=0.05)
    True
    """
    scale = floor if distance <= floor else min(distance, abs(still - distance))
    return not abs(half - distance) <= NEAR * scale


def _behind(difference: Values) -> dict[str, Any]:
    """A paired difference and its 95 % interval, from its values of all cells and without each group."""
    behind, reach = float(difference[0]), jackknife_reach(difference[1:])
    return {"behind": behind, "behind_low": behind - reach, "behind_high": behind + reach, "tied": behind <= reach}
