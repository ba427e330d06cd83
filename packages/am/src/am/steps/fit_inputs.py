"""What ``am fit`` is asked for, checked before torch is loaded: a mistake must not cost seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from am.cells.learners import check_share, is_chosen, joined, learner, named
from am.config import ConfigError, read_yaml
from am.io.choice import Rows, choose, groups, populations
from am.io.provenance import file_sha256
from am.io.snapshots import DataError
from am.io.time_course import TimeCourse, read_cell_times, read_time_course
from am.io.times import Times

if TYPE_CHECKING:
    from am.marginals.snapshots import Coupling, Masses
    from am.methods.contract import TrainedMethod


@dataclass(frozen=True)
class Part:
    """Cells that are fitted together."""

    name: str | None
    """Value of the column of groups; None where all chosen cells are one population."""
    folder: str
    """Where its results lie below the folder of the fit; empty for that folder itself."""
    rows: Rows | None
    """(n,) which cells of the file; None for all."""
    course: TimeCourse


@dataclass(frozen=True)
class Inputs:
    """All that a fit depends on."""

    source: Path
    sha256: str
    """Of the source when it was read."""
    learner: TrainedMethod[Any]
    method: str
    seed: int
    time_key: str
    masses: Masses
    coupling: Coupling | None
    """None for methods that join cells of two snapshots by themselves."""
    relaxation: float | None
    """None unless the coupling is unbalanced."""
    held_out: float
    """Share of the cells of each time that quality is measured on."""
    replicate_key: str | None
    """Column of ``obs`` whose values are held out as wholes."""
    where: Mapping[str, str]
    group_key: str | None
    parts: Sequence[Part]
    hint: str | None
    """A sentence on populations that are fitted as one, or on cells that are in no group."""
    choosing: bool = False
    """Whether cells choose the setup."""
    choice: Mapping[str, Any] = field(default_factory=dict)
    """What they chose, from what."""

    @property
    def name(self) -> str:
        """Of the source, without the endings of its format."""
        return source_name(self.source)

    @property
    def largest(self) -> Part:
        """The part with the most cells, which chooses for all."""
        return max(self.parts, key=lambda part: len(part.course.x))

    @property
    def unit(self) -> str | None:
        """Of time, where the column tells one."""
        return self.parts[0].course.unit

    def about(self, part: Part | None = None) -> dict[str, Any]:
        """The settings of the whole, or of a part, as plain data."""
        where = dict(self.where)
        if part is not None and part.name is not None and self.group_key is not None:
            where[self.group_key] = part.name
        told = {
            "method": self.method,
            "settings": self.learner.settings.model_dump(mode="json"),
            "seed": self.seed,
            "time_key": self.time_key,
            "time_unit": self.unit,
            "basis": self.parts[0].course.basis,
            "dimensions": self.parts[0].course.x.shape[1],
            "masses": self.masses if isinstance(self.masses, str) else list(self.masses),
            "coupling": self.coupling,
            "relaxation": self.relaxation,
            "held_out": self.held_out,
            "replicate_key": self.replicate_key,
            "where": [f"{column}={values}" for column, values in where.items()],
            **self.choice,
        }
        if part is None and self.group_key is not None:
            told |= {"group_key": self.group_key, "groups": {part.name: part.folder for part in self.parts}}
        return {key: value for key, value in told.items() if value is not None and value != []}


def source_name(path: Path) -> str:
    """The name of a file of cells without the endings of its format.

    Examples
    --------
    >>> source_name(Path("raw/course.zarr.zip"))
    'course'
    """
    return Path(path.stem).stem if path.name.endswith(".zarr.zip") else path.stem


def read_inputs(
    source: Path,
    time_key: str,
    basis: str,
    method: str,
    *,
    seed: int = 0,
    iterations: int | None = None,
    dimensions: int | None = None,
    masses: Masses = "equal",
    coupling: Coupling | None = None,
    relaxation: float | None = None,
    held_out: float = 0.2,
    replicate_key: str | None = None,
    where: Sequence[str] = (),
    group_key: str | None = None,
    settings: Path | None = None,
) -> Inputs:
    """Check what is asked for, and read the cells.

    Parameters
    ----------
    masses
        How much there is at each time: with ``counts`` of cells, or numbers, growth rates and weights are absolute.
    coupling, relaxation
        Of neighbouring snapshots, as in :class:`am.marginals.snapshots.SnapshotPath`; the method's own when None.
    held_out, replicate_key
        Cells that quality is measured on, as in :func:`am.fit`.
    where
        Each ``column=value``, or several values with commas between them: cells that all of these hold for.
    group_key
        Column of ``obs`` whose values are fitted apart.

    Raises
    ------
    ConfigError
        The method cannot be fitted, or cannot use an option that is given; or a setting is wrong.
    DataError
        The cells do not make a time course, none is chosen, or ``held_out`` is no share of them.
    """
    check_share(held_out)
    own = {} if settings is None else read_yaml(settings)
    asked, method = method, named(method, masses)
    learned = learner(method, own, masses, iterations, str(settings or "settings"))
    joining, cost = joined(method, learned, coupling, relaxation)
    conditions = _conditions(where)
    if group_key is not None and group_key in conditions and "," not in conditions[group_key]:
        raise ConfigError(f"--group-key {group_key}: --where leaves one group of it; take one of both away")
    if group_key == time_key:
        raise ConfigError(f"--group-key {group_key}: that is the column of times; name a column of conditions")
    sha256 = file_sha256(source) if source.exists() else ""
    rows = choose(source, conditions)
    parts: list[Part] = []
    chosen_by: list[tuple[str | None, Rows | None]] = [(None, rows)]
    times: Times | None = None
    hint: str | None = None
    if group_key is not None:
        found = groups(source, group_key, rows)
        chosen_by = [*found.items()]
        grouped = np.logical_or.reduce([*found.values()])
        times = read_cell_times(source, time_key, grouped)  # in one unit for all groups
        cells = len(grouped) if rows is None else int(rows.sum())
        if alone := cells - int(grouped.sum()):
            hint = f"{alone} of {cells} cells have no '{group_key}': they are in no group, and nothing is told of them"
    for name, chosen in chosen_by:
        try:
            course = read_time_course(source, time_key, basis, dimensions, chosen, times)
        except DataError as error:
            if name is None:
                raise
            raise DataError(
                f"{error}; these are the cells of {group_key} '{name}', --where leaves groups out"
            ) from None
        if _folder(name) in {part.folder for part in parts}:
            raise DataError(f"{source}: two values of '{group_key}' give the folder '{_folder(name)}'; rename one")
        parts.append(Part(name, _folder(name), chosen, course))
    if group_key is None and (column := populations(source, time_key)) and column not in conditions:
        hint = (
            f"all cells are fitted as one population, whatever their '{column}'; --group-key {column} fits each apart, "
            f"--where {column}=VALUE one alone"
        )
    return Inputs(
        source,
        sha256,
        learned,
        method,
        seed,
        time_key,
        masses,
        joining,
        cost,
        held_out,
        replicate_key,
        conditions,
        group_key,
        parts,
        hint,
        choosing=iterations is None and is_chosen(asked, own, coupling, relaxation),
    )


def _conditions(where: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in where:
        column, equals, values = text.partition("=")
        if not (column and equals and values):
            raise ConfigError(f"--where '{text}': give COLUMN=VALUE, as in condition=wt")
        if column in found:
            raise ConfigError(f"--where '{text}': '{column}' is given twice; give its values in one, with commas")
        found[column] = values
    return found


def _folder(name: str | None) -> str:
    """A name that every file system takes."""
    if name is None:
        return ""
    safe = quote(name, safe=" +=,()")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe or "%"
