"""A page for a reviewer: a row for each claim of the paper, with what it takes to check it, and what it came to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from am.config import ConfigError, nearest
from am.io.tidy import FLOOR, TableError
from am.report.claims import Claim, Ordered, read_claims
from am.report.numbers import interval, with_spread
from am.report.published import read_published
from am.report.store import ENVIRONMENTS, RUNS, Kept, read_environments
from am.report.tables import markdown_table
from am.report.verdicts import Verdict

if TYPE_CHECKING:
    from am.steps.pages import Store

FILE, PUBLISHED = Path("config/claims.yaml"), Path("config/published")
"""Below the project's root, where pages are written from."""
HEADINGS = ("claim", "in the paper", "ours", "command", "machine min", "human min", "expected", "found", "verdict")
DECIDED = (Verdict.REPRODUCED, Verdict.BETTER, Verdict.WORSE)
"""Verdicts that a comparison ends with."""
_NONE = "—"


@dataclass(frozen=True)
class Row:
    """A claim beside what was found."""

    claim: str
    source: Claim
    command: str
    seconds: float
    """Of training and sampling, all seeds together; NaN where none are kept."""
    expected: str
    found: str
    verdict: Verdict
    why: str = ""
    """A sentence where the verdict needs one."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells whether another row is about the same number."""
        return self.claim, self.expected

    def cells(self) -> list[str]:
        """What stands below :data:`HEADINGS`."""
        shown = f"**{self.verdict}**" if self.verdict in DECIDED else str(self.verdict)
        page, figure, test = self.source.page, self.source.figure, (self.source.test or "").partition("::")[2]
        ours = (page and f"[{page.partition('.')[0]}]({page})", figure and f"figure `{figure}`", test and f"`{test}`")
        return [
            self.claim,
            self.source.where,
            ", ".join(filter(None, ours)),
            self.command and f"`{self.command}`",
            _NONE if math.isnan(self.seconds) else f"{max(self.seconds / 60, 0.1):.3g}",
            str(self.source.human_minutes),
            self.expected,
            self.found,
            f"{shown}. {self.why}" if self.why else shown,
        ]


def claims(store: Store, file: Path = FILE) -> list[Row]:
    """A row for each claim, in the order of the file; of published numbers, in that of the verdicts.

    A number that two experiments ask about has no row of the one that was not run, if the other was.

    Raises
    ------
    ConfigError
        The file of claims is not valid.
    TableError
        A table of the store cannot be read.
    """
    rows = [row for claim in read_claims(file) for row in _rows(claim, store)]
    told = {row.key for row in rows if row.verdict is not Verdict.NOT_RUN}
    chosen = []
    for row in rows:
        if row.verdict is not Verdict.NOT_RUN or row.key not in told:
            told.add(row.key)
            chosen.append(row)
    return chosen


def claims_table(store: Store, sections: Iterable[str]) -> str:
    """The rows of some sections, as Markdown."""
    wanted = set(sections)
    return markdown_table(HEADINGS, [row.cells() for row in claims(store) if row.source.section in wanted])


def counted(store: Store, verdict: str) -> int:
    """How many claims came to a verdict; to any of :data:`DECIDED` if it is ``decided``, to whichever if it is empty.

    Raises
    ------
    ConfigError
        There is no such verdict.
    """
    wanted: dict[str, tuple[Verdict, ...]] = {
        "": tuple(Verdict),
        "decided": DECIDED,
        **{one: (one,) for one in Verdict},
    }
    if verdict not in wanted:
        raise ConfigError(f"there is no verdict '{verdict}'; {nearest(verdict, wanted)}")
    return sum(row.verdict in wanted[verdict] for row in claims(store))


def _rows(claim: Claim, store: Store) -> Iterator[Row]:
    if claim.numbers is not None:
        yield from _of_numbers(claim, claim.numbers, store)
    elif claim.ordered is not None:
        of = claim.ordered
        yield from (_of_order(claim, of, *names, store) for names in product(of.experiments, of.metrics))
    elif claim.test is not None:
        command = f"pytest {claim.test.partition('::')[0]}"
        holds = "the test passes", "it does, or `make test` fails"
        yield Row(claim.claim, claim, command, math.nan, *holds, Verdict.REPRODUCED)
    elif claim.figure is not None and not claim.needs:
        yield _of_figure(claim, claim.figure, store)
    else:
        yield Row(claim.claim, claim, "", math.nan, "", "", Verdict.NOT_RUN, _needs(claim))


def _of_numbers(claim: Claim, experiment: str, store: Store) -> Iterator[Row]:
    """A row for each number that was published about an experiment, at each scale at which it was run."""
    table = store.judgements()
    for row in table[table["experiment"].str.rpartition(" (")[0] == experiment].to_dict("records"):
        verdict, scale = Verdict(row["verdict"]), row["experiment"].rpartition(" (")[2].rstrip(")")
        if verdict is Verdict.NOT_RUN:
            scale = _comparable(experiment, row["method"], row["metric"]) or scale
        why = "" if verdict in DECIDED else row["why"]
        if verdict is Verdict.NOT_RUN:
            why = _needs(claim)
        elif isinstance(note := row.get("note"), str):
            why = f"{why} Note: {note}.".strip()
        value, spread = row["published"], row["published_spread"]
        expected = "" if math.isnan(value) else f"{value:.10g}" if math.isnan(spread) else with_spread(value, spread)
        yield Row(
            claim=f"{row['claim']} {row['title']}, {row['metric']}.",
            source=claim,
            command=_command(experiment, scale),
            seconds=_seconds(store.results(f"{scale}/{experiment}"), [row["method"]]),
            expected=f"{expected} ({row['confidence']})".strip(),
            found=interval(row["mean"], row["low"], row["high"], row["seeds"]) if row["seeds"] else _NONE,
            verdict=verdict,
            why=why,
        )


def _comparable(experiment: str, method: str, metric: str) -> str:
    """The first scale at which ours may be compared with a published number; empty where any will do."""
    file = PUBLISHED / f"{experiment}.csv"
    entries = [entry for _, entry in read_published(file)] if file.is_file() else []
    scales = [entry.scale for entry in entries if (entry.method, entry.metric) == (method, metric)]
    return next((names[0] for names in scales if names), "")


def _of_order(claim: Claim, of: Ordered, experiment: str, metric: str, store: Store) -> Row:
    """An order is reproduced where the interval of the difference lies below zero, and no time says otherwise."""
    text = claim.claim
    if len(of.experiments) * len(of.metrics) > 1:
        text += f" `{experiment}`, {metric}."
    blank = Row(text, claim, _command(experiment, "laptop"), math.nan, f"{of.less} < {of.more}", _NONE, Verdict.NOT_RUN)
    try:
        gap = store.row(experiment, f"{of.less}-{of.more}", metric)
    except (ConfigError, TableError):  # no run of one of them is kept
        return replace(blank, why=_needs(claim))
    if math.isnan(gap["mean"]):
        return replace(blank, why=_needs(claim))
    less, more = (store.over_time(experiment, metric, method) for method in (of.less, of.more))
    verdict, why = Verdict.CANNOT_SAY, "The interval of the difference holds 0."
    if gap["low"] > 0:
        verdict, why = Verdict.WORSE, ""
    elif gap["high"] < 0:
        verdict, why = Verdict.REPRODUCED, ""
        if any(less[time] > more[time] for time in less if time in more):
            verdict, why = Verdict.CANNOT_SAY, "The order holds on the mean over times, and not at each of them."
    elif math.isnan(gap["low"]):
        why = "The difference has no interval."
    return replace(
        blank,
        seconds=_seconds(store.results(experiment), [of.less, of.more]),
        found=f"difference {interval(gap['mean'], gap['low'], gap['high'], gap['seeds'])}",
        verdict=verdict,
        why=why,
    )


def _of_figure(claim: Claim, figure: str, store: Store) -> Row:
    """A figure alone: it can be drawn and looked at."""
    experiment = figure.rpartition("_")[0]
    kept = store.results(experiment)
    runs = [run for run, _ in kept.records if run != FLOOR]
    command = f"{_command(experiment, 'laptop')} -- results/laptop/figures/{figure}.png"
    verdict, why = Verdict.CANNOT_SAY, "The figure is drawn, and no number was published to compare it with."
    if not runs:
        verdict, why = Verdict.NOT_RUN, _needs(claim)
    return Row(claim.claim, claim, command, _seconds(kept, runs), "to be looked at", _NONE, verdict, why)


def _needs(claim: Claim) -> str:
    return f"It needs {claim.needs}." if claim.needs else "No run of it is kept."


def _command(experiment: str, scale: str) -> str:
    return f"snakemake --profile workflow/profiles/local --config scale={scale} experiments=[{experiment}]"


def _seconds(kept: Kept, runs: Iterable[str]) -> float:
    """Of training and sampling of these runs, all seeds together."""
    wanted = set(runs)
    found = [_spent(record) for (run, _), record in kept.records.items() if run in wanted]
    return sum(map(sum, found)) if found else math.nan


def _spent(record: Mapping[str, str]) -> tuple[float, float]:
    return tuple(float(record[name] or 0) for name in ("train_seconds", "sample_seconds"))  # type: ignore[return-value]


# -- what all of it took ---------------------------------------------------------------------------


def compute_table(store: Store) -> str:
    """A row for each kind of device, and one of all: what the runs that are kept took."""
    records = list(_records(store))
    devices = sorted({record["device"] or "not recorded" for record in records})

    def row(name: str, chosen: list[Mapping[str, str]]) -> list[str]:
        hours = [sum(seconds) / 3600 for seconds in zip(*map(_spent, chosen), strict=True)] or [0.0, 0.0]
        most = max((float(record["peak_memory_bytes"] or 0) for record in chosen), default=0.0)
        return [name, f"{len(chosen):,}", *(f"{value:.1f}" for value in (*hours, sum(hours))), f"{most / 1e9:.1f}"]

    body = [row(device, [one for one in records if (one["device"] or "not recorded") == device]) for device in devices]
    head = ("device", "runs", "training, hours", "sampling, hours", "together, hours", "most memory, GB")
    return markdown_table(head, [*body, row("all", records)])


def environments_table(store: Store) -> str:
    """A row for each environment: versions that matter most, and how many runs it made."""
    versions, records = read_environments(store.kept / ENVIRONMENTS), list(_records(store))
    names = ("python", "torch", "numpy", "pot")
    body = [
        [
            f"`{name}`",
            *(told.get(package, _NONE) for package in names),
            str(sum(record["environment"] == name for record in records)),
        ]
        for name, told in versions.items()
    ]
    return markdown_table(("environment", *names, "runs"), body)


def _records(store: Store) -> Iterator[Mapping[str, str]]:
    """Of all runs that are kept, at every scale; not of floors, which train and sample nothing."""
    for file in sorted(store.kept.glob(f"*/*/{RUNS}")):
        for kept in store.folder(file.parent).values():
            yield from (record for (run, _), record in kept.records.items() if run != FLOOR)
