"""What the records of reference results cannot vouch for: rows without one, and rows that other code has made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from am.experiments import ResolvedExperiment
from am.report.store import Kept
from am.runs import step_digest

NO_RECORD = "no record"
DIFFERS = "digest differs from the code:"
COLUMNS = {"settings": "settings", "train": "train_code", "sample": "sample_code", "evaluate": "evaluate_code"}
"""What numbers depend on, and the column of ``runs.csv`` that holds its digest: tables and verdicts are made anew."""

Doubts = dict[str, dict[str, list[str]]]
"""Runs, by what is found, and by the title of their experiment."""


def doubts(reviewed: Mapping[str, tuple[ResolvedExperiment, Kept]]) -> Doubts:
    """What is found of the records: nothing where each row has one, of the code and the settings of today.

    A finding names what differs: the settings, or the code of a step. The digest of a step is of all that it imports.
    Each difference can change a number; none has to.

    Parameters
    ----------
    reviewed
        Experiments and what is kept of them, by title.
    """

    @cache
    def now(experiment: ResolvedExperiment, run: str) -> dict[str, str]:
        dataset = f"am.datasets.{experiment.data.dataset['name']}"
        digests = {"evaluate": step_digest("evaluate", dataset)}
        if config := experiment.runs.get(run):
            code = {step: step_digest(step, f"am.methods.{config.method}", dataset) for step in ("train", "sample")}
            digests |= {"settings": config.sampling_digest, **code}
        return digests

    found: Doubts = {NO_RECORD: {}}
    for title, (experiment, kept) in reviewed.items():
        differing: dict[str, set[str]] = {}
        for run, seed in kept.keys:
            differ = differing.setdefault(run, set())
            if record := kept.records.get((run, seed)):
                digests = now(experiment, run)
                differ |= {what for what, known in digests.items() if record[COLUMNS[what]] not in ("", known)}
            else:
                differ.add(NO_RECORD)
        for run, differ in differing.items():
            if NO_RECORD in differ:
                found[NO_RECORD].setdefault(title, []).append(run)
            if what := [one for one in COLUMNS if one in differ]:
                found.setdefault(f"{DIFFERS} {', '.join(what)}", {}).setdefault(title, []).append(run)
    return {what: found[what] for what in (NO_RECORD, *sorted({*found} - {NO_RECORD})) if found[what]}


def in_full(found: Doubts) -> str:
    """A line for each finding and experiment, with the runs."""
    return "".join(
        f"{what}: {title}: {', '.join(runs)}\n"
        for what, of_titles in found.items()
        for title, runs in of_titles.items()
    )


def in_brief(found: Doubts, listed: Path, most: int) -> Iterator[str]:
    """A sentence for each finding, with at most so many experiments and runs of each; ``listed`` holds all."""
    for what, of_titles in found.items():
        told = [f"{title}: {_few(runs, most)}" for title, runs in of_titles.items()]
        rest = f"; and {len(told) - most} experiments more, in {listed}" if len(told) > most else ""
        yield f"{what}: {'; '.join(told[:most])}{rest}"


def _few(runs: Sequence[str], most: int) -> str:
    return ", ".join(runs) if len(runs) <= most else f"{len(runs)} runs"
