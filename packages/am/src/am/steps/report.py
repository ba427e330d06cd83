"""One page that a person can read without anything else: verdict, tables, figures, costs, environment, settings."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from am.config import ConfigError
from am.experiments import Project, ResolvedExperiment
from am.results.direction import in_words
from am.results.figures.captions import caption
from am.results.files import write_text
from am.results.numbers import interval, number, with_spread
from am.steps.draw import FIGURES

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {".png": "image/png", ".gif": "image/gif"}


def report(project: Project, results: Path, out: Path) -> None:
    """Write the page from what the workflow left in ``results``, the scale's folder.

    Raises
    ------
    ConfigError
        There is no verdict yet.
    """
    import pandas as pd

    verdict = results / "verdict.csv"
    if not verdict.is_file():
        raise ConfigError(f"{verdict}: no such file; run the workflow to its verdict first")
    verdicts = pd.read_csv(verdict, keep_default_na=False, na_values=[""])
    parts = [_section("Verdicts", _verdicts(verdicts))]
    records: dict[Path, dict[str, Any]] = {}
    for experiment in project.experiments.values():
        records |= _records(results / experiment.name)
        parts.append(_section(experiment.title, "".join(_experiment(experiment, results))))
    parts.append(_section("Environment", _environment(records.values())))
    write_text(_page(f"Results at the scale {project.scale}", parts), out)


def _experiment(experiment: ResolvedExperiment, results: Path) -> Iterator[str]:
    import pandas as pd

    file = results / "tables" / f"{experiment.name}.csv"
    if file.is_file():
        table = pd.read_csv(file, float_precision="round_trip", keep_default_na=False, na_values=[""])
        for metric, rows in table.groupby("metric", sort=False):
            yield f"<h3>{_text(metric)}{in_words(rows['better'].iloc[0])}</h3>" + _summary(rows)
    for name in FIGURES:
        for suffix, kind in _TYPES.items():
            figure = results / "figures" / f"{experiment.name}_{name}{suffix}"
            if figure.is_file():
                content, words = base64.b64encode(figure.read_bytes()).decode(), _text(caption(name))
                yield (
                    f'<figure><img alt="{words}" src="data:{kind};base64,{content}">'
                    f"<figcaption>{words} <code>{_text(figure.name)}</code></figcaption></figure>\n"
                )
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


def _records(folder: Path) -> dict[Path, dict[str, Any]]:
    """Every record of provenance of an experiment's runs."""
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/seed*/provenance.json")}


def _environment(records: Iterable[Mapping[str, Any]]) -> str:
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
