"""What the workflow makes of a project: which files of which runs, seeds together in one job, and figures.

The rules in ``workflow/rules`` ask this; nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from am.experiments import Project, ResolvedExperiment
from am.io.snapshots import DataError
from am.steps.failed import failures
from am.steps.seeds import together

FIGURE_KINDS = {
    "iterations": ("pdf", "png"),
    "times": ("pdf", "png"),
    "bars": ("pdf", "png"),
    "ranks": ("pdf", "png"),
    "losses": ("pdf", "png"),
    "histograms": ("pdf", "png"),
    "animation": ("gif",),
    "grid": ("pdf", "png"),
    "panels": ("pdf", "png"),
    "paths": ("pdf", "png"),
    "trajectories": ("pdf", "png"),
    "growth": ("pdf", "png"),
}
"""All figures, and the kinds of file that each is drawn as; the last is for the report."""


@dataclass(frozen=True)
class Batch:
    """Seeds that one job handles, and the runs that it does so for.

    Starting Python and torch takes longer than most of these jobs do, so that seeds share it.
    """

    seeds: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...]
    """Experiment and run of each."""

    @property
    def name(self) -> str:
        """The seeds in words, as :func:`am.steps.seeds.together` has them."""
        return together(self.seeds)

    def rule(self, base: str, plain: tuple[int, ...]) -> str:
        """Name of the rule for these seeds: ``base`` for the seeds ``plain``, else with the seeds behind it.

        Examples
        --------
        >>> Batch((0, 1, 2), ()).rule("sample_method", (0, 1, 2))
        'sample_method'
        >>> Batch((3, 4), ()).rule("sample_method", (0, 1, 2))
        'sample_method_3_to_4'
        """
        return base if self.seeds == plain else f"{base}_{self.name}"

    @property
    def runs(self) -> str:
        """What a run's name must match where it stands in a path, behind its experiment's.

        Examples
        --------
        >>> bool(re.fullmatch(f"(e|f)/({Batch((0,), (('e', 'am'), ('f', 'eam'))).runs})", "e/am"))
        True
        >>> bool(re.fullmatch(f"(e|f)/({Batch((0,), (('e', 'am'), ('f', 'eam'))).runs})", "f/am"))
        False
        """
        behind: dict[str, list[str]] = {}
        for experiment, run in self.pairs:
            behind.setdefault(experiment, []).append(re.escape(run))
        return "|".join(f"(?<={re.escape(one)}/)(?:{'|'.join(runs)})" for one, runs in behind.items())

    @property
    def experiments(self) -> str:
        """What an experiment's name must match."""
        return "|".join(dict.fromkeys(re.escape(experiment) for experiment, _ in self.pairs))


def _parts(seeds: Iterable[int], common: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Those of ``seeds`` that are among the common ones, and the others; nothing of what is empty."""
    parts = tuple(seed for seed in seeds if seed in common), tuple(seed for seed in seeds if seed not in common)
    return [part for part in parts if part]


class Plan:
    """Files of a project's results, as paths from its top folder, and the jobs that make them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.out = f"{project.results}/{project.scale}"
        self.failed = {e.name: {*failures(e, Path(self.out))} if project.partial else set() for e in self.known}
        """With ``partial``, runs and seeds that are left out of what is asked for, and shown as failed."""
        self.skipped = {name: why for name, e in project.experiments.items() if (why := _lacking(e))}
        """Experiments that nothing is made for, since their data are not at hand and cannot be fetched; and why."""

    @property
    def known(self) -> Iterable[ResolvedExperiment]:
        """All experiments that anything is made for."""
        return self.project.known.values()

    def notices(self) -> list[str]:
        """A sentence for each reason to skip experiments, with their names."""
        names: dict[str, list[str]] = {}
        for name, why in self.skipped.items():
            names.setdefault(why, []).append(name)
        return [f"skipped {', '.join(skipped)}: {why}" for why, skipped in names.items()]

    def batches(self, own: bool = False) -> list[Batch]:
        """All runs by the seeds that one job handles: those of the scale, and those that a run has beside them.

        Parameters
        ----------
        own
            Without the runs of benchmarks.
        """
        found: dict[tuple[int, ...], list[tuple[str, str]]] = {}
        for e in self.known:
            for run in e.runs if own else e.contestants:
                seeds = [seed for name, seed in e.configured if name == run and (run, seed) not in self.failed[e.name]]
                for part in _parts(seeds, e.seeds):
                    found.setdefault(part, []).append((e.name, run))
        return [Batch(seeds, tuple(pairs)) for seeds, pairs in found.items()]

    def prepared(self) -> list[Batch]:
        """All runs by the seeds whose points one job draws, for all runs of an experiment."""
        found: dict[tuple[int, ...], list[tuple[str, str]]] = {}
        for e in self.known:
            for part in _parts(e.data.seeds, e.seeds):
                found.setdefault(part, []).extend((e.name, run) for run in e.contestants)
        return [Batch(seeds, tuple(pairs)) for seeds, pairs in found.items()]

    def of_runs(
        self,
        file: str,
        experiment: ResolvedExperiment,
        trained: bool = False,
        own: bool = False,
        folder: str | None = None,
        seeds: Collection[int] | None = None,
    ) -> list[str]:
        """Paths of a file of each configured run and seed.

        Parameters
        ----------
        file
            Its name.
        experiment
            That asks for the runs.
        trained, own
            Only of runs that train; only of those that are no benchmarks.
        folder
            Name of the folder that the runs lie in; the experiment's when left out.
        seeds
            Only of these; of all that a run has when left out.
        """
        training = [name for name, config in experiment.runs.items() if config.about.trained]
        chosen = training if trained else experiment.runs if own else experiment.contestants
        return [
            f"{self.out}/{folder or experiment.name}/{name}/seed{seed}/{file}"
            for name, seed in experiment.configured
            if name in chosen and seed in (seeds or (seed,)) and (name, seed) not in self.failed[experiment.name]
        ]

    def figures(self, experiment: ResolvedExperiment) -> list[str]:
        """Figures that an experiment can have: of training where it trains, of images, of clouds, or of snapshots."""
        trains = experiment.trains_in == experiment.name and any(run.about.trained for run in experiment.runs.values())
        dataset = experiment.data.build_dataset()
        images = dataset.image_shape is not None
        snapshots = not images and dataset.observed is not None
        wanted = {
            "iterations": trains,
            "losses": trains,
            "histograms": not images,
            "animation": not images,
            "grid": images,
            "panels": images and dataset.conditioned,
            "paths": images and bool(experiment.data.evaluation.shown),
            "bars": snapshots,
            "ranks": len(experiment.seeds) > 1 and sum(not label.control for label in experiment.labels()) > 1,
            "trajectories": snapshots,
            "growth": not images and any(run.about.weighs for run in experiment.runs.values()),
        }
        return [name for name in FIGURE_KINDS if wanted.get(name, True)]

    def shown_in(self, figure: str, experiment: ResolvedExperiment) -> list[str]:
        """Paths of what a figure of an experiment is made from."""
        measured = self.of_runs("metrics.csv", experiment)
        floor = f"{self.out}/{experiment.name}/floor.csv"
        if figure in ("times", "bars"):
            return [*measured, floor]
        if figure == "ranks":
            return measured
        if figure == "losses":
            return self.of_runs("training.csv", experiment, trained=True, folder=experiment.weights)
        if figure == "iterations":
            of_training = self.of_runs("metrics.csv", experiment, trained=True)
            untrained = [path for path in measured if path not in of_training]
            history = self.of_runs("history.csv", experiment, trained=True, seeds=experiment.seeds)
            return [*history, *untrained, floor]
        weighing = [name for name, run in experiment.runs.items() if run.about.weighs]
        first = experiment.seeds[0]
        return [
            f"{self.out}/{experiment.name}/seed{first}/data.h5ad",
            *(
                f"{self.out}/{experiment.name}/{name}/seed{first}/samples.npz"
                for name in (weighing if figure == "growth" else experiment.pictured)
                if (name, first) not in self.failed[experiment.name]
            ),
        ]

    def everything(self) -> list[str]:
        """Paths of all that a verdict rests on, and of what a reader may want beside it; of nothing that is skipped."""
        wanted = []
        for e in self.project.experiments.values():
            if e.name in self.skipped:
                continue
            wanted += [*self.of_runs("metrics.csv", e), f"{self.out}/{e.name}/floor.csv"]
            wanted += [f"{self.out}/tables/{e.name}.csv"]
            wanted += [f"{self.out}/figures/{e.name}_{figure}.{FIGURE_KINDS[figure][-1]}" for figure in self.figures(e)]
        return wanted


def _lacking(experiment: ResolvedExperiment) -> str:
    """Which data of an experiment are not at hand, and in no place that the workflow retrieves from; or nothing."""
    dataset = experiment.data.build_dataset()
    if dataset.files:  # the registry says where these are
        return ""
    try:
        dataset.sources()
    except DataError as error:
        return str(error)
    return ""
