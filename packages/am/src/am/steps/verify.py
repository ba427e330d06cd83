"""Say, number by number, whether the published result holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from am.config import ConfigError
from am.experiments import Project, ResolvedExperiment
from am.results.provenance import Asked, origin
from am.results.tables import summarise
from am.results.tidy import blocks_beside, read_blocks, read_metrics
from am.results.verdicts import Judgement, judge, write_verdicts
from am.runs import step_digest


def verify(project: Project, metrics: Mapping[str, Sequence[Path]], kept: Path, out: Path) -> list[Judgement]:
    """Judge every published number of the project.

    Parameters
    ----------
    metrics
        For each experiment, the ``metrics.csv`` of its runs and its ``floor.csv``.
    kept
        Folder of committed metrics, ``<scale>/<experiment>/``: numbers of scales that cannot be made
        again in minutes are judged beside those of this one, as their own scale would.
    out
        The page; the same as CSV and Markdown appear beside it.

    Raises
    ------
    ConfigError
        There is not a single result, or metrics are kept of a scale that there is not.
    """
    judgements: list[Judgement] = []
    inputs: list[Path] = []
    asked: list[Asked] = []
    for name, experiment in project.experiments.items():
        judgements += judged(experiment, metrics[name])
        inputs += metrics[name]
        asked.append(experiment.asked("labels", "published"))
        for folder in sorted(kept.glob(f"*/{name}")):
            scale = folder.parent.name
            if scale != project.scale:
                files = results_in(folder)
                theirs = project.at(scale).experiments[name]
                judgements += [one for one in judged(theirs, files) if one.seeds]
                inputs += files
                asked.append(theirs.asked("labels", "published"))
    if not inputs:
        raise ConfigError(f"there are no results of {' or '.join(project.experiments)} to judge")
    made_of = origin(inputs, step_digest("verify"), ["verify"], asked)
    write_verdicts(judgements, out.with_suffix(".csv"), out.with_suffix(".md"), out, made_of)
    return judgements


def results_in(folder: Path) -> list[Path]:
    """What an experiment is judged by, in its folder of results: every ``metrics.csv``, and ``floor.csv``."""
    return sorted([*folder.rglob("metrics.csv"), *folder.glob("floor.csv")])


def judged(experiment: ResolvedExperiment, files: Sequence[Path]) -> list[Judgement]:
    """A judgement for each number that was published about an experiment; ``files`` as from :func:`results_in`."""
    floors = [file for file in files if file.name == "floor.csv"]
    runs = [file for file in files if file.name == "metrics.csv"]
    title = f"{experiment.name} ({experiment.scale})"
    values, floor = (read_metrics(paths).assign(experiment=title) for paths in (runs, floors))
    asked = {entry.metric for entry in experiment.published}
    values = values[values["metric"].isin(asked)]
    labels = experiment.labels()
    blocks = read_blocks(blocks_beside(runs)).assign(experiment=title)
    higher = experiment.data.evaluation.higher
    summary = summarise(title, values, floor, labels, experiment.published, blocks=blocks, higher=higher)
    return judge(title, summary, labels, experiment.published, experiment.scale)
