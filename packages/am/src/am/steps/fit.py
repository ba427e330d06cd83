"""Fit a method to anybody's ``.h5ad``, and write what it says of every cell."""

from __future__ import annotations

import json
import logging
import shutil
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from am import plugins
from am.config import ConfigError, digest, merge, read_yaml, write_yaml
from am.data.samples import Samples
from am.data.time_course import Floats, Points, TimeCourse, annotate, read_time_course
from am.dynamics.trajectory import DynamicsError
from am.dynamics.weighted import self_normalised
from am.marginals.snapshots import Masses, SnapshotPath
from am.marginals.units import Units
from am.methods.contract import ActionMethod, Method, Prediction, TrainedMethod
from am.metrics.fields import cosines
from am.potentials.potential import ReversedPotential
from am.randomness import derive_seed, generator
from am.results.figures.saving import save_figure
from am.results.figures.trajectories import trajectories
from am.results.files import atomic, remove_folder
from am.results.provenance import Asked, collect, file_sha256, named, origin, peak_memory, write_provenance
from am.runs import build_method, step_digest
from am.training.arithmetic import arithmetic
from am.training.checkpoint import write_tensors
from am.training.devices import device_name, launch
from am.training.loop import Trained

log = logging.getLogger(__name__)

_STEP = 0.01
"""Of t, over which velocities are measured of methods that do not tell them as a field."""
_REPEATS = 64
_LINES = 100
_CHUNK = 20_000
"""Particles that are moved at once: a million at a time would need memory that a workstation does not have."""


def fit(
    source: Path,
    out: Path,
    time_key: str,
    basis: str,
    method: str,
    *,
    seed: int = 0,
    iterations: int | None = None,
    dimensions: int | None = None,
    masses: Masses = "equal",
    settings: Path | None = None,
    accelerator: str = "auto",
    checkpoint_seconds: float = 30.0,
) -> list[Path]:
    """Train ``method`` on the cells of ``source``, or continue what was killed, and move every cell through time.

    With ``masses`` that are ``counts`` of cells or a number for each time, growth rates and weights are absolute.

    Into the folder ``out`` go a copy of ``source`` with velocities, growth rates and predicted cells, the weights,
    all settings, losses, provenance and a figure of trajectories; returns their paths.

    Raises
    ------
    ConfigError
        The method is not to be had, cannot use masses that are given, or a setting is wrong.
    DataError
        The cells do not make a time course.
    TrainingError, WriteError
        Training cannot go on; ``out`` cannot be written to.
    """
    started = datetime.now(UTC)
    learner = _learner(method, settings, iterations)
    if masses != "equal" and type(learner).growth_rate is Method.growth_rate:
        raise ConfigError(f"the method '{method}' weighs no cells and cannot use masses; uam does")
    course = read_time_course(source, time_key, basis, dimensions)
    units = Units.of(course)
    if (warning := units.warning(course)) is not None:
        log.warning("%s: %s", source, warning)
    about = {
        "method": method,
        "settings": learner.settings.model_dump(mode="json"),
        "seed": seed,
        "time_key": time_key,
        "basis": course.basis,
        "dimensions": course.x.shape[1],
        "masses": masses if isinstance(masses, str) else list(masses),
    }
    key, modules = f"fit/{method}/{seed}", ["fit", f"am.methods.{method}"]
    code = step_digest(*modules)
    state = out / "state"
    fabric = launch(accelerator)
    trained_by = {**about, "settings": learner.settings.model_dump(mode="json", exclude={"sampling"})}
    fitting = _Fitting(learner, fabric, state, digest([trained_by, code, file_sha256(source)]), checkpoint_seconds)
    path = units.path(course, masses)
    network, trained = fitting.train(path, key)
    models = {"model": trained}
    if isinstance(learner, ActionMethod) and learner.reversible:
        backward: Any = ReversedPotential(network)
    else:  # learned from the course run backwards
        backward, models["model_backward"] = fitting.train(_backwards(path), f"{key}/backward")
    begun = clock.monotonic()
    try:
        with arithmetic():
            cells = _cells(learner, network, backward, course, units, path.masses is not None, key, fabric.device)
            moments, lines = _lines(learner, network, path, key, fabric.device)
    except DynamicsError as error:
        kept = f"what was trained is kept in {state}, so that another 'sampling' trains nothing again"
        raise DynamicsError(f"{error}; {kept}") from error
    seconds = clock.monotonic() - begun
    if course.velocity is not None:
        found, measured = map(torch.from_numpy, (cells.obsm["X_am_velocity"], course.velocity))
        cells.obs["am_velocity_cosine"] = cosines(found, measured).numpy()

    record = collect(
        code_digest=code,
        config_sha256=digest(about),
        data=[source],
        files=[],
        device=device_name(fabric.device),
        seed=seed,
        started=started,
        train_seconds=sum(model.seconds for model in models.values()),
        sample_seconds=seconds,
        nfe=cells.nfe,
        peak_memory_bytes=peak_memory(),
    )
    copy = out / f"{source.stem}_am.h5ad"
    written = [copy, *(out / f"trajectories.{suffix}" for suffix in ("pdf", "png"))]
    plain = units.plain(about["settings"], learner.dimensions)
    parts = {"settings": about["settings"], "units": plain, "provenance": record}
    told = {**about, **{name: json.dumps(part) for name, part in parts.items()}}
    annotate(source, copy, cells.obs, cells.obsm, told)
    figure = trajectories(
        Samples(course.x.astype(np.float32, copy=False), course.time),
        [(learner.title, [(units.clock.user(moments), units.positions(lines))])],
        [f"{course.basis.removeprefix('X_')} {i + 1}" for i in range(course.x.shape[1])],
        time=time_key,
    )
    asked = Asked(file=named(out / "settings.yaml"), keys=list(about), sha256=digest(about))
    made_of = origin([source], code, modules, [asked])
    for file in written[1:]:
        save_figure(figure, file, made_of)
    for name, model in models.items():
        suffix = name.removeprefix("model")
        with atomic(out / f"training{suffix}.csv") as temporary:
            shutil.copyfile(model.log, temporary)
        write_tensors(out / f"{name}.safetensors", model.weights, {"run": key, "method": method})
        written += [out / f"{name}.safetensors", out / f"training{suffix}.csv"]
    with atomic(out / "settings.yaml") as temporary:
        write_yaml({**about, "units": plain}, temporary)
    record["files"] = {file.name: file_sha256(file) for file in written}
    write_provenance(record, out / "provenance.json")
    remove_folder(state)
    return [*written, out / "settings.yaml", out / "provenance.json"]


@dataclass(frozen=True)
class _Fitting:
    """All that training two networks shares."""

    learner: TrainedMethod
    fabric: Fabric
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
    nfe: int


def _learner(name: str, settings: Path | None, iterations: int | None) -> TrainedMethod:
    """The method with its settings; it must learn from snapshots, and have something to learn."""
    given = {} if settings is None else read_yaml(settings)
    if iterations is not None:
        given = merge(given, {"training": {"iterations": iterations}})
    if name in plugins.names("am.methods") and not _is_fitted(name):
        able = filter(_is_fitted, plugins.names("am.methods"))
        raise ConfigError(f"the method '{name}' cannot be fitted to snapshots; choose from: {', '.join(able)}")
    method = build_method(name, given, str(settings or "settings"))
    assert isinstance(method, TrainedMethod)  # noqa: S101  (for type checkers: it is fitted)
    return method


def _is_fitted(name: str) -> bool:
    kind: type[Method] = plugins.load("am.methods", name).METHOD
    return issubclass(kind, ActionMethod) or (issubclass(kind, TrainedMethod) and kind.learns_from == "snapshots")


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
    parts: dict[str, Points] = {}
    nfe = 0

    def put(name: str, rows: Any, values: Floats) -> None:
        parts.setdefault(name, np.zeros((len(course.x), *values.shape[1:]), np.float32))[rows] = values

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
                weight = (log_weight if absolute else self_normalised(log_weight)).exp()
                put(f"am_{direction}_weight", rows, weight.cpu().numpy().astype(np.float64))
    obsm = {name: values for name, values in parts.items() if name.startswith("X_")}
    return _Cells({name: values for name, values in parts.items() if name not in obsm}, obsm, nfe)


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
) -> tuple[Floats, Tensor]:
    """(T,) times and (T, n, d) positions of a few cells of the first snapshot on their way to the last."""
    cells = path.points[0]
    chosen = torch.randperm(len(cells), generator=generator(key, "lines"))[:_LINES]
    moments = np.linspace(0, 1, 51)
    return moments, _push(learner, network, cells[chosen].to(device), moments.tolist(), f"{key}/lines").x
