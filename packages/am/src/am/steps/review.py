"""Check committed results in minutes: tables, verdicts and figures made anew from metrics, beside references."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from am.config import ConfigError, nearest
from am.experiments import Project, ResolvedExperiment
from am.results.files import atomic
from am.results.numbers import number
from am.results.provenance import origin
from am.results.verdicts import Judgement, write_verdicts
from am.runs import step_digest
from am.steps.draw import draw
from am.steps.tabulate import tabulate
from am.steps.verify import judged, results_in

TOLERANCE = 1e-6
"""Relative, between a number made anew and its reference: sums differ by less between machines."""
_KEYS = ("experiment", "method", "other", "metric", "source")
_PROSE = ("title", "claim", "controls", "why", "warning")


def review(settings: Path, kept: Path, out: Path, accept: bool = False) -> tuple[list[Judgement], list[str]]:
    """Judge everything that was ever published by the metrics in ``kept``, at every scale that there is there.

    Parameters
    ----------
    settings
        The folder of the project's settings.
    kept
        ``<scale>/<experiment>/`` holds metrics. References are ``verdict.csv``, ``<scale>/tables/<experiment>.csv`` and
        ``<experiment>_pairs.csv`` beside it.
    out
        Tables, figures of metrics over time, and verdicts appear here.
    accept
        Write the references instead of comparing with them.

    Returns
    -------
    The judgements, and a sentence for each claim that does not hold and each number that is not its reference.

    Raises
    ------
    ConfigError
        There are no results, or results of an experiment or a scale that there is not.
    """
    known = sorted(file.stem for file in (settings / "experiments").glob("*.yaml"))
    files = {(place.parent.name, place.name): results_in(place) for place in sorted(kept.glob("*/*"))}
    files = {place: found for place, found in files.items() if found}
    if not files:
        raise ConfigError(f"{kept}: there are no results to review")
    for _, name in files:
        if name not in known:
            raise ConfigError(f"{kept}: there is no experiment '{name}'; {nearest(name, known)}")
    scales = sorted({scale for scale, _ in files})
    projects = {scale: Project(settings, {"scale": scale, "experiments": known}, opt_in=True) for scale in scales}
    judgements: list[Judgement] = []
    references: dict[Path, Path] = {}
    for name in known:
        experiments = [project.experiments[name] for project in projects.values()]
        judgements += _claims(judged(one, files.get((one.scale, name), [])) for one in experiments)
        for one in experiments:
            if found := files.get((one.scale, name)):
                table = Path(one.scale, "tables", f"{name}.csv")
                _remake(one, found, out / table, out / one.scale / "figures")
                for shown in (table, table.with_stem(f"{name}_pairs")):
                    references[out / shown] = kept / shown
    asked = [projects[scale].experiments[name].asked("labels", "published") for scale, name in files]
    made_of = origin([file for found in files.values() for file in found], step_digest("review"), ["review"], asked)
    verdict = out / "verdict.csv"
    write_verdicts(judgements, verdict, verdict.with_suffix(".md"), verdict.with_suffix(".html"), made_of)
    references[verdict] = kept / verdict.name
    faults = [
        f"{one.experiment}, {one.title}, {one.metric}: the verdict on {number(one.published)} is {one.verdict}, "
        f"the claim needs {one.expected}. {one.why}"
        for one in judgements
        if one.fails
    ]
    for made, reference in references.items():
        if accept:
            with atomic(reference) as temporary:
                shutil.copyfile(made, temporary)
        else:
            faults += _differences(made, reference)
    return judgements, faults


def _claims(of_scales: Iterable[Sequence[Judgement]]) -> list[Judgement]:
    """What was run, at whatever scale; and once what was published and never run."""
    every = [one for judgements in of_scales for one in judgements]
    chosen = [one for one in every if one.seeds]
    told = {_claim(one) for one in chosen}
    for one in every:
        if one.claim and _claim(one) not in told:
            told.add(_claim(one))
            chosen.append(one)
    return chosen


def _claim(one: Judgement) -> tuple[object, ...]:
    return one.method, one.metric, one.source, one.claim


def _remake(experiment: ResolvedExperiment, files: Sequence[Path], table: Path, figures: Path) -> None:
    floors = [file for file in files if file.name == "floor.csv"]
    if not floors:
        raise ConfigError(f"{experiment.name}: there is no floor.csv beside its metrics")
    tabulate(experiment, [file for file in files if file not in floors], floors[0], table)
    draw("times", experiment, files, [figures / f"{experiment.name}_times.{suffix}" for suffix in ("pdf", "png")])


def _differences(made: Path, reference: Path) -> Iterator[str]:
    """What is not the same in two tables, number by number."""
    if not reference.is_file():
        yield f"{reference}: there is no such reference; `am review --accept` writes it"
        return
    ours, theirs = _rows(made), _rows(reference)
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        where = f"{', '.join(key)}: "
        if key not in theirs or key not in ours:
            yield f"{where}a row that is only in {made if key in ours else reference}"
            continue
        for column in dict.fromkeys([*ours[key], *theirs[key]]):
            a, b = ours[key].get(column), theirs[key].get(column)
            if column not in _PROSE and not _same(a, b):
                yield f"{where}{column} is {a}, its reference in {reference} is {b}"


def _rows(path: Path) -> dict[tuple[str, ...], dict[Any, Any]]:
    """Rows by what they are about, and by their number among those about the same."""
    table = pd.read_csv(path, float_precision="round_trip", keep_default_na=False, na_values=[""])
    columns = [column for column in _KEYS if column in table]
    rows: dict[tuple[str, ...], dict[Any, Any]] = {}
    for row in table.to_dict("records"):
        key = tuple(str(row[column]) for column in columns)
        while key in rows:
            key = (*key, "again")
        rows[key] = row
    return rows


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float | int) and isinstance(b, float | int):
        return math.isclose(a, b, rel_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)
