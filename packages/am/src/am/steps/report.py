"""One page that a person can read without anything else: verdict, tables, figures, costs, environment, settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from am.config import ConfigError
from am.experiments import Project, ResolvedExperiment
from am.io.files import write_text
from am.io.provenance import Provenance, ProvenanceError, read_provenance
from am.metrics.direction import in_words
from am.report.figures.captions import CAPTIONS
from am.report.numbers import interval, number, with_spread
from am.report.page import page, picture, section, sorting, text
from am.report.shown_tables import read_shown
from am.report.tables import BEYOND_FLOOR
from am.report.unbroken import in_html
from am.steps.draw import FIGURES
from am.steps.recorded import Records, first_of

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {".png": ("image/png", (b"\x89PNG\r\n\x1a\n",)), ".gif": ("image/gif", (b"GIF87a", b"GIF89a"))}
"""Of figures: the type that the page declares, and what such a file begins with."""
_LEAD = """<p>Reproduction of <cite>Action Matching: Learning Stochastic Dynamics from Samples</cite> (ICML 2023).
A heading of a table sorts by its column. <code>am explain FILE</code> tells where any number comes from.</p>"""
_VERDICT_WORDS = ("experiment", "title", "metric", "better", "verdict", "why")
_VERDICT_NOTES = ("claim", "confidence", "warning")
_VERDICT_NUMBERS = ("published", "published_spread", "mean", "low", "high", "seeds", "floor_mean")
_TABLE_WORDS = ("metric", "title", "better")
_TABLE_NUMBERS = ("mean", "low", "high", "seeds", "floor_mean", "floor_sd", "nfe", "train_seconds", "sample_seconds")


def report(project: Project, results: Path, out: Path) -> list[str]:
    """Write the page from what the workflow left in ``results``, the scale's folder.

    Returns
    -------
    A sentence for each verdict, table and figure that is left out, since it is not as recorded: the page says so in
    its place.

    Raises
    ------
    ConfigError
        There is no verdict yet.
    TableError, ProvenanceError
        The verdict or a table cannot be read, or a record of provenance is not one.
    """
    verdict = results / "verdict.csv"
    if not verdict.is_file():
        raise ConfigError(f"{verdict}: no such file; run the workflow to its verdict first")
    verdicts = read_shown(verdict, _VERDICT_WORDS, _VERDICT_NUMBERS, notes=_VERDICT_NOTES)
    shown = _Shown(Records({results / name: one for name, one in project.known.items()}))
    parts = [section("Verdicts", shown.left_out(verdict) or _verdicts(verdicts))]
    records: dict[Path, Provenance] = {}
    for experiment in project.experiments.values():
        records |= _records(experiment, results)
        parts.append(section(experiment.title, "".join(_experiment(experiment, results, shown))))
    parts.append(section("Environment", _environment(records.values())))
    write_text(page(f"Results at the scale {project.scale}", _LEAD, parts), out)
    return shown.faults


class _Shown:
    """Decides whether a file may be shown, and keeps why others may not."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.faults: list[str] = []

    def left_out(self, file: Path) -> str:
        """What the page says instead of a file that is not as recorded; nothing of others."""
        try:
            found = self._records.faults(file)
        except ProvenanceError as error:
            found = [str(error)]
        if not found and file.suffix in _TYPES and not file.read_bytes().startswith(_TYPES[file.suffix][1]):
            found = [f"{file} is no {file.suffix[1:].upper()} file"]
        if not found:
            return ""
        self.faults.append(f"{file} is left out of the report: {first_of(found)}")
        return f"<p><strong>Left out: <code>{text(file.name)}</code>.</strong> {text(first_of(found))}.</p>\n"


def _experiment(experiment: ResolvedExperiment, results: Path, shown: _Shown) -> Iterator[str]:
    file = results / "tables" / f"{experiment.name}.csv"
    if file.is_file():
        table = read_shown(file, _TABLE_WORDS, _TABLE_NUMBERS, ["control", "beyond_floor"])
        if instead := shown.left_out(file):
            yield instead
        else:
            for metric, rows in table.groupby("metric", sort=False):
                yield f"<h3>{text(metric)}{in_words(rows['better'].iloc[0])}</h3>" + _summary(rows)
    for name in FIGURES:
        for suffix in _TYPES:
            figure = results / "figures" / f"{experiment.name}_{name}{suffix}"
            if figure.is_file():
                yield shown.left_out(figure) or picture(
                    figure.read_bytes(), _TYPES[figure.suffix][0], CAPTIONS[name], figure.name
                )
    yield "<h3>Settings</h3>"
    folder = results / experiment.name
    configs = [folder / "config.yaml", *(folder / name / "config.yaml" for name in sorted(experiment.runs))]
    for config in (config for config in configs if config.is_file()):
        where, content = text(config.parent.relative_to(results)), text(config.read_text(encoding="utf-8"))
        yield f"<details><summary>{where}</summary><pre>{content}</pre></details>"


def _verdicts(verdicts: pd.DataFrame) -> str:
    head = ["method", "metric", "experiment", "published", "ours [95 % interval]", "floor", "verdict", "why", "claim"]
    rows = [
        [
            row["title"],
            row["metric"] + in_words(row["better"]),
            row["experiment"],
            f"{with_spread(row['published'], row['published_spread'])} ({row['confidence']})",
            (row["mean"], interval(row["mean"], row["low"], row["high"], row["seeds"])),
            (row["floor_mean"], number(row["floor_mean"])),
            row["verdict"],
            f"{row['why']} {_shown(row['warning'])}",
            _shown(row["claim"]),
        ]
        for row in verdicts.sort_values("seeds", ascending=False, kind="stable").to_dict("records")
    ]
    return sorting(head, rows)


def _summary(rows: pd.DataFrame) -> str:
    """The table of a metric, and a line for each method with a run that failed."""
    head = ["method", "mean [95 % interval]", "seeds", "floor", "NFE", "training s", "sampling s"]
    lines, failed = [], ""
    for row in rows.to_dict("records"):
        why = _shown(row.get("failed"))
        ours = interval(row["mean"], row["low"], row["high"], row["seeds"]) + BEYOND_FLOOR * bool(row["beyond_floor"])
        lines.append(
            [
                f"control: {row['title']}" if row["control"] else row["title"],
                (row["mean"], "failed" if why and not row["seeds"] else ours),
                (row["seeds"], str(row["seeds"])),
                (row["floor_mean"], with_spread(row["floor_mean"], row["floor_sd"])),
                *((row[cost], number(row[cost])) for cost in ("nfe", "train_seconds", "sample_seconds")),
            ]
        )
        if why:
            failed += f"<p><strong>failed</strong>: {in_html(row['title'])}, {in_html(why)}</p>\n"
    beyond = f"<p>{BEYOND_FLOOR.strip()}: better than two samples of the truth are apart, a bug until explained.</p>\n"
    return sorting(head, lines) + beyond * bool(rows["beyond_floor"].any()) + failed


def _records(experiment: ResolvedExperiment, results: Path) -> dict[Path, Provenance]:
    """The records of provenance of the runs and seeds that an experiment asks for."""
    places = [results / experiment.name / run / f"seed{seed}" for run, seed in experiment.configured]
    files = [place / "provenance.json" for place in places]
    return {file: read_provenance(file) for file in files if file.is_file()}


def _environment(records: Iterable[Provenance]) -> str:
    """What all runs say they were made with, each value once."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, value in {"commit": record["commit"], "device": record["device"], **record["versions"]}.items():
            found.setdefault(name, set()).add(str(value))
    return sorting(["what", "which"], [[name, ", ".join(sorted(values))] for name, values in found.items()])


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ""
