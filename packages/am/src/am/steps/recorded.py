"""Results that an experiment asks for, and whether they are as recorded: nothing else goes into what is shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from am.experiments import ResolvedExperiment
from am.io.provenance import ProvenanceError
from am.io.tidy import FLOOR, read_blocks, read_draws, read_history, read_metrics
from am.report.store import Kept, Key
from am.runs import DataConfig, RunConfig
from am.steps.explain import MISSING, Explainer, Node

if TYPE_CHECKING:
    import pandas as pd

_TABLES = {
    "metrics.csv": read_metrics,
    "blocks.csv": read_blocks,
    "draws.csv": read_draws,
    "history.csv": read_history,
    "floor.csv": read_metrics,
}
"""Tables whose rows tell what they are of; ``blocks.csv`` and ``draws.csv`` may have none."""
BESIDE = ("blocks.csv", "draws.csv")
"""What the workflow leaves beside each ``metrics.csv``, and intervals are made of."""


def results_of(experiment: ResolvedExperiment, folder: Path) -> list[Path]:
    """What an experiment is judged by: ``metrics.csv`` of each configured run and seed, and ``floor.csv``.

    Parameters
    ----------
    folder
        Of the experiment's results. What else lies in it is not read.
    """
    wanted = [folder / run / f"seed{seed}" / "metrics.csv" for run, seed in experiment.configured]
    return [file for file in (*wanted, folder / "floor.csv") if os.path.lexists(file)]


def left_over(experiment: ResolvedExperiment, folder: Path) -> list[Path]:
    """Each ``metrics.csv`` in the folder of an experiment that belongs to no configured run and seed."""
    wanted = {folder / run / f"seed{seed}" / "metrics.csv" for run, seed in experiment.configured}
    return sorted(set(folder.rglob("metrics.csv")) - wanted)


def left_over_rows(experiment: ResolvedExperiment, kept: Kept) -> list[Key]:
    """Runs and seeds of the store that no settings ask for."""
    wanted = {(FLOOR, ""), *((run, str(seed)) for run, seed in experiment.configured)}
    return [key for key in kept.keys if key not in wanted]


def run_of(file: Path) -> str:
    """Name of the run that a file of results belongs to; of ``floor.csv``, the floor."""
    return FLOOR if file.name == "floor.csv" else file.absolute().parent.parent.name


class Records:
    """Asks of results, as ``am explain`` does, whether they are as recorded; each file is hashed once.

    Parameters
    ----------
    experiments
        With the folder of the results of each. Their settings are those that results must have been made with,
        whatever the files of settings among the results say.
    """

    def __init__(self, experiments: Mapping[Path, ResolvedExperiment]) -> None:
        settings: dict[Path, RunConfig | DataConfig] = {}
        for folder, experiment in experiments.items():
            settings[folder / "config.yaml"] = experiment.data
            settings |= {folder / name / "config.yaml": run for name, run in experiment.runs.items()}
        foreign = [name for experiment in experiments.values() for name in experiment.benchmarks]
        self._explainer = Explainer(settings, foreign)
        self.gone: set[Path] = set()
        """Files behind the results that are no longer there: their records were checked instead."""

    def faults(self, file: Path) -> list[str]:
        """A sentence for each thing that is not as recorded, of the file or of what it was made from.

        Weights, samples or points that are gone are no fault: an archive leaves them out. They are noted in
        :attr:`gone`.

        Raises
        ------
        ProvenanceError
            A record is not one.
        """
        root = self.node(file)
        self.gone |= {node.path for node in root.walk() if node.sha256 is None} - {file}
        return [*root.told(but=MISSING), *_not_beside(root)]

    def node(self, file: Path) -> Node:
        """What :func:`am.steps.explain.explain` tells of the file; errors as in :meth:`faults`."""
        return self._explainer.node(file)

    def faults_of_results(self, experiment: ResolvedExperiment, files: Iterable[Path]) -> dict[str, list[str]]:
        """The same of the results of an experiment, by run; nothing of runs that are as recorded.

        Results must hold rows of the run and seed that they lie with, and bring what is measured beside them.
        """
        found: dict[str, list[str]] = {}
        for file in files:
            beside = [file.with_name(name) for name in BESIDE] if file.name == "metrics.csv" else []
            for one in (file, *beside):
                if faults := self.faults(one) or misplaced(experiment, one):
                    found.setdefault(run_of(file), []).extend(faults)
        return {run: list(dict.fromkeys(faults)) for run, faults in found.items()}


def misplaced_rows(kept: Kept) -> dict[str, list[str]]:
    """Values that the store holds twice, by run; nothing of runs that are right."""
    found: dict[str, list[str]] = {}
    for name, table in kept.tables.items():
        for run, rows in table.groupby("method", sort=False):
            found.setdefault(str(run), []).extend(_twice(kept, name, rows))
    return {run: faults for run, faults in found.items() if faults}


def faults_of_kept(kept: Kept, tracked: Mapping[Path, bool] | None) -> dict[str, list[str]]:
    """The same, with rows that are not those of their record, and with files that are not as committed.

    Parameters
    ----------
    tracked
        As from :func:`am.io.provenance.committed`; None where git knows of none, as in an unpacked archive, and
        only rows can be checked.
    """
    found = misplaced_rows(kept)
    for run, seed in kept.edited:
        seed_of_it = f"{kept.experiment}, {seed_of(run, seed)}"
        fault = f"{kept.folder}: {seed_of_it} is edited: its rows are not those that its record tells"
        found.setdefault(run, []).append(fault)
    if tracked is None:
        return found
    for file in kept.files:
        if file.absolute() not in tracked:
            fault = f"{file} is unrecorded: git does not track it; commit it"
        elif not tracked[file.absolute()]:
            fault = f"{file} is edited: it is not the file that was committed"
        else:
            continue
        for run in dict.fromkeys(run for run, _ in kept.keys):
            found.setdefault(run, []).append(fault)
    return found


def seed_of(run: str, seed: str) -> str:
    """A run and its seed in words, as ``am, seed 0``."""
    return f"{run}, seed {seed}" if seed else run


def _twice(kept: Kept, name: str, rows: pd.DataFrame) -> Iterator[str]:
    """Whether each value of a run is there once."""
    again = rows[rows.duplicated([column for column in rows if column != "value"])]
    for run, seed in dict.fromkeys(zip(again["method"], again["seed"], strict=True)):
        whose = f"{kept.experiment}, {seed_of(run, str(seed))}"
        yield f"{kept.folder / name} is misplaced: it holds a value of {whose} twice"


def require(experiment: ResolvedExperiment, files: Sequence[Path]) -> None:
    """Refuse results that are not as recorded, or that the experiment does not ask for.

    Raises
    ------
    ProvenanceError
        Names the first file, and says what is wrong with it and what to do.
    """
    records = Records(dict.fromkeys({_folder(experiment, file) for file in files}, experiment))
    _refuse(lambda file: records.faults(file) or misplaced(experiment, file), files)


def require_recorded(files: Iterable[Path]) -> None:
    """The same of files that may be of any experiment."""
    _refuse(Records({}).faults, files)


def _refuse(faults_of: Callable[[Path], Sequence[str]], files: Iterable[Path]) -> None:
    for file in files:
        if faults := faults_of(file):
            raise ProvenanceError(f"{first_of(faults)}; delete what is named, and the workflow makes it again")


def first_of(sentences: Sequence[str]) -> str:
    """The first of several sentences, and how many more there are."""
    return sentences[0] + f" (and {len(sentences) - 1} more like it)" * (len(sentences) > 1)


def few(words: Sequence[str], most: int = 5) -> str:
    """The first of several words, and how many more there are."""
    return ", ".join(words[:most]) + f" and {len(words) - most} more" * (len(words) > most)


def misplaced(experiment: ResolvedExperiment, file: Path) -> list[str]:
    """Whether the rows of a table are of what it lies with: its experiment, run and seed, which must be configured.

    Raises
    ------
    TableError
        It is no such table.
    """
    if file.name not in _TABLES or _empty(file):
        return []
    rows = _TABLES[file.name]([file])
    if (found := set(rows["experiment"])) != {experiment.name}:
        return [f"{file} is misplaced: it holds rows of the experiment '{_other(found, experiment.name)}'"]
    run = run_of(file)
    if (found := set(rows["method"])) != {run}:
        return [f"{file} is misplaced: it holds rows of the run '{_other(found, run)}'"]
    if run == FLOOR:
        return []
    seeds = {f"seed{seed}" for seed in rows["seed"]}
    if seeds != {file.absolute().parent.name}:
        return [f"{file} is misplaced: it holds rows of {_other(seeds, file.absolute().parent.name)}"]
    if (run, rows["seed"].iloc[0]) not in experiment.configured:
        return [
            f"{file} is not asked for: {experiment.name} has no such run and seed at the scale '{experiment.scale}'"
        ]
    return []


def _not_beside(node: Node) -> Iterator[str]:
    """Metrics of samples that lie elsewhere."""
    if node.path.name in ("metrics.csv", *BESIDE) and node.inputs:
        own = node.path.with_name("samples.npz").absolute()
        read = [one.path for one in node.inputs if one.path.suffix == ".npz"]  # data may be such archives too
        if read and own not in (path.absolute() for path in read):
            yield f"{node.path} is misplaced: it measures {', '.join(map(str, read))}, not the samples beside it"


def _folder(experiment: ResolvedExperiment, file: Path) -> Path:
    """The folder of the experiment's results that a file lies in; else its own."""
    return next((above for above in file.absolute().parents if above.name == experiment.name), file.absolute().parent)


def _empty(file: Path) -> bool:
    return file.name in BESIDE and file.read_bytes().count(b"\n") == 1


def _other(found: set[str], own: str) -> str:
    return min(found - {own}, default=own)
