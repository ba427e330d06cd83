"""One page that a person can read without anything else: verdict, tables, figures, costs, environment, settings."""

from __future__ import annotations

import base64
import html
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from am.config import ConfigError
from am.experiments import Project, ResolvedExperiment
from am.results.direction import in_words
from am.results.figures.captions import caption
from am.results.files import write_text
from am.results.numbers import interval, number, with_spread
from am.results.provenance import Provenance, ProvenanceError, file_sha256, read_origin, read_provenance
from am.results.shown_tables import read_shown
from am.steps.draw import FIGURES

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_TYPES = {".png": ("image/png", (b"\x89PNG\r\n\x1a\n",)), ".gif": ("image/gif", (b"GIF87a", b"GIF89a"))}
"""Of figures: the type that the page declares, and what such a file begins with."""
_VERDICT_WORDS = ("experiment", "title", "metric", "better", "verdict", "why")
_VERDICT_NOTES = ("claim", "confidence", "warning")
_VERDICT_NUMBERS = ("published", "published_spread", "mean", "low", "high", "seeds", "floor_mean")
_TABLE_WORDS = ("metric", "title", "better")
_TABLE_NUMBERS = ("mean", "low", "high", "seeds", "floor_mean", "floor_sd", "nfe", "train_seconds", "sample_seconds")


def report(project: Project, results: Path, out: Path) -> None:
    """Write the page from what the workflow left in ``results``, the scale's folder.

    Raises
    ------
    ConfigError
        There is no verdict yet.
    TableError, ProvenanceError
        The verdict or a table cannot be read, or a run's record of provenance is not one.
    """
    verdict = results / "verdict.csv"
    if not verdict.is_file():
        raise ConfigError(f"{verdict}: no such file; run the workflow to its verdict first")
    verdicts = read_shown(verdict, _VERDICT_WORDS, _VERDICT_NUMBERS, notes=_VERDICT_NOTES)
    parts = [_section("Verdicts", _verdicts(verdicts))]
    records: dict[Path, Provenance] = {}
    for experiment in project.experiments.values():
        records |= _records(results / experiment.name)
        parts.append(_section(experiment.title, "".join(_experiment(experiment, results))))
    parts.append(_section("Environment", _environment(records.values())))
    write_text(_page(f"Results at the scale {project.scale}", parts), out)


def _experiment(experiment: ResolvedExperiment, results: Path) -> Iterator[str]:
    file = results / "tables" / f"{experiment.name}.csv"
    if file.is_file():
        table = read_shown(file, _TABLE_WORDS, _TABLE_NUMBERS, ["control"])
        for metric, rows in table.groupby("metric", sort=False):
            yield f"<h3>{_text(metric)}{in_words(rows['better'].iloc[0])}</h3>" + _summary(rows)
    for name in FIGURES:
        for suffix in _TYPES:
            figure = results / "figures" / f"{experiment.name}_{name}{suffix}"
            if figure.is_file():
                yield _figure(figure, caption(name))
    yield "<h3>Settings</h3>"
    for config in sorted((results / experiment.name).glob("**/config.yaml")):
        where, content = _text(config.parent.relative_to(results)), _text(config.read_text(encoding="utf-8"))
        yield f"<details><summary>{where}</summary><pre>{content}</pre></details>"


def _verdicts(verdicts: pd.DataFrame) -> str:
    head = ["claim", "experiment", "method", "metric", "published", "ours [95 % interval]", "floor", "verdict", "why"]
    rows = [
        [
            _shown(row["claim"]),
            row["experiment"],
            row["title"],
            row["metric"] + in_words(row["better"]),
            f"{with_spread(row['published'], row['published_spread'])} ({row['confidence']})",
            (row["mean"], interval(row["mean"], row["low"], row["high"], row["seeds"])),
            (row["floor_mean"], number(row["floor_mean"])),
            row["verdict"],
            f"{row['why']} {_shown(row['warning'])}",
        ]
        for row in verdicts.sort_values("seeds", ascending=False, kind="stable").to_dict("records")
    ]
    return _table(head, rows)


def _summary(rows: pd.DataFrame) -> str:
    head = ["method", "mean [95 % interval]", "seeds", "floor", "NFE", "training s", "sampling s"]
    return _table(
        head,
        [
            [
                f"control: {row['title']}" if row["control"] else row["title"],
                (row["mean"], interval(row["mean"], row["low"], row["high"], row["seeds"])),
                (row["seeds"], str(row["seeds"])),
                (row["floor_mean"], with_spread(row["floor_mean"], row["floor_sd"])),
                *((row[cost], number(row[cost])) for cost in ("nfe", "train_seconds", "sample_seconds")),
            ]
            for row in rows.to_dict("records")
        ],
    )


def _figure(figure: Path, caption: str) -> str:
    """The figure itself; or a sentence where it is not the file that was drawn, which may show anything."""
    kind, beginnings = _TYPES[figure.suffix]
    content, words = figure.read_bytes(), _text(caption)
    try:
        origin = read_origin(figure)
        if not content.startswith(beginnings):
            fault = f"it is no {figure.suffix[1:].upper()} file"
        else:
            fault = "" if file_sha256(figure) == origin["sha256"] else "it is not the file that was drawn"
    except ProvenanceError as error:
        fault = str(error)
    if fault:
        log.warning("%s is left out of the report: %s", figure, fault)
        return f"<p><strong>Left out: <code>{_text(figure.name)}</code>.</strong> {_text(fault)}.</p>\n"
    return (
        f'<figure><img alt="{words}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
        f"<figcaption>{words} <code>{_text(figure.name)}</code></figcaption></figure>\n"
    )


def _records(folder: Path) -> dict[Path, Provenance]:
    """Every record of provenance of an experiment's runs."""
    return {path: read_provenance(path) for path in sorted(folder.glob("*/seed*/provenance.json"))}


def _environment(records: Iterable[Provenance]) -> str:
    """What all runs say they were made with, each value once."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, value in {"commit": record["commit"], "device": record["device"], **record["versions"]}.items():
            found.setdefault(name, set()).add(str(value))
    return _table(["what", "which"], [[name, ", ".join(sorted(values))] for name, values in found.items()])


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table that sorts: a cell is a text, or a number to sort by and the text for it."""
    lines = []
    for row in rows:
        cells = (cell if isinstance(cell, tuple) else (None, cell) for cell in row)
        lines.append(
            "".join(
                f"<td{'' if key is None else f' data-key={chr(34)}{key}{chr(34)}'}>{_text(text)}</td>"
                for key, text in cells
            )
        )
    heading = "".join(f'<th><button type="button">{_text(name)}</button></th>' for name in head)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<table><thead><tr>{heading}</tr></thead><tbody>\n{body}</tbody></table>\n"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{_text(title)}</h2>\n{content}</section>\n"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text(value: object) -> str:
    return html.escape(str(value))


_SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const column = button.parentElement.cellIndex;
    const body = button.closest("table").tBodies[0];
    const up = button.dataset.order !== "up";
    for (const other of button.closest("tr").querySelectorAll("button")) delete other.dataset.order;
    button.dataset.order = up ? "up" : "down";
    const key = (row) => {
      const cell = row.cells[column], value = cell.dataset.key;
      if (value === undefined) return cell.textContent;
      const number = parseFloat(value);
      return Number.isNaN(number) ? Infinity : number;
    };
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
    const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * compare(key(a), key(b)));
    body.append(...rows);
  });
}
"""
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; color: #1a1a1a; margin: 2em auto; max-width: 80em; padding: 0 1em; }
table { border-collapse: collapse; margin: .5em 0 1.5em; }
th, td { text-align: left; vertical-align: top; padding: .3em .7em; border-bottom: 1px solid #ccc; }
th { border-bottom: 2px solid #1a1a1a; }
th button { font: inherit; font-weight: bold; border: 0; padding: 0; background: none; text-align: left; }
th button { cursor: pointer; }
th button[data-order=up]::after { content: " \\2191"; }
th button[data-order=down]::after { content: " \\2193"; }
img { max-width: 100%; }
figure { margin: 1em 0; }
figcaption { color: #555; max-width: 50em; }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto; }
"""


def _page(title: str, parts: Iterable[str]) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_text(title)}</h1>
<p>Reproduction of <cite>Action Matching: Learning Stochastic Dynamics from Samples</cite> (ICML 2023). A heading of a
table sorts by its column. <code>am explain FILE</code> tells where any number comes from.</p>
{"".join(parts)}
<script>{_SCRIPT}</script>
</body>
</html>
"""
