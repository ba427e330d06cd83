"""Check reference results in a minute: tables, verdicts and figures made anew from the store, beside references."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from am.config import ConfigError, nearest
from am.experiment_files import ExperimentFiles
from am.experiments import Project, ResolvedExperiment
from am.io.files import atomic, write_text
from am.io.provenance import Asked, committed, file_sha256, origin
from am.report.measured import Measured
from am.report.numbers import number
from am.report.shown_tables import read_shown
from am.report.store import RUNS, Kept, holds_results, read_kept
from am.report.verdicts import Judgement, write_verdicts
from am.runs import step_digest
from am.steps.doubts import doubts, in_brief, in_full
from am.steps.draw import draw_times
from am.steps.recorded import few, left_over_rows, misplaced_rows, seed_of
from am.steps.tabulate import write_tables
from am.steps.verify import judged_kept

log = logging.getLogger(__name__)

TOLERANCE = 1e-6
"""Relative, between a number made anew and its reference: sums differ by less between machines."""
_ROUNDING = 1e-12
"""The same, absolute: of what is zero but for rounding."""
_MOST = 5
"""Files and numbers that a sentence names before it counts the rest."""
_KEYS = ("experiment", "method", "other", "metric", "source")
_PROSE = ("title", "claim", "controls", "why", "warning", "note")


@dataclass(frozen=True)
class Review:
    """What a review found."""

    judgements: list[Judgement]
    faults: list[str]
    """A sentence for each claim that does not hold, for each result that nothing asks for or that lies in a wrong
    place, and for each experiment with numbers that are not their references; the first of these stand in lines of
    their own."""
    notes: list[str]
    """A sentence for each thing that records do not vouch for, which is no fault; see :mod:`am.steps.doubts`."""


def review(settings: Path, kept: Path, out: Path, accept: bool = False) -> Review:
    """Judge everything that was ever published by the reference results, at every scale that there is there.

    Each run and seed has a record of what made it. Git says which files are not those that were committed.

    Parameters
    ----------
    settings
        The folder of the project's settings.
    kept
        The store, as :mod:`am.report.store` has it. References are ``verdict.csv``, and for each scale ``tables.csv``
        and ``pairs.csv``, with the rows of all experiments.
    out
        Tables, figures of metrics over time, and verdicts appear here; ``differences.txt``, each number that is not
        its reference; and ``records.txt``, each run that its record does not vouch for.
    accept
        Write the references instead of comparing with them.

    Raises
    ------
    ConfigError
        There are no results, or results of a scale that there is not; or a folder is not called as a file of
        experiments.
    TableError
        A table cannot be read.
    """
    known = list(ExperimentFiles(settings))
    places = [place for place in sorted(kept.glob("*/*")) if holds_results(place)]
    if not places:
        raise ConfigError(f"{kept}: there are no results to review")
    scales = sorted({place.parent.name for place in places})
    projects = {scale: Project(settings, {"scale": scale, "experiments": known}, opt_in=True) for scale in scales}
    files = {name: one.file.stem for name, one in projects[scales[0]].experiments.items()}
    for place in places:
        _require_file_of(place, files)
    there = {place: read_kept(place) for place in places}
    sha256_of = cache(_sha256_of_all)
    judged: list[Judgement] = []
    remade: dict[str, list[str]] = {}
    faults = [
        f"{place / 'metrics.csv'} is misplaced: it holds rows of the experiment '{name}'"
        for place, found in there.items()
        for name in found
        if files.get(name) != place.name
    ]
    reviewed: dict[str, tuple[ResolvedExperiment, Kept]] = {}
    asked: list[Asked] = []
    for name in known:
        for scale, project in projects.items():
            one, started = project.experiments[name], time.monotonic()
            folder = kept / scale / files[name]
            rows = there.get(folder, {}).get(name) or Kept(folder, name)
            misplaced = misplaced_rows(rows)
            faults += (fault for found in misplaced.values() for fault in found)
            ours, measured = judged_kept(one, rows, misplaced)
            judged += ours
            if not rows.files:
                continue
            title = _titled(name, scale)
            if edited := [seed_of(*key) for key in rows.edited]:
                faults.append(f"{title}: rows that are not those that their record tells: {_few(edited)}")
            if left := [seed_of(*key) for key in left_over_rows(one, rows)]:
                which = f"{name} has no such run and seed at the scale '{scale}'"
                faults.append(f"{rows.folder}: rows are not read, since {which}: {_few(left)}")
            _remake(one, measured, out / scale)
            remade.setdefault(scale, []).append(name)
            reviewed[title] = one, rows
            asked.append(one.asked("labels", "published"))
            log.info(
                "%d of %d: %s, %d files with sha256 %s, %.1f s",
                *(len(reviewed), sum(map(len, there.values())), title, len(rows.files)),
                *(sha256_of(rows.files)[:12], time.monotonic() - started),
            )
    judgements = _claims(judged)
    read = {title: list(rows.files) for title, (_, rows) in reviewed.items()}
    judged_by = {file for of_one in read.values() for file in of_one if file.name != RUNS}
    made_of = origin(judged_by, step_digest("review"), ["review"], asked)
    verdict = out / "verdict.csv"
    write_verdicts(judgements, verdict, verdict.with_suffix(".md"), verdict.with_suffix(".html"), made_of)
    references: dict[Path, Path] = {}
    for scale, names in remade.items():
        for end, file in (("", "tables.csv"), ("_pairs", "pairs.csv")):
            _join([out / scale / "tables" / f"{name}{end}.csv" for name in names], out / scale / file)
            references[out / scale / file] = kept / scale / file
    references[verdict] = kept / verdict.name
    faults += (
        f"{one.experiment}, {one.title}, {one.metric}: the verdict on {number(one.published)} is {one.verdict}, "
        f"the claim needs {one.expected}. {one.why}"
        for one in judgements
        if one.fails
    )
    found = doubts(reviewed)
    write_text(in_full(found), out / "records.txt")
    notes = list(in_brief(found, out / "records.txt", _MOST))
    if accept:
        for made, reference in references.items():
            with atomic(reference) as temporary:
                shutil.copyfile(made, temporary)
        return Review(judgements, faults, notes)
    differing: dict[str, list[str]] = {title: [] for title in read}
    for made, reference in references.items():
        if not reference.is_file():
            faults.append(f"{reference}: there is no such reference; `am review --accept` writes it")
            continue
        scale = "" if made == verdict else f" ({reference.parent.name})"
        for title, difference in _differences(made, reference):
            differing.setdefault(title + scale, []).append(difference)
    tracked = committed(kept.absolute())
    for title, numbers in differing.items():
        theirs = [*read.get(title, []), *(one for one in references.values() if _is_about(one, title))]
        faults += _grouped(title, numbers, theirs, tracked, out / "differences.txt")
    every = (f"{difference}\n" for numbers in differing.values() for difference in numbers)
    write_text("".join(every), out / "differences.txt")
    return Review(judgements, faults, notes)


def _require_file_of(place: Path, files: Mapping[str, str]) -> None:
    """Refuse a folder of the store that is not called as a file of experiments; ``files`` has one for each of these."""
    if place.name in files.values():
        return
    why = f"there is no file of experiments '{place.name}'"
    if of := files.get(place.name):
        raise ConfigError(f"{place}: {why}; results of its variant '{place.name}' belong into {place.with_name(of)}")
    raise ConfigError(f"{place}: {why}; {nearest(place.name, sorted({*files.values()}))}")


def _titled(name: str, scale: str) -> str:
    return f"{name} ({scale})"


def _few(words: Sequence[str]) -> str:
    return "; ".join(words[:_MOST]) + f"; and {len(words) - _MOST} more" * (len(words) > _MOST)


def _sha256_of_all(files: Iterable[Path]) -> str:
    """Of what ``sha256sum`` prints of them."""
    return sha256("".join(f"{file_sha256(file)}  {file}\n" for file in files).encode()).hexdigest()


def _is_about(reference: Path, title: str) -> bool:
    """Whether a table holds numbers of an experiment at a scale; that of verdicts holds those of all scales."""
    return reference.name == "verdict.csv" or title.endswith(_titled("", reference.parent.name))


def _grouped(
    title: str, numbers: Sequence[str], files: Sequence[Path], tracked: Mapping[Path, bool] | None, listed: Path
) -> Iterator[str]:
    """One sentence on the numbers of an experiment that are not their references, with the files that may be why."""
    if not numbers:
        return
    count = f"{len(numbers)} number{'s' * (len(numbers) > 1)}"
    changed = [file for file in files if tracked and tracked.get(file.absolute()) is False]
    unknown = [file for file in files if tracked is not None and file.absolute() not in tracked]
    if changed or unknown:
        which = [f"{file} (sha256 {file_sha256(file)[:12]})" for file in [*changed, *unknown]]
        differ = "file differs" if len(which) == 1 else "files differ"
        sentence = f"{title}: {len(which)} {differ} from what was committed: {few(which)} -> {count}"
    elif tracked is None:
        sentence = f"{title}: {count} not as in the reference; git tracks none of the {len(files)} files of it"
    else:
        sentence = f"{title}: {count} not as in the reference, though its {len(files)} files are as committed"
    rest = [f"and {len(numbers) - _MOST} more, in {listed}"] if len(numbers) > _MOST else []
    yield "\n    ".join([sentence, *numbers[:_MOST], *rest])


def _claims(every: Sequence[Judgement]) -> list[Judgement]:
    """What was run, at whatever scale and in whatever experiment; and once what was published and never run."""
    told = {_claim(one) for one in every if one.was_run}
    chosen = []
    for one in every:
        if one.was_run or (one.claim and _claim(one) not in told):
            told.add(_claim(one))
            chosen.append(one)
    return chosen


def _claim(one: Judgement) -> tuple[object, ...]:
    return one.method, one.metric, one.source, one.claim


def _join(tables: Sequence[Path], out: Path) -> None:
    """Write the rows of tables that have the same columns below each other."""
    heads, bodies = zip(*(table.read_text(encoding="utf-8").split("\n", 1) for table in tables), strict=True)
    assert len(set(heads)) == 1  # noqa: S101  (one function writes them)
    write_text(heads[0] + "\n" + "".join(bodies), out)


def _remake(experiment: ResolvedExperiment, measured: Measured, out: Path) -> None:
    if measured.floor.empty:
        raise ConfigError(f"{experiment.name}: there is no floor among its metrics")
    write_tables(experiment, measured, out / "tables" / f"{experiment.name}.csv")
    draw_times(experiment, measured, [out / "figures" / f"{experiment.name}_times.png"])


def _differences(made: Path, reference: Path) -> Iterator[tuple[str, str]]:
    """What is not the same in two tables, number by number, each with the experiment that it is about."""
    ours, theirs = _rows(made), _rows(reference)
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        where = f"{', '.join(key)}: "
        if key not in theirs or key not in ours:
            yield key[0], f"{where}a row that is only in {made if key in ours else reference}"
            continue
        for column in dict.fromkeys([*ours[key], *theirs[key]]):
            a, b = ours[key].get(column), theirs[key].get(column)
            if column not in _PROSE and not _same(a, b):
                yield key[0], f"{where}{column} is {a}, its reference in {reference} is {b}"


def _rows(path: Path) -> dict[tuple[str, ...], dict[Any, Any]]:
    """Rows by what they are about, and by their number among those about the same."""
    table = read_shown(path, ("experiment", "metric"), (), empty=True)
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
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=_ROUNDING) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)
