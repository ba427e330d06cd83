"""Say whether a rerun agrees with the reference results of its scale."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

from am.config import ConfigError
from am.experiments import Project
from am.io.tidy import read_metrics
from am.report.agreement import agreement
from am.report.store import read_kept
from am.steps.recorded import results_of


def agree(project: Project, results: Path, kept: Path) -> list[str]:
    """What there is to say, in at most ten lines, of the runs and seeds that the settings ask for.

    Parameters
    ----------
    results
        Folder of the scale's results. The reference lies below the folder of this name in the store.
    kept
        The store.

    Raises
    ------
    ConfigError
        There are no results.
    TableError
        A table cannot be read.
    """
    references, reruns = [], []
    there = False
    read = cache(read_kept)
    for name, experiment in project.experiments.items():
        files = [file for file in results_of(experiment, results / name) if file.name == "metrics.csv"]
        there = there or bool(files)
        if files and (reference := read(kept / results.name / experiment.file.stem).get(name)):
            references.append(reference.measured(experiment.configured).metrics)
            reruns.append(read_metrics(files))
    if not there:
        raise ConfigError(f"{results}: there are no results to compare")
    if not references:
        return [f"{kept / results.name}: there is no reference to compare these results with"]
    found = agreement(pd.concat(references, ignore_index=True), pd.concat(reruns, ignore_index=True))
    return [f"Agreement with {kept / results.name}:", *found.lines()]
