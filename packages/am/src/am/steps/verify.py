"""Say, number by number, whether the published result holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from am.config import ConfigError
from am.experiments import Project, ResolvedExperiment
from am.results.provenance import Asked, committed, origin
from am.results.tables import summarise
from am.results.tidy import FLOOR, blocks_beside, read_blocks, read_metrics
from am.results.verdicts import Judgement, Verdict, judge, write_verdicts
from am.runs import step_digest
from am.steps.failed import by_run, failures
from am.steps.recorded import Records, faults_of_kept, left_over, results_of, run_of

log = logging.getLogger(__name__)


def verify(project: Project, results: Path, kept: Path, out: Path) -> tuple[list[Judgement], list[str]]:
    """Judge every published number of the project.

    Only the runs and seeds that the settings ask for count. Each result is checked against its record, down to data and
    settings; a row that rests on anything else has no verdict.

    Parameters
    ----------
    results
        Folder of the scale's results.
    kept
        Folder of committed metrics, ``<scale>/<experiment>/``: numbers of scales that cannot be made
        again in minutes are judged beside those of this one, as their own scale would. Git is the record of these.
    out
        The page; the same as CSV and Markdown appear beside it.

    Returns
    -------
    The judgements, and a sentence for each thing that is not as recorded.

    Raises
    ------
    ConfigError
        There is not a single result, or metrics are kept of a scale that there is not.
    ProvenanceError
        A record is not one.
    """
    judgements: list[Judgement] = []
    of_others: list[Judgement] = []  # which follow those of the scale that was asked for
    told: list[str] = []
    inputs: list[Path] = []
    asked: list[Asked] = []
    records = Records({results / name: experiment for name, experiment in project.known.items()})
    tracked = committed(kept.absolute()) if kept.is_dir() else None
    for name, experiment in project.experiments.items():
        files = results_of(experiment, results / name)
        _tell_of(left_over(experiment, results / name), "is not read, since the settings ask for no such run and seed")
        faults = records.faults_of_results(experiment, files)
        failed = by_run(failures(experiment, results).values())
        judgements += judged(experiment, files, faults, failed)
        told += (fault for found in faults.values() for fault in found)
        inputs += [*files, *blocks_beside(files)]
        asked.append(experiment.asked("labels", "published"))
        for folder in sorted(kept.glob(f"*/{name}")):
            scale = folder.parent.name
            if scale != project.scale:
                theirs = project.at(scale).experiments[name]
                files = results_of(theirs, folder)
                _tell_of(left_over(theirs, folder), "is not read, since the settings ask for no such run and seed")
                faults = faults_of_kept(theirs, files, tracked)
                of_others += [one for one in judged(theirs, files, faults) if one.was_run]
                told += (fault for found in faults.values() for fault in found)
                inputs += [*files, *blocks_beside(files)]
                asked.append(theirs.asked("labels", "published"))
    judgements += of_others
    if not inputs:
        raise ConfigError(f"there are no results of {' or '.join(project.experiments)} to judge")
    _tell_of(sorted(records.gone), "is gone, and was checked by its record alone")
    made_of = origin(inputs, step_digest("verify"), ["verify"], asked)
    write_verdicts(judgements, out.with_suffix(".csv"), out.with_suffix(".md"), out, made_of)
    return judgements, list(dict.fromkeys(told))


def judged(
    experiment: ResolvedExperiment,
    files: Sequence[Path],
    faults: Mapping[str, Sequence[str]] | None = None,
    failed: Mapping[str, str] | None = None,
) -> list[Judgement]:
    """A judgement for each number that was published about an experiment.

    Parameters
    ----------
    files
        As from :func:`am.steps.recorded.results_of`.
    faults
        What is not as recorded, by run. Nothing of these runs is read; without the floor there is no verdict at all.
    failed
        Why runs failed, by run. They have no verdict, other seeds or not: the mean would be of the lucky ones.
    """
    faults, failed = faults or {}, failed or {}
    trusted = [] if FLOOR in faults else [file for file in files if run_of(file) not in faults]
    floors = [file for file in trusted if file.name == "floor.csv"]
    runs = [file for file in trusted if file.name == "metrics.csv"]
    title = f"{experiment.name} ({experiment.scale})"
    values, floor = (read_metrics(paths).assign(experiment=title) for paths in (runs, floors))
    asked = {entry.metric for entry in experiment.published}
    values = values[values["metric"].isin(asked)]
    labels = experiment.labels()
    blocks = read_blocks(blocks_beside(runs)).assign(experiment=title)
    about = experiment.data.evaluation
    summary = summarise(
        title, values, floor, labels, experiment.published, None, blocks, about.higher, positive=about.positive
    )
    judgements = judge(title, summary, labels, experiment.published, experiment.scale)
    distrusted = {run_of(file) for file in files} - {FLOOR} if FLOOR in faults else set(faults)
    controls = [label.title for label in labels if label.control and label.method in distrusted]
    shown = [replace(one, controls=_said(one.controls, controls, Verdict.NOT_AS_RECORDED)) for one in judgements]
    controls = [label.title for label in labels if label.control and label.method in failed]
    shown = [replace(one, controls=_said(one.controls, controls, Verdict.FAILED)) for one in shown]
    return [
        _without_verdict(one, faults.get(one.method) or faults[FLOOR])
        if one.method in distrusted
        else replace(one, verdict=Verdict.FAILED, why=f"A run of it failed. {failed[one.method]}")
        if one.method in failed
        else one
        for one in shown
    ]


def _tell_of(files: Sequence[Path], what: str) -> None:
    if files:
        log.warning("%s %s", files[0], what + f" (and {len(files) - 1} more like it)" * (len(files) > 1))


def _without_verdict(one: Judgement, faults: Sequence[str]) -> Judgement:
    more = f" And {len(faults) - 1} more like it." if len(faults) > 1 else ""
    return replace(one, verdict=Verdict.NOT_AS_RECORDED, why=f"{faults[0]}.{more}")


def _said(shown: str, controls: Sequence[str], verdict: Verdict) -> str:
    for title in controls:
        shown = shown.replace(f"{title} not run", f"{title} {verdict}")
    return shown
