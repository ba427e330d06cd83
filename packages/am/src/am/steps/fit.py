"""Fit a method to anybody's ``.h5ad``, and write what it says of every cell."""

from __future__ import annotations

import json
import logging
import shutil
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from am.config import digest, write_yaml
from am.data.samples import Samples
from am.data.snapshots import DataError
from am.data.time_course import Floats, Points, TimeCourse, annotate
from am.dynamics.trajectory import DynamicsError
from am.dynamics.weighted import self_normalised
from am.marginals.snapshots import SnapshotPath
from am.marginals.units import Units
from am.methods.contract import ActionMethod, Method, Prediction, TrainedMethod
from am.metrics.fields import cosines
from am.randomness import derive_seed, generator
from am.results.figures.saving import save_figure
from am.results.figures.trajectories import trajectories
from am.results.files import atomic
from am.results.provenance import (
    Asked,
    Provenance,
    collect,
    file_sha256,
    named,
    origin,
    peak_memory,
    sidecar,
    write_provenance,
)
from am.runs import step_digest
from am.steps.fit_folder import RECORD, SETTINGS, FitFolder
from am.steps.fit_inputs import Inputs, Part
from am.steps.fit_quality import Interval, Weights, failures, intervals, summary, table, too_few
from am.training.arithmetic import arithmetic
from am.training.checkpoint import write_tensors
from am.training.devices import Processes, device_name, launch
from am.training.loop import Trained

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

QUALITY = "quality.csv"
_STEP = 0.01
"""Of t, over which velocities are measured of methods that do not tell them as a field."""
_REPEATS = 64
_LINES = 100
_CHUNK = 20_000
"""Particles that are moved at once: a million at a time would need memory that a workstation does not have."""


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves."""

    files: list[Path]
    """All that was written, the copy first."""
    quality: dict[str | None, list[Interval]]
    """By group; of None where all chosen cells are one population."""
    words: list[str]
    """Sentences on what not to trust, the gravest first."""
    summary: str
    """Table of quality, for people."""


def fit(
    inputs: Inputs,
    out: Path,
    *,
    overwrite: bool = False,
    accelerator: str = "auto",
    checkpoint_seconds: float = 30.0,
) -> Fitted:
    """Train a method on cells, or continue what was killed, and move every cell through time.

    Into the folder ``out`` go a copy of the file of cells with velocities, growth rates and predicted cells, the
    weights, all settings, losses, the quality of each interval, provenance and a figure of trajectories. Groups have
    folders of their own for all but the copy.

    Parameters
    ----------
    overwrite
        Replace another fit that lies in ``out``: exactly the files that it wrote, by its record.

    Raises
    ------
    DataError
        Masses are not one for each time, or the file of cells has changed meanwhile.
    TrainingError, WriteError
        Training cannot go on; ``out`` cannot be written to, or holds what this would replace.
    """
    fabric = launch(accelerator)
    code = step_digest("fit", f"am.methods.{inputs.method}")
    runs = [_Run.of(part, inputs, out, code) for part in inputs.parts]
    copy = out / f"{inputs.name}_am.h5ad"
    whole = {copy, out / SETTINGS, out / RECORD, out / QUALITY}
    targets = whole.union(*(run.targets for run in runs))
    folder = FitFolder(out, inputs.about(), inputs.sha256, frozenset(targets), overwrite)
    with folder.claimed() as state:
        if inputs.hint:
            log.warning("%s", inputs.hint)
        started = datetime.now(UTC)
        try:
            done = [run.done(state, fabric, checkpoint_seconds) for run in runs]
        except DynamicsError as error:
            kept = f"what was trained is kept in {state}, so that another 'sampling' trains nothing again"
            raise DynamicsError(f"{error}; {kept}") from error
        record = _record(inputs, inputs.about(), code, fabric, started, done)
        if record["data"] != {named(inputs.source): inputs.sha256}:
            raise DataError(f"{inputs.source}: it has changed since training began; call the same command again")
        quality = {run.part.name: one.quality for run, one in zip(runs, done, strict=True)}
        folder.clear()
        told = inputs.about() | {"quality": _frame(quality)}
        units_of = {run.part.name or "": run.told()["units"] for run in runs}
        beside = {
            "settings": inputs.about()["settings"],
            "units": units_of if inputs.group_key else units_of[""],
            "provenance": record,
            # Names of groups may hold slashes, which HDF5 would take for groups of its own.
            **({"groups": told["groups"]} if "groups" in told else {}),
        }
        told |= {name: json.dumps(value) for name, value in beside.items()}
        before = _stamp(inputs.source)
        annotate(inputs.source, copy, *_columns(runs, done), told)
        if _stamp(inputs.source) != before:
            copy.unlink()
            raise DataError(f"{inputs.source}: it has changed while it was copied; call the same command again")
        written = [copy]
        with atomic(out / QUALITY) as temporary:
            _frame(quality).to_csv(temporary, index=False)
        if inputs.group_key is None:
            written += runs[0].write(done[0], inputs, code)
        else:
            for run, one in zip(runs, done, strict=True):
                mine = run.write(one, inputs, code)
                with atomic(run.folder / QUALITY) as temporary:
                    _frame({None: one.quality}).to_csv(temporary, index=False)
                part_record = _record(inputs, inputs.about(run.part), code, fabric, started, [one])
                written += _finish(run.folder, [*mine, run.folder / QUALITY], part_record, run.told())
        units = runs[0].told() if inputs.group_key is None else inputs.about()
        here = [path for path in written if path.parent == out]
        written += _finish(out, [*here, out / QUALITY], record, units)[len(here) :]
        folder.finish([state / run.digest[:16] for run in runs])
    words = [word for run, one in zip(runs, done, strict=True) for word in run.words(one, inputs.time_key)]
    return Fitted(written, quality, words, summary(quality, inputs.parts[0].course.basis))


def _record(
    inputs: Inputs, about: dict[str, Any], code: str, fabric: Processes, started: datetime, done: Sequence[_Done]
) -> Provenance:
    return collect(
        code_digest=code,
        config_sha256=digest(about),
        data=[inputs.source],
        files=[],
        device=device_name(fabric.device),
        seed=inputs.seed,
        started=started,
        train_seconds=sum(model.seconds for one in done for model in one.models.values()),
        sample_seconds=sum(one.seconds for one in done),
        nfe=sum(one.cells.nfe for one in done),
        peak_memory_bytes=peak_memory(),
    )


def _finish(folder: Path, written: list[Path], record: Provenance, told: dict[str, Any]) -> list[Path]:
    """Write settings and record beside files that are there; returns all of them."""
    with atomic(folder / SETTINGS) as temporary:
        write_yaml(told, temporary)
    record["files"] = {file.name: file_sha256(file) for file in written}
    write_provenance(record, folder / RECORD)
    return [*written, folder / SETTINGS, folder / RECORD]


def _frame(quality: Mapping[str | None, Sequence[Interval]]) -> pd.DataFrame:
    """A row for each interval, of each group."""
    import pandas as pd

    frames = [pd.DataFrame(table(found)) for found in quality.values()]
    for name, frame in zip(quality, frames, strict=True):
        if name is not None:
            frame.insert(0, "group", name)
    return pd.concat(frames, ignore_index=True)


def _stamp(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


def _columns(runs: Sequence[_Run], done: Sequence[_Done]) -> tuple[dict[str, Points], dict[str, Points]]:
    """What is told of every cell of the file: not a number of cells that were not chosen."""
    if runs[0].part.rows is None:
        return done[0].cells.obs, done[0].cells.obsm
    whole: list[dict[str, Points]] = []
    for parts in ([one.cells.obs for one in done], [one.cells.obsm for one in done]):
        filled: dict[str, Points] = {}
        for run, part in zip(runs, parts, strict=True):
            for name, values in part.items():
                assert run.part.rows is not None  # noqa: S101  (for type checkers)
                empty = np.full((len(run.part.rows), *values.shape[1:]), np.nan, np.float32)
                filled.setdefault(name, empty)[run.part.rows] = values
        whole.append(filled)
    return whole[0], whole[1]


@dataclass(frozen=True)
class _Run:
    """The fit of cells that belong together."""

    part: Part
    folder: Path
    about: dict[str, Any]
    learner: TrainedMethod
    units: Units
    path: SnapshotPath
    key: str
    digest: str
    """Of all that weights depend on."""

    @classmethod
    def of(cls, part: Part, inputs: Inputs, out: Path, code: str) -> _Run:
        units, about = Units.of(part.course), inputs.about(part)
        if (warning := units.warning(part.course)) is not None:
            log.warning("%s: %s", inputs.source, warning)
        joined = units.path(part.course, inputs.masses)
        path = SnapshotPath(
            joined.points,
            joined.times.tolist(),
            inputs.coupling or "optimal",
            relaxation=1.0 if inputs.relaxation is None else inputs.relaxation,
            masses=joined.masses,
        )
        key = f"fit/{inputs.method}/{inputs.seed}"
        trained_by = {**about, "settings": inputs.learner.settings.model_dump(mode="json", exclude={"sampling"})}
        state = digest([trained_by, code, inputs.sha256])
        return cls(part, out / part.folder, about, inputs.learner, units, path, key, state)

    @property
    def turned(self) -> bool:
        """Whether cells run backwards along the same field."""
        return isinstance(self.learner, ActionMethod) and self.learner.reversible

    @property
    def targets(self) -> set[Path]:
        """All files that will lie in its folder."""
        figures = [self.folder / f"trajectories.{suffix}" for suffix in ("pdf", "png")]
        models = [f"{kind}{end}" for end in self._ends for kind in ("model", "training")]
        names = [f"{name}.{'safetensors' if name.startswith('model') else 'csv'}" for name in models]
        own = [self.folder / name for name in (*names, SETTINGS, RECORD, QUALITY)]
        return {*figures, *map(sidecar, figures), *own}

    @property
    def _ends(self) -> tuple[str, ...]:
        return ("",) if self.turned else ("", "_backward")

    def told(self) -> dict[str, Any]:
        """For a file of settings."""
        return {**self.about, "units": self.units.plain(self.about["settings"], self.learner.dimensions)}

    def done(self, state: Path, fabric: Processes, checkpoint_seconds: float) -> _Done:
        """Train, and move every cell."""
        if self.part.name is not None:
            log.info("%s: %d cells", self.part.name, len(self.part.course.x))
        fitting = _Fitting(self.learner, fabric, state, self.digest, checkpoint_seconds)
        network, trained = fitting.train(self.path, self.key)
        models = {"": trained}
        if self.turned:
            backward: Any = network.reversed()
        else:  # learned from the course run backwards
            backward, models["_backward"] = fitting.train(_backwards(self.path), f"{self.key}/backward")
        begun, course, key = clock.monotonic(), self.part.course, self.key
        with arithmetic():
            absolute = self.path.masses is not None
            cells = _cells(self.learner, network, backward, course, self.units, absolute, key, fabric.device)
            moments, lines, weights = _lines(self.learner, network, self.path, key, fabric.device)
            quality = intervals(
                lambda x, begin, end: _push(self.learner, network, x, [begin, end], f"{key}/quality"),
                self.path.points,
                self.path.times.tolist(),
                course.times.tolist(),
                self.units.spread,
                key,
                fabric.device,
            )
        if course.velocity is not None:
            found, measured = map(torch.from_numpy, (cells.obsm["X_am_velocity"], course.velocity))
            cells.obs["am_velocity_cosine"] = cosines(found, measured).numpy()
        return _Done(models, cells, moments, lines, weights, quality, clock.monotonic() - begun)

    def write(self, done: _Done, inputs: Inputs, code: str) -> list[Path]:
        """Write figure, weights and losses."""
        course, units = self.part.course, self.units
        figure = trajectories(
            Samples(course.x.astype(np.float32, copy=False), course.time),
            [
                (
                    self.learner.title if self.part.name is None else f"{self.learner.title}, {self.part.name}",
                    [(units.clock.user(done.moments), units.positions(done.lines))],
                )
            ],
            [f"{course.basis.removeprefix('X_')} {i + 1}" for i in range(course.x.shape[1])],
            time=f"{inputs.time_key} ({inputs.unit})" if inputs.unit else inputs.time_key,
            weights=done.weights,
        )
        asked = Asked(file=named(self.folder / SETTINGS), keys=list(self.about), sha256=digest(self.about))
        made_of = origin([inputs.source], code, ["fit", f"am.methods.{inputs.method}"], [asked])
        written = [self.folder / f"trajectories.{suffix}" for suffix in ("pdf", "png")]
        for file in written:
            save_figure(figure, file, made_of)
        for end, model in done.models.items():
            with atomic(self.folder / f"training{end}.csv") as temporary:
                shutil.copyfile(model.log, temporary)
            about = {"run": self.key, "method": inputs.method}
            write_tensors(self.folder / f"model{end}.safetensors", model.weights, about)
            written += [self.folder / f"model{end}.safetensors", self.folder / f"training{end}.csv"]
        return written

    def words(self, done: _Done, time_key: str) -> list[str]:
        """What not to trust."""
        group = "" if self.part.name is None else f"{self.part.name}: "
        remedy = (
            "a smaller 'growth' in --settings moves more" if "growth" in self.about["settings"] else "take few of them"
        )
        found = [failures(done.quality, time_key), too_few([*done.cells.weights], remedy, time_key)]
        return [f"{group}{sentence}" for sentence in found if sentence]


@dataclass(frozen=True)
class _Done:
    """What training and moving cells gave."""

    models: dict[str, Trained]
    """By the ends of their files' names."""
    cells: _Cells
    moments: Floats
    """(T,) learning times."""
    lines: Tensor
    """(T, n, d) positions of a few cells at them."""
    weights: Floats | None
    """(n,) of those cells at the end, of mean one."""
    quality: list[Interval]
    seconds: float


@dataclass(frozen=True)
class _Fitting:
    """All that training two networks shares."""

    learner: TrainedMethod
    fabric: Processes
    state: Path
    digest: str
    """Of all that weights depend on."""
    checkpoint_seconds: float

    def train(self, path: SnapshotPath, key: str) -> tuple[Any, Trained]:
        """The network with its averaged weights, on the device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(key, "weights"))
            network = self.learner.build(path, generator(key, "build"))
        trained = self.learner.train(
            network,
            path,
            key=key,
            state=self.state / self.digest[:16] / digest(key)[:16],
            digest=self.digest,
            fabric=self.fabric,
            checkpoint_seconds=self.checkpoint_seconds,
        )
        network.load_state_dict(trained.weights)
        return network, trained


@dataclass(frozen=True)
class _Cells:
    """What is told of every cell, by the names of columns and embeddings."""

    obs: dict[str, Points]
    obsm: dict[str, Points]
    weights: list[Weights]
    """How much the weights of predictions are worth."""
    nfe: int


def _backwards(path: SnapshotPath) -> SnapshotPath:
    times = (1 - path.times.flip(0)).tolist()
    masses = None if path.masses is None else path.masses[::-1]
    return SnapshotPath(path.points[::-1], times, path.coupling, path.smoothing, path.relaxation, masses)


def _cells(
    learner: TrainedMethod,
    network: Any,
    backward: Any,
    course: TimeCourse,
    units: Units,
    absolute: bool,
    key: str,
    device: torch.device,
) -> _Cells:
    """Velocity and growth rate of each cell at its own time; where it is at the last time and at the first.

    Unless growth is ``absolute``, rates have mean zero and weights mean one at each time.
    """
    wide: dict[str, Floats] = {}
    weights: list[Weights] = []
    nfe = 0
    first, last = course.times[[0, -1]].tolist()

    def put(name: str, rows: Any, values: Floats) -> None:
        wide.setdefault(name, np.zeros((len(course.x), *values.shape[1:])))[rows] = values

    for moment in course.times.tolist():
        rows = course.time == moment
        x = units.seen(course, moment).to(device)
        t = float(units.clock.learning(moment))
        put("X_am_velocity", rows, units.velocities(_velocity(learner, network, t, x, key), moment))
        growth = _field(learner.growth_rate, network, t, x)
        if growth is not None:
            put("am_growth", rows, units.rates(growth if absolute else growth - growth.mean(), moment))
        for direction, net, begin in (("forward", network, t), ("backward", backward, 1 - t)):
            moved = (
                _push(learner, net, x, [begin, 1.0], f"{key}/{direction}")
                if begin < 1
                else Prediction(x[None], None, 0)
            )
            nfe += moved.nfe
            put(f"X_am_{direction}", rows, units.positions(moved.x[-1]))
            if growth is not None:
                log_weight = x.new_zeros(len(x)) if moved.log_weight is None else moved.log_weight[-1]
                weights.append(Weights.of(moment, last if direction == "forward" else first, log_weight))
                weight = (log_weight if absolute else self_normalised(log_weight)).exp()
                put(f"am_{direction}_weight", rows, weight.cpu().numpy().astype(np.float64))
    parts = {name: _narrow(values) for name, values in wide.items()}
    obsm = {name: values for name, values in parts.items() if name.startswith("X_")}
    return _Cells({name: values for name, values in parts.items() if name not in obsm}, obsm, weights, nfe)


def _narrow(values: Floats) -> Points:
    """In single precision, unless numbers are too large for it."""
    holds = np.abs(values).max(initial=0) <= np.finfo(np.float32).max
    return values.astype(np.float32) if holds else values


def _push(learner: Method, network: Any, x: Tensor, times: list[float], key: str) -> Prediction:
    """Move (n, d) particles in chunks."""
    rng, moments = generator(key, "sample", times[0], device=x.device), torch.tensor(times, device=x.device)
    parts = [learner.sample(network, chunk, moments, rng) for chunk in x.split(_CHUNK)]
    weights = [part.log_weight for part in parts if part.log_weight is not None]
    return Prediction(
        torch.cat([part.x for part in parts], 1),
        torch.cat(weights, 1) if weights else None,
        max(part.nfe for part in parts),
    )


def _field(field: Callable[[Any, Tensor, Tensor], Tensor | None], network: Any, t: float, x: Tensor) -> Tensor | None:
    """A field at one time and all of (n, d) points, in chunks; None where the method does not know it."""
    parts = [field(network, chunk.new_full((len(chunk),), t), chunk) for chunk in x.split(_CHUNK)]
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


def _velocity(learner: TrainedMethod, network: Any, t: float, x: Tensor, key: str) -> Tensor:
    """Mean velocity at one time: what the method tells, or how far it moves particles in a short step."""
    field = _field(learner.velocity, network, t, x)
    if field is not None:
        return field
    begin = min(t, 1 - _STEP)

    def once(repeat: int) -> Tensor:
        return (_push(learner, network, x, [begin, begin + _STEP], f"{key}/{repeat}").x[1] - x) / _STEP

    first = once(0)
    if torch.equal(first, once(1)):  # nothing is random
        return first
    return torch.stack([first, *(once(repeat) for repeat in range(1, _REPEATS))]).mean(0)


def _lines(
    learner: TrainedMethod, network: Any, path: SnapshotPath, key: str, device: torch.device
) -> tuple[Floats, Tensor, Floats | None]:
    """A few cells of the first snapshot on their way to the last, and their weights there.

    (T,) times, (T, n, d) positions, and (n,) weights of mean one, None without.
    """
    cells = path.points[0]
    chosen = torch.randperm(len(cells), generator=generator(key, "lines"))[:_LINES]
    moments = np.linspace(0, 1, 51)
    moved = _push(learner, network, cells[chosen].to(device), moments.tolist(), f"{key}/lines")
    weights = None if moved.log_weight is None else self_normalised(moved.log_weight[-1]).exp().cpu().double().numpy()
    return moments, moved.x, weights
