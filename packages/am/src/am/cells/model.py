"""Fit cells in memory: ``am.fit(adata, time_key="day")``."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from am.cells.errors import Jackknife, unclear
from am.cells.fates import entry
from am.cells.learners import AUTO, check_share, is_chosen, joined, learner, moves_more, named, plain_masses
from am.cells.population import CHOSEN, NOT_CHOSEN, Dynamics, Population, is_turned, judged, measured, tell, told_of
from am.cells.quality import Interval, summary, table, too_few, verdicts
from am.config import ConfigError, nearest, read_yaml, write_yaml
from am.dynamics.weighted import self_normalised
from am.extras import require
from am.io.cell_files import called, read_columns
from am.io.choice import populations
from am.io.files import atomic, write_text
from am.io.snapshots import DataError
from am.io.time_course import COLUMNS, EMBEDDINGS, ERRORS, Floats, read_cell_times, read_time_course
from am.marginals.units import Units
from am.methods.contract import TrainedMethod
from am.models import Model
from am.training.arithmetic import arithmetic
from am.training.checkpoint import load_weights, read_tensors, write_tensors
from am.training.devices import launch

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from am.io.cell_files import Source
    from am.marginals.snapshots import Coupling, Masses

    Cells: TypeAlias = AnnData | ArrayLike
    """Cells with the embedding of the fit, or (n, d) components of it."""
    Time: TypeAlias = float | str
    """A time as the column has it: a number, or a word such as ``day 2``."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Future:
    """Cells that were pushed to other times."""

    x: Floats
    """(T, n, d) components of the basis, at the T times asked for; (n, d) for one time alone."""
    weights: Floats | None
    """(T, n), or (n,): what each cell has become; None of methods that weigh no cells.

    Of mean one at each time, unless the fit was given masses: then a cell of weight 2 has become two."""

    @property
    def weights_or_ones(self) -> Floats:
        """The weights; one each of methods that weigh no cells."""
        return np.ones(self.x.shape[:-1]) if self.weights is None else self.weights


@dataclass(frozen=True, repr=False)
class CellModel:
    """What a method has learned of cells, in the units of their basis and of their column of times."""

    about: Mapping[str, Any]
    """Method, settings, seed, column, basis and the rest, as plain data."""
    learner: TrainedMethod[Any]
    units: Units
    dynamics: Dynamics
    words: Mapping[Any, float]
    """Times as numbers, by what the column has."""
    intervals: Sequence[Interval] = ()
    """What the held-out cells tell; nothing of a model that was loaded."""
    notes: Sequence[str] = field(default=())
    """Sentences on what not to trust."""
    parts: Sequence[CellModel] = field(default=())
    """Fits that lack a fold of the cells each; they push forward only. None of a model that was loaded."""
    folds: float = 1.0
    """Into how many folds the cells were cut."""

    @property
    def quality(self) -> pd.DataFrame:
        """A row for each interval: energy distances of pushed cells, no dynamics, noise floor, control; a verdict.

        The last row is of the whole course, where there are more than two times.
        """
        import pandas as pd

        return pd.DataFrame(table(self.intervals))

    @property
    def verdict(self) -> str:
        """Sentences on how far to believe the fit, the gravest first."""
        return "\n".join([*verdicts(self.intervals, str(self.about["time_key"])), *self.notes])

    def __repr__(self) -> str:
        times = ", ".join(f"{time:g}" for time in self.units.clock.times)
        return f"<CellModel {self.about['method']} of {self.about['basis']}, {self.about['time_key']} {times}>"

    def __str__(self) -> str:
        """Verdict and table, for people."""
        if not self.intervals:
            return repr(self)
        chosen = f"\n{CHOSEN}: {self.about['chosen']}" if "chosen" in self.about else ""
        return f"{self.verdict}\n{summary({None: self.intervals}, str(self.about['basis']))}{chosen}"

    def report(self, path: Path | str) -> Path:
        """Write a page in HTML that says how far to believe the fit; returns its path.

        The page opens with the verdict. It shows each distance with its interval, what the weights are worth, how many
        cells leave the data, and what was chosen from what.

        Raises
        ------
        ConfigError
            The model was loaded: a saved model keeps no quality, and the page is written when a model is fitted.

        Examples
        --------
        >>> import am, tempfile
        >>> model = am.fit(am.datasets.load("myoblast", dimensions=3), "time", method="am_closed")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "How far to believe this fit" in model.report(f"{folder}/quality.html").read_text()
        True
        """
        if not self.intervals:
            raise ConfigError("a loaded model keeps no quality; write the page of the model that am.fit returns")
        require("CellModel.report", "report")
        from am.cells.page import quality_page

        path = Path(path)
        write_text(quality_page({None: self.intervals}, self.about, self.verdict.splitlines()), path)
        return path

    def predict(self, cells: Cells, from_time: Time, to_time: Time | Sequence[Time], seed: int = 0) -> Future:
        """Push cells, which it need not have seen, from a time to a later or an earlier one, or to several.

        Parameters
        ----------
        cells
            (n, d) components, or an AnnData with them in ``obsm``.
        from_time, to_time
            Between the first time of the course and the last. Several times increase, or decrease, from the first on.
        seed
            Of methods with noise.

        Raises
        ------
        ConfigError
            A time is outside the course; times go back and forth; or there is none to push to.
        DataError
            Cells have other components than the fit.

        Examples
        --------
        >>> import am
        >>> cells = am.datasets.load("myoblast", dimensions=3)
        >>> model = am.fit(cells, "time")
        >>> model.predict(cells[:5], 0, 1).x.shape
        (5, 3)
        """
        several = not isinstance(to_time, str) and isinstance(to_time, Sequence | np.ndarray | Tensor)
        asked = [from_time, *(to_time if several else [to_time])]  # type: ignore[misc]
        moments = [self._learning(self.number(time)) for time in asked]
        steps = np.diff(moments)
        if not len(steps):
            raise ConfigError("there is no time to push cells to")
        if not ((steps > 0).all() or (steps < 0).all()):
            raise ConfigError(f"times must increase, or decrease, from from_time on; got {asked}")
        x = self._scaled(cells)
        with arithmetic():
            moved = self.dynamics.push(x, moments, f"predict/{seed}", back=bool(steps[0] < 0))
        positions = self.units.positions(moved.x[1:])
        weights = None
        if moved.log_weight is not None:
            log_weight = moved.log_weight[1:]
            if not self._absolute:
                log_weight = torch.stack([self_normalised(row) for row in log_weight])
            weights = log_weight.exp().cpu().numpy().astype(np.float64)
        if several:
            return Future(positions, weights)
        return Future(positions[0], None if weights is None else weights[0])

    def velocity(self, cells: Cells, time: Time) -> Floats:
        """Mean velocity of cells at a time, (n, d): components of the basis per unit of the column."""
        moment, t = self._at(time)
        with arithmetic():
            return self.units.velocities(self.dynamics.velocity(t, self._scaled(cells)), moment)

    def growth_rate(self, cells: Cells, time: Time) -> Floats:
        """Rate of growth of cells at a time, (n,), per unit of the column; of mean zero unless masses were given.

        Raises
        ------
        ConfigError
            The method weighs no cells.
        """
        moment, t = self._at(time)
        with arithmetic():
            rate = self.dynamics.growth_rate(t, self._scaled(cells))
        if rate is None:
            raise ConfigError(f"the method '{self.about['method']}' weighs no cells; uam_closed and uam do")
        return self.units.rates(rate if self._absolute else rate - rate.mean(), moment)

    def action(self, cells: Cells, time: Time) -> Floats:
        """The action of cells at a time, (n,), less its mean: its gradient in the basis is the velocity.

        It ranks the cells of one time. Its level at another time is not known, so it is no pseudotime.

        Raises
        ------
        ConfigError
            The method learns none.
        """
        moment, t = self._at(time)
        with arithmetic():
            action = self.dynamics.action(t, self._scaled(cells))
        if action is None:
            raise ConfigError(f"the method '{self.about['method']}' learns no action; am_closed and am do")
        return self.units.actions(action, moment)

    def save(self, folder: Path | str) -> Path:
        """Write ``settings.yaml`` and weights into a folder, for :func:`am.load`; returns its path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        networks = {"": self.dynamics.network}
        if not is_turned(self.learner):
            networks["_backward"] = self.dynamics.backward
        for end, network in networks.items():
            weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
            write_tensors(folder / f"model{end}.safetensors", weights, {"method": str(self.about["method"])})
        units = self.units.plain(self.about["settings"], self.learner.dimensions)
        with atomic(folder / "settings.yaml") as temporary:
            write_yaml({**self.about, "units": units}, temporary)
        return folder

    @classmethod
    def load(cls, folder: Path) -> CellModel:
        """The model that :meth:`save`, or ``am fit``, wrote into a folder; errors as of :func:`am.load`."""
        file = folder / "settings.yaml"
        about = read_yaml(file)
        units = about.pop("units")
        try:
            model = Model.of(about["method"], about["settings"], about["dimensions"], units["learning_times"])
            known, key = Units.from_plain(units), f"fit/{about['method']}/{about['seed']}"
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{file}: these are no settings of a fit to cells ({error})") from None
        method = model.method
        assert isinstance(method, TrainedMethod)  # noqa: S101  (for type checkers: it was fitted)
        networks = []
        for end in [""] if is_turned(method) else ["", "_backward"]:
            networks.append(model.fresh())
            weights = folder / f"model{end}.safetensors"
            load_weights(networks[-1], read_tensors(weights)[0], str(weights))
        backward = networks[1] if len(networks) > 1 else networks[0].reversed()
        dynamics = Dynamics(method, networks[0], backward, key, torch.device("cpu"), {})
        return cls(about, method, known, dynamics, {float(time): float(time) for time in known.clock.times})

    @property
    def _absolute(self) -> bool:
        return self.about["masses"] != "equal"

    def number(self, time: Time) -> float:
        """A time as a number of the column's unit; ConfigError where it is none."""
        if time in self.words:
            return self.words[time]
        try:
            return float(time)
        except (TypeError, ValueError):
            raise ConfigError(f"there is no time '{time}'; {nearest(str(time), map(str, self.words))}") from None

    def _at(self, time: Time) -> tuple[float, float]:
        number = self.number(time)
        return number, self._learning(number)

    def _learning(self, number: float) -> float:
        """A time in learning time; ConfigError where it is outside the course."""
        try:
            return float(self.units.clock.learning(number))
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def _scaled(self, cells: Cells) -> Tensor:
        basis, d = str(self.about["basis"]), len(self.units.centre)
        known = entry(cells, "obsm", basis, ", which the fit was to")[:, :d] if hasattr(cells, "obsm") else cells
        x = np.asarray(known, np.float64)
        if x.ndim != 2 or x.shape[1] != d or not len(x) or not np.isfinite(x).all():
            raise DataError(f"cells have the shape {x.shape}; (n, {d}) finite components of '{basis}' are needed")
        return self.units.scaled(x)


@contextmanager
def checkpoints(folder: Path | str | None) -> Iterator[Path]:
    """The folder of checkpoints; one that does not last where none is given."""
    if folder is not None:
        yield Path(folder)
        return
    with TemporaryDirectory() as temporary:
        yield Path(temporary)


def opened(cells: Source | str, dimensions: int | None, held_out: float) -> Source:
    """The cells that a call is about, whose plain mistakes are found before anything is read.

    Raises
    ------
    DataError
        They are neither an AnnData nor a path, or ``held_out`` is no share of them.
    ConfigError
        Fewer than one of the dimensions is asked for.
    """
    source: Source = Path(cells) if isinstance(cells, str) else cells
    if not isinstance(source, Path) and not hasattr(source, "obsm"):
        raise DataError(f"cells are a {type(cells).__name__}; an AnnData, or the path of a file of one, is needed")
    if dimensions is not None and dimensions < 1:
        raise ConfigError(f"dimensions is {dimensions}; 1 is the least")
    check_share(held_out)
    return source


def replicates_of(source: Source, key: str | None) -> list[Any] | None:
    """(n,) values of a column that are held out as wholes; None without a column."""
    return None if key is None else read_columns(source, [key])[key].tolist()


def fit(
    cells: Source | str,
    time_key: str,
    *,
    basis: str = "X_pca",
    method: str = AUTO,
    dimensions: int | None = None,
    masses: Masses = "equal",
    coupling: Coupling | None = None,
    relaxation: float | None = None,
    settings: Mapping[str, Any] | None = None,
    held_out: float = 0.2,
    replicate_key: str | None = None,
    seed: int = 0,
    state: Path | str | None = None,
    device: str = "cpu",
) -> CellModel:
    """Learn how cells move from snapshots of them, and measure how good that is on cells that were held out.

    What is learned of all cells is written into ``cells``, where it is an AnnData: ``obsm["X_am_velocity"]``,
    ``obsm["X_am_forward"]`` and ``obsm["X_am_backward"]``, where each cell is at the last time and at the first;
    ``obs["am_action"]``, and of methods that weigh cells ``obs["am_growth"]`` and weights; ``uns["am"]`` with the
    quality. All is in units of the basis and of the column. Where at least three folds of cells were held out,
    ``obsm["X_am_velocity_error"]`` and ``obs["am_growth_error"]`` are standard errors, by a jackknife over these folds.

    Parameters
    ----------
    cells
        An AnnData, or a file of one (``.h5ad``, Zarr), of which the basis and the column alone are read.
    time_key
        Column of ``obs``: numbers, categories, dates, or words such as ``day 2``, ``48h`` and ``E8.5``.
    basis
        Key of ``obsm``: principal components, an embedding of scVI, and the like.
    method
        ``auto`` is Action Matching in closed form, unbalanced where masses are given; or the name of a method that
        learns from snapshots. Unless settings or a coupling are given, ``auto`` chooses form, noise, lambda and
        features by :func:`am.choose`. Cells that the quality is measured on choose nothing for the fit that they
        judge.
    dimensions
        Leading components of the basis to use; all when None.
    masses
        ``equal``; ``counts`` where the numbers of cells tell how many there are; or a number for each time.
    coupling, relaxation
        Of neighbouring snapshots, as in :class:`am.SnapshotPath`; the method's own when None.
    settings
        Of the method, as a mapping.
    held_out
        Share of the cells of each time that the quality is measured on, by a fit to the others; 0 measures it on the
        cells that were trained on, which flatters.
    replicate_key
        Column of ``obs`` whose values are held out as wholes.
    seed
        Every random number is a function of it and of the method's name.
    state
        Folder for checkpoints, from which a killed training goes on.
    device
        cpu, cuda, or auto.

    Raises
    ------
    DataError
        The cells do not make a time course: says why, and what to do.
    ConfigError
        There is no such method or setting, or they do not go together: names the nearest valid choice.
    TrainingError
        Training cannot go on.

    Examples
    --------
    >>> import am
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> model = am.fit(cells, time_key="time")
    >>> print(model.verdict.splitlines()[0])  # doctest: +ELLIPSIS
    from time ...
    >>> cells.obsm["X_am_velocity"].shape
    (271, 3)
    """
    require("am.fit", "cells")
    source = opened(cells, dimensions, held_out)
    masses = plain_masses(masses)
    name = named(method, masses)
    learned = learner(name, settings or {}, masses)
    joining, cost = joined(name, learned, coupling, relaxation)
    times = read_cell_times(source, time_key)
    course = read_time_course(source, time_key, basis, dimensions, told=times)
    if (column := populations(source, time_key)) and column != replicate_key:
        log.warning(
            "all cells are fitted as one population, whatever their '%s'; fit each apart if they differ", column
        )
    population = Population.of(course, learned, f"fit/{name}/{seed}", masses, joining, cost)
    if (warning := population.units.warning(course)) is not None:
        log.warning("%s: %s", called(source), warning)
    replicates = replicates_of(source, replicate_key)
    fabric = launch(device)
    choice = None
    choosing = seed if is_chosen(method, settings, coupling, relaxation) else None
    if choosing is not None:
        population, choice = population.chosen(choosing, held_out)
    if choice is not None:
        name, learned = choice.setup.method, population.learner
        joining, cost = population.path.coupling, choice.setup.path.get("relaxation")
    jackknife = Jackknife(population)
    parts: list[tuple[TrainedMethod[Any], Units, Dynamics]] = []  # without their cells

    def watch(part: Population, dynamics: Dynamics) -> None:
        jackknife.add(part, dynamics)
        parts.append((part.learner, part.units, dynamics))

    with checkpoints(state) as folder:
        found = measured(
            population,
            held_out,
            replicates,
            lambda part, name: part.learn(fabric, folder / name, backward=False),
            choosing,
            watch,
        )
        dynamics = population.learn(fabric, folder / "all")
        with arithmetic():
            told = tell(population, dynamics).with_errors(jackknife.errors())
            if not found:
                found = judged(population, dynamics)
    about = {
        "method": name,
        "settings": learned.settings.model_dump(mode="json"),
        "seed": seed,
        "time_key": time_key,
        "time_unit": course.unit,
        "basis": course.basis,
        "dimensions": course.x.shape[1],
        "masses": masses,
        "coupling": joining,
        "relaxation": cost,
        **told_of(choice),
    }
    about = {word: value for word, value in about.items() if value is not None}
    notes = [too_few(told.weights, moves_more(about["settings"], "among the settings"), time_key)]
    notes.append(unclear(told.obsm))
    if choosing is not None and choice is None:
        notes.append(NOT_CHOSEN)
    words = {word: number for number, of_column in times.words.items() for word in of_column}
    model = CellModel(about, learned, population.units, dynamics, words, found, [note for note in notes if note])
    if parts:
        lacking = [
            replace(model, learner=method, units=units, dynamics=of_part, intervals=(), notes=())
            for method, units, of_part in parts
        ]
        model = replace(model, parts=lacking, folds=jackknife.folds)
    if not isinstance(source, Path):
        for table, names, new in ((source.obs, COLUMNS, told.obs), (source.obsm, EMBEDDINGS, told.obsm)):
            for name in (*names, *ERRORS):
                if name in table:  # of an earlier fit
                    del table[name]
            for name, values in new.items():
                table[name] = values
        units = population.units.plain(about["settings"], learned.dimensions)
        plain = {word: json.dumps(value) for word, value in {"settings": about["settings"], "units": units}.items()}
        source.uns["am"] = {**about, **plain, "quality": model.quality, "verdict": model.verdict}
    log.info("%s", model)
    return model
