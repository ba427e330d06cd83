"""Fit a method to anybody's ``.h5ad``, and write what it says of every cell."""

from __future__ import annotations

import json
import logging
import shutil
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from am.cells.errors import Jackknife, unclear
from am.cells.learners import moves_more
from am.cells.page import quality_page
from am.cells.population import (
    NOT_CHOSEN,
    Dynamics,
    Lines,
    Population,
    Told,
    is_turned,
    judged,
    lines,
    measured,
    tell,
    told_of,
)
from am.cells.quality import Interval, gravity, summary, table, too_few, verdicts
from am.config import digest, write_yaml
from am.dynamics.trajectory import DynamicsError
from am.io.cell_files import read_columns
from am.io.files import atomic, write_text
from am.io.provenance import (
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
from am.io.samples import Samples
from am.io.snapshots import DataError
from am.io.time_course import Points, annotate
from am.report.figures.saving import save_figure
from am.report.figures.trajectories import trajectories
from am.runs import step_digest
from am.steps.fit_folder import RECORD, SETTINGS, FitFolder
from am.steps.fit_inputs import Inputs, Part
from am.training.arithmetic import arithmetic
from am.training.checkpoint import write_tensors
from am.training.devices import Processes, device_name, launch

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

QUALITY, PAGE = "quality.csv", "quality.html"


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


def chosen(inputs: Inputs) -> Inputs:
    """The same with the setup that cells choose, where nothing of it is given; the largest group chooses for all.

    Where they choose none, a warning says so.
    """
    if not inputs.choosing:
        return inputs
    population, choice = _population(inputs.largest, inputs).chosen(inputs.seed, inputs.held_out)
    if choice is None:
        log.warning("%s: %s", inputs.source, NOT_CHOSEN)
        return inputs
    return replace(
        inputs,
        learner=population.learner,
        method=choice.setup.method,
        coupling=population.path.coupling,
        relaxation=choice.setup.path.get("relaxation"),
        choice=told_of(choice),
    )


def _population(part: Part, inputs: Inputs) -> Population:
    key = f"fit/{inputs.method}/{inputs.seed}"
    return Population.of(part.course, inputs.learner, key, inputs.masses, inputs.coupling, inputs.relaxation)


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
    whole = {copy, out / SETTINGS, out / RECORD, out / QUALITY, out / PAGE}
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
        gravest_first = sorted(zip(runs, done, strict=True), key=lambda pair: gravity(pair[1].quality))
        words = [word for run, one in gravest_first for word in run.words(one, inputs.time_key)]
        unchosen = [NOT_CHOSEN] if inputs.choosing and not inputs.choice else []
        write_text(quality_page(quality, inputs.about(), [*words, *unchosen]), out / PAGE)
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
        written += _finish(out, [*here, out / QUALITY, out / PAGE], record, units)[len(here) :]
        folder.finish([state / run.digest[:16] for run in runs])
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
        train_seconds=sum(model.seconds for one in done for model in one.dynamics.models.values()),
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
    population: Population
    held_out: float
    replicates: Sequence[Any] | None
    """(n,) values that are held out as wholes."""
    digest: str
    """Of all that weights depend on."""
    choosing: int | None
    """Seed with which each fold chooses its setup; None where it is given, or another group chooses."""

    @classmethod
    def of(cls, part: Part, inputs: Inputs, out: Path, code: str) -> _Run:
        about, population = inputs.about(part), _population(part, inputs)
        if (warning := population.units.warning(part.course)) is not None:
            log.warning("%s: %s", inputs.source, warning)
        replicates = None
        if inputs.replicate_key is not None:
            column = read_columns(inputs.source, [inputs.replicate_key])[inputs.replicate_key]
            replicates = (column if part.rows is None else column[part.rows]).tolist()
        trained_by = {**about, "settings": inputs.learner.settings.model_dump(mode="json", exclude={"sampling"})}
        state = digest([trained_by, code, inputs.sha256])
        choosing = inputs.seed if inputs.choosing and part is inputs.largest else None
        return cls(part, out / part.folder, about, population, inputs.held_out, replicates, state, choosing)

    @property
    def targets(self) -> set[Path]:
        """All files that will lie in its folder."""
        figures = [self.folder / f"trajectories.{suffix}" for suffix in ("pdf", "png")]
        ends = ("",) if is_turned(self.population.learner) else ("", "_backward")
        models = [f"{kind}{end}" for end in ends for kind in ("model", "training")]
        names = [f"{name}.{'safetensors' if name.startswith('model') else 'csv'}" for name in models]
        own = [self.folder / name for name in (*names, SETTINGS, RECORD, QUALITY)]
        return {*figures, *map(sidecar, figures), *own}

    def told(self) -> dict[str, Any]:
        """For a file of settings."""
        units = self.population.units.plain(self.about["settings"], self.population.learner.dimensions)
        return {**self.about, "units": units}

    def done(self, state: Path, fabric: Processes, checkpoint_seconds: float) -> _Done:
        """Train, and move every cell."""
        if self.part.name is not None:
            log.info("%s: %d cells", self.part.name, len(self.part.course.x))

        def learn(population: Population, folder: str, *, backward: bool = False) -> Dynamics:
            place = state / self.digest[:16] / folder
            return population.learn(fabric, place, self.digest, checkpoint_seconds, backward=backward)

        jackknife = Jackknife(self.population)
        quality = measured(self.population, self.held_out, self.replicates, learn, self.choosing, jackknife.add)
        dynamics = learn(self.population, "all", backward=True)
        begun = clock.monotonic()
        with arithmetic():
            cells = tell(self.population, dynamics).with_errors(jackknife.errors())
            paths = lines(self.population, dynamics)
            if not quality:
                quality = judged(self.population, dynamics)
        return _Done(dynamics, cells, paths, quality, clock.monotonic() - begun)

    def write(self, done: _Done, inputs: Inputs, code: str) -> list[Path]:
        """Write figure, weights and losses."""
        course, units, title = self.part.course, self.population.units, self.population.learner.title
        figure = trajectories(
            Samples(course.x.astype(np.float32, copy=False), course.time),
            [
                (
                    title if self.part.name is None else f"{title}, {self.part.name}",
                    [(units.clock.user(done.lines.moments), units.positions(done.lines.x))],
                )
            ],
            [f"{course.basis.removeprefix('X_')} {i + 1}" for i in range(course.x.shape[1])],
            time=f"{inputs.time_key} ({inputs.unit})" if inputs.unit else inputs.time_key,
            weights=done.lines.weights,
        )
        asked = Asked(file=named(self.folder / SETTINGS), keys=list(self.about), sha256=digest(self.about))
        made_of = origin([inputs.source], code, ["fit", f"am.methods.{inputs.method}"], [asked])
        written = [self.folder / f"trajectories.{suffix}" for suffix in ("pdf", "png")]
        for file in written:
            save_figure(figure, file, made_of)
        for end, model in done.dynamics.models.items():
            with atomic(self.folder / f"training{end}.csv") as temporary:
                shutil.copyfile(model.log, temporary)
            about = {"run": self.population.key, "method": inputs.method}
            write_tensors(self.folder / f"model{end}.safetensors", model.weights, about)
            written += [self.folder / f"model{end}.safetensors", self.folder / f"training{end}.csv"]
        return written

    def words(self, done: _Done, time_key: str) -> list[str]:
        """How far to believe it."""
        group = "" if self.part.name is None else f"{self.part.name}: "
        remedy = moves_more(self.about["settings"], "in --settings")
        doubts = too_few(done.cells.weights, remedy, time_key), unclear(done.cells.obsm)
        return [f"{group}{sentence}" for sentence in (*verdicts(done.quality, time_key), *doubts) if sentence]


@dataclass(frozen=True)
class _Done:
    """What training and moving cells gave."""

    dynamics: Dynamics
    cells: Told
    lines: Lines
    quality: list[Interval]
    seconds: float
