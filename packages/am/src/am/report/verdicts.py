"""Whether the published numbers were reproduced, and why one may say so."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from am.io.files import write_text
from am.io.provenance import Origin, write_origin
from am.io.tidy import write_tidy
from am.metrics.direction import Better, ahead, in_words
from am.report.estimates import MOST_SEEDS, seeds_needed
from am.report.labels import Label
from am.report.numbers import interval, number, with_spread
from am.report.published import Published
from am.report.tables import markdown_table
from am.report.unbroken import STYLE, Unbroken, in_html, wide

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text


Row = Mapping[Any, Any]


class Verdict(StrEnum):
    """What can be said of a published number."""

    REPRODUCED = "reproduced"
    BETTER = "better"
    WORSE = "worse"
    CANNOT_SAY = "cannot say"
    NOT_RUN = "not run"
    FAILED = "failed"
    """A run of it ended before there was anything to measure."""
    NOT_AS_RECORDED = "not as recorded"
    """A result that it rests on is not the file that was made, or was made from others, with other settings or code."""


@dataclass(frozen=True)
class Judgement:
    """A published number beside ours."""

    experiment: str
    method: str
    title: str
    metric: str
    better: Better
    claim: str
    published: float | None
    published_spread: float | None
    published_spread_of: str | None
    confidence: str
    source: str
    mean: float
    low: float
    high: float
    seeds: int
    floor_mean: float
    floor_low: float
    floor_high: float
    controls: str
    expected: str
    """Verdicts under which the claim holds, or nothing where none can be reached."""
    verdict: Verdict
    why: str
    """A sentence."""
    warning: str
    """A sentence, or nothing."""
    note: str = ""
    """What else to know before comparing, or nothing."""

    @property
    def was_run(self) -> bool:
        """Whether there are results, be they as recorded or not, or samples that nothing could measure."""
        return self.verdict is not Verdict.NOT_RUN

    @property
    def compared(self) -> bool:
        """Whether a comparison came to an end."""
        return self.verdict in (Verdict.REPRODUCED, Verdict.BETTER, Verdict.WORSE)

    @property
    def fails(self) -> bool:
        """Whether a comparison was made, and came out as it should not."""
        return self.compared and bool(self.expected) and self.verdict not in self.expected.split(" or ")


RULE = (
    "Lower is better, unless it is said beside the metric. Ours is the mean over seeds with its 95 % interval; of a "
    "metric that cannot be negative, it is the interval of the logarithm. The margin around the published value is "
    "its published spread, or 10 % where none was published. A value is reproduced where the whole interval of ours "
    "lies within the margin: two one-sided tests at 2.5 %. It is better, or worse, where the whole interval lies "
    "beyond the margin on that side. Else we cannot say, and the row names the seeds that would be needed. One seed "
    "has no interval and decides nothing. The floor is the distance of two samples of the truth at the same times "
    "and sizes, whose interval holds one more such distance with 95 %; ours on the better side of it is a bug until "
    "explained."
)
HEADINGS = ("method", "metric", "experiment", "published", "ours", "floor", "controls", "verdict", "why", "warning")


def judge(
    experiment: str, summary: pd.DataFrame, labels: Sequence[Label], published: Sequence[Published], scale: str
) -> list[Judgement]:
    """A judgement for each published number, and for each method about which nothing is published.

    Parameters
    ----------
    summary
        As from :func:`am.report.tables.summarise`, for the same experiment, labels and published numbers.
    scale
        At which ours were made.
    """
    found: dict[tuple[str, str], Row] = {(row["method"], row["metric"]): row for row in summary.to_dict("records")}
    titles = {label.method: label.title for label in labels}
    entries: dict[tuple[str, str], list[Published | None]] = {}
    for given in published:
        entries.setdefault((given.method, given.metric), []).append(given)
    rivals = [label.method for label in labels if not label.control]
    metrics = dict.fromkeys(metric for _, metric in [*found, *entries])
    methods = dict.fromkeys([*rivals, *(method for method, _ in entries)])
    cases = [
        (method, metric, entry)
        for metric in metrics
        for method in methods
        for entry in entries.get((method, metric), [None] if method in rivals else [])
    ]
    better: dict[str, Better] = {metric: row["better"] for (_, metric), row in found.items()}
    judgements = []
    for method, metric, entry in cases:
        row = found.get((method, metric), _NO_RUN)
        verdict, why = _verdict(row, entry, scale)
        judgements.append(
            Judgement(
                experiment=experiment,
                method=method,
                title=titles.get(method, method),
                metric=metric,
                better=better.get(metric, "lower"),
                claim=entry.claim if entry else "",
                published=entry.value if entry else None,
                published_spread=entry.spread if entry else None,
                published_spread_of=entry.spread_of if entry else None,
                confidence=entry.confidence if entry else "nothing published",
                source=entry.source if entry else "",
                **{name: row[name] for name in _NO_RUN},
                controls=_controls(found, labels, metric),
                expected=" or ".join(entry.expect) if entry and entry.value is not None else "",
                verdict=verdict,
                why=why,
                warning=_warning(row),
                note=entry.note if entry else "",
            )
        )
    return judgements


def counted(judgements: Iterable[Judgement]) -> str:
    """How many published numbers came to what, in one sentence; those that were never seen in a source apart."""
    entries = [one for one in judgements if one.published is not None]
    sure = [one for one in entries if one.confidence != "unverified"]
    counts = [(verdict, sum(one.verdict == verdict for one in sure)) for verdict in Verdict]
    told = [f"{count} {verdict}" for verdict, count in counts[1:] if count]
    rest = f" {len(entries) - len(sure)} more are unverified, and not counted." if len(entries) > len(sure) else ""
    return f"{counts[0][1]} of {len(sure)} published numbers reproduced{''.join(f', {words}' for words in told)}.{rest}"


def ordered(judgements: Iterable[Judgement]) -> list[Judgement]:
    """What was compared comes first, then what cannot be, then what was not run, and last what is unverified."""
    return sorted(judgements, key=lambda one: (one.confidence == "unverified", not one.was_run, not one.compared))


def rows(judgements: Iterable[Judgement]) -> list[list[str]]:
    """What to show below :data:`HEADINGS`, as plain text."""
    return [
        [
            judgement.title,
            judgement.metric + in_words(judgement.better),
            judgement.experiment,
            _published(judgement),
            interval(judgement.mean, judgement.low, judgement.high, judgement.seeds),
            number(judgement.floor_mean),
            judgement.controls,
            str(judgement.verdict),
            judgement.why + f" Note: {judgement.note}." * bool(judgement.note),
            judgement.warning,
        ]
        for judgement in judgements
    ]


def for_terminal(judgements: Sequence[Judgement]) -> Group:
    """The verdicts to print with rich: a table an experiment and metric, the reasons below it."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    parts: list[Table | Text] = [Unbroken(counted(judgements), style="bold"), Unbroken()]
    for (experiment, metric, better), group in groupby(
        judgements, key=lambda one: (one.experiment, one.metric, one.better)
    ):
        them = list(group)
        floors = dict.fromkeys(number(one.floor_mean) for one in them if one.seeds)
        table = Table(
            box=box.SIMPLE_HEAD,
            expand=True,
            title=f"{experiment}, {metric}{in_words(better)}" + f". Floor: {' or '.join(floors)}" * bool(floors),
            title_justify="left",
        )
        for heading, ratio in (("method", 16), ("published", 21), ("ours", 24), ("verdict", 14)):
            table.add_column(heading, ratio=ratio, overflow="fold")
        reasons = []
        for one in them:
            colour = _COLOURS[one.verdict][0]
            table.add_row(
                Unbroken(one.title),
                Unbroken(with_spread(one.published, one.published_spread)),
                Unbroken(interval(one.mean, one.low, one.high, one.seeds)),
                Unbroken(one.verdict, style=f"bold {colour}"),
            )
            reasons.append(Unbroken.assemble((f"{one.title}: {one.verdict}. ", colour), one.why))
            if one.note:
                reasons.append(Unbroken(f"  Note: {one.note}."))
            if one.warning:
                reasons.append(Unbroken(f"  Warning: {one.warning}", style="bold red"))
        parts += [table, *reasons, Unbroken()]
    return Group(*parts)


def claims(judgements: Sequence[Judgement]) -> Table:
    """One table for the terminal of all that was published, claim by claim, below how many came to what."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        show_lines=True,
        expand=True,
        title=counted(judgements),
        title_style="bold",
        title_justify="left",
    )
    for heading in ("method, metric, experiment: claim", "published, ours, floor, controls", "verdict, why"):
        table.add_column(heading, ratio=1, overflow="fold")
    for one in ordered(judgements):
        if one.claim:
            measured = [
                f"published {_published(one)}",
                f"ours {interval(one.mean, one.low, one.high, one.seeds)}",
                *([f"floor {number(one.floor_mean)}", *filter(None, [one.controls])] if one.seeds else []),
            ]
            table.add_row(
                Unbroken.assemble(
                    (f"{one.title}, {one.metric}{in_words(one.better)}, {one.experiment}", "bold"),
                    f": {one.claim}",
                    (f" {one.source}", "dim"),
                ),
                Unbroken("\n".join(measured)),
                Unbroken.assemble(
                    (one.verdict, f"bold {_COLOURS[one.verdict][0]}"),
                    (f" (expected: {one.expected})" if one.fails else "", "bold red"),
                    f". {one.why}" + f" Note: {one.note}." * bool(one.note),
                    (f" Warning: {one.warning}" if one.warning else "", "bold red"),
                ),
            )
    return table


def write_verdicts(judgements: Sequence[Judgement], csv: Path, markdown: Path, page: Path, made_of: Origin) -> None:
    """Write the verdicts as CSV, Markdown and a self-contained HTML page, each with its sidecar."""
    import pandas as pd

    names = list(Judgement.__dataclass_fields__)
    write_tidy(pd.DataFrame([asdict(judgement) for judgement in judgements], columns=names), csv)
    judgements = ordered(judgements)
    write_text(f"{counted(judgements)}\n\n{markdown_table(HEADINGS, rows(judgements))}\n{RULE}\n", markdown)
    write_text(_page(judgements, made_of), page)
    for path in (csv, markdown, page):
        write_origin(path, made_of)


_NO_RUN: Row = {
    "mean": math.nan,
    "low": math.nan,
    "high": math.nan,
    "seeds": 0,
    "floor_mean": math.nan,
    "floor_low": math.nan,
    "floor_high": math.nan,
}


def _verdict(row: Row, entry: Published | None, scale: str) -> tuple[Verdict, str]:
    seeds = row["seeds"]
    if seeds == 0:
        return Verdict.NOT_RUN, f"No run of it was found at the scale '{scale}'."
    if entry is None:
        return Verdict.CANNOT_SAY, "No published value for it is known."
    if entry.value is None:
        return Verdict.CANNOT_SAY, f"The published value was not recovered (looked for in: {entry.source})."
    if entry.confidence == "unverified":
        return Verdict.CANNOT_SAY, "The published value is unverified: it was never seen in a source."
    if entry.scale and scale not in entry.scale:
        return (
            Verdict.CANNOT_SAY,
            f"Runs at the scale '{scale}' are not comparable with it; those at {_either(entry.scale)} are.",
        )
    if not math.isfinite(row["mean"]):
        return Verdict.CANNOT_SAY, "A value of ours is not a finite number."
    return _compare(row, entry, entry.value)


def _compare(row: Row, entry: Published, value: float) -> tuple[Verdict, str]:
    if entry.spread is None:
        margin, meaning = 0.1 * abs(value), "10 % around the published value, as no spread was published"
    else:
        margin, meaning = entry.spread, f"the published value and its standard deviation over {entry.spread_of}"
    low, high = value - margin, value + margin
    theirs = f"[{number(low, value)}, {number(high, value)}]: {meaning}."
    if row["seeds"] < 2:
        side = "in" if low <= row["mean"] <= high else "outside of"
        return Verdict.CANNOT_SAY, f"One seed has no interval. Ours lies {side} {theirs} Run at least two seeds."
    if low <= row["low"] and row["high"] <= high:
        return Verdict.REPRODUCED, f"The interval of ours lies within {theirs}"
    side = "below" if row["high"] < low else "above"
    if ahead(row["low"], row["high"], low, high, row["better"]):
        return Verdict.BETTER, f"The interval of ours lies wholly {side} {theirs}"
    if ahead(low, high, row["low"], row["high"], row["better"]):
        return Verdict.WORSE, f"The interval of ours lies wholly {side} {theirs}"
    return Verdict.CANNOT_SAY, f"The interval of ours reaches across an end of {theirs} {_remedy(row, low, high)}"


def _remedy(row: Row, low: float, high: float) -> str:
    """What would decide, if mean and spread stayed what they are."""
    room = min(abs(row["mean"] - low), abs(row["mean"] - high))
    seeds = seeds_needed(room, row["seeds_sd"], row["cells_se"])
    if seeds is None:
        return f"No {MOST_SEEDS} seeds would tell: more test points, or a wider margin, are needed."
    return f"About {seeds} seeds would tell."


def _warning(row: Row) -> str:
    if row["seeds"] == 0:
        return ""
    if math.isnan(row["floor_low"]):
        return "No floor was measured at these times and sizes."
    if not ahead(row["mean"], row["mean"], row["floor_low"], row["floor_high"], row["better"]):
        return ""
    lower = row["better"] == "lower"
    end = "below" if lower else "above"
    limit = number(row["floor_low"] if lower else row["floor_high"], row["mean"])
    return f"Ours is {end} the floor's 95 % interval, which ends at {limit}: a bug until explained."


def _controls(found: Mapping[tuple[str, str], Row], labels: Sequence[Label], metric: str) -> str:
    shown = [
        f"{label.title} {number(row['mean']) if row['seeds'] else 'not run'}"
        for label in labels
        if label.control and (row := found.get((label.method, metric)))
    ]
    return "; ".join(shown)


def _published(judgement: Judgement) -> str:
    if judgement.published is None:
        return judgement.confidence
    shown = with_spread(judgement.published, judgement.published_spread, judgement.published_spread_of)
    return f"{shown} ({judgement.confidence})"


def _either(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)


# For a terminal, and for paper; the word itself always stands beside the colour.
_COLOURS = {
    Verdict.REPRODUCED: ("green", "#d7ecd9"),
    Verdict.BETTER: ("cyan", "#d3e6f5"),
    Verdict.WORSE: ("red", "#f7d9d3"),
    Verdict.CANNOT_SAY: ("yellow", "#f5ecc8"),
    Verdict.NOT_RUN: ("bright_black", "#e6e6e6"),
    Verdict.FAILED: ("red", "#f7d9d3"),
    Verdict.NOT_AS_RECORDED: ("red", "#f7d9d3"),
}


def _page(judgements: Sequence[Judgement], made_of: Origin) -> str:
    e = html.escape
    head = "".join(f"<th>{e(heading)}</th>" for heading in HEADINGS)
    body = ""
    for judgement, cells in zip(judgements, rows(judgements), strict=True):
        shown = dict(zip(HEADINGS, map(in_html, cells), strict=True))
        about = " ".join(filter(None, (judgement.claim, judgement.source and f"({judgement.source})")))
        shown["published"] += f"<br><small>{in_html(about)}</small>" * bool(about)
        row = "".join(f"<td>{cell}</td>" for cell in shown.values())
        body += f'<tr class="{judgement.verdict.name.lower()}">{row}</tr>\n'
    table = wide(f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>")
    colours = "\n".join(f".{v.name.lower()} td:nth-child(8) {{ background: {c[1]}; }}" for v, c in _COLOURS.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Verdicts</title>
<style>{STYLE}
body {{ font: 14px/1.4 system-ui, sans-serif; color: #1a1a1a; margin: 2em auto; max-width: 90em; padding: 0 1em; }}
p {{ max-width: 50em; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; vertical-align: top; padding: .4em .7em; border-bottom: 1px solid #ccc; }}
th {{ border-bottom: 2px solid #1a1a1a; }}
td:nth-child(8) {{ font-weight: bold; }}
small {{ color: #555; }}
{colours}
td:last-child {{ color: #a00000; }}
footer {{ color: #666; font-size: .85em; margin-top: 2em; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>Verdicts</h1>
<p><strong>{e(counted(judgements))}</strong></p>
<p>{e(RULE)}</p>
{table}<footer>Commit {e(made_of["commit"])}, code {e(made_of["code_digest"])}</footer>
</body>
</html>
"""
