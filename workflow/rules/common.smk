# What the rules share: where things lie, and what each result depends on.
#
# Jobs read their settings from files that are written before the first of them starts (onstart), and that are no
# inputs: a job runs again when what it depends on itself changes. That is said in its params, as digests of settings
# and of code (docs/decisions/workflow-rules.md says why).

from am.config import digest
from am.data.registry import ARCHIVES, archive_name
from am.runs import step_digest
from am.steps.failed import failures

OUT = f"{PROJECT.results}/{PROJECT.scale}"
SETTINGS = f"{OUT}/{{experiment}}/config.yaml"
RUN_SETTINGS = f"{OUT}/{{experiment}}/{{run}}/config.yaml"
TRAINING_POINTS = f"{OUT}/{{experiment}}/data.h5ad"
ALL_POINTS = f"{OUT}/{{experiment}}/seed{{seed}}/data.h5ad"
VERDICT = f"{OUT}/verdict.html"


# Runs that the rules of the workflow make; those of benchmarks are made by rules of their own.
OWN_RUNS = "|".join(sorted({run for e in PROJECT.known.values() for run in e.runs}))


wildcard_constraints:
    experiment="|".join(PROJECT.known),
    run="[A-Za-z0-9][A-Za-z0-9_-]*",
    seed=r"\d+",


# With --config partial=true, runs that failed are left out of what is asked for, and shown as failed.
FAILED = {e.name: failures(e, Path(OUT)) if PROJECT.partial else {} for e in PROJECT.known.values()}


def experiment(wildcards):
    return PROJECT.known[wildcards.experiment]


def run(wildcards):
    return experiment(wildcards).runs[wildcards.run]


def trained(file):
    """Path of a file that training leaves, for runs that train: in another experiment where that one trains for this.

    Where an experiment takes published weights, it is the path that they are unpacked to.
    """

    def of(wildcards):
        folder = f"{OUT}/{experiment(wildcards).weights}/{wildcards.run}/seed{wildcards.seed}"
        return f"{folder}/{file}" if run(wildcards).about.trained else []

    return of


def raw_files(wildcards):
    """What an experiment's data set is read from."""
    return [f"data/raw/{source}/{file}" for source, file in experiment(wildcards).data.build_dataset().files]


def networks(wildcards):
    """What an experiment's metrics look at images through."""
    return [f"data/raw/{source}/{file}" for source, file in experiment(wildcards).data.evaluation.files]


def every_run(pattern, experiment, trained=False, own=False, folder=None):
    """Paths of a file of each configured run and seed; only of runs that train, or that are no benchmarks, if asked."""
    training = [name for name, config in experiment.runs.items() if config.about.trained]
    chosen = training if trained else experiment.runs if own else experiment.contestants
    return [
        f"{OUT}/{folder or experiment.name}/{name}/seed{seed}/{pattern}"
        for name, seed in experiment.configured
        if name in chosen and (name, seed) not in FAILED[experiment.name]
    ]


def asked(*keys):
    """Digest of an experiment's data set, and of those keys of its evaluation that a rule depends on."""

    def of(wildcards):
        return experiment(wildcards).data.asked(*keys)

    return of


FIGURES = {
    "iterations": ["pdf", "png"],
    "times": ["pdf", "png"],
    "bars": ["pdf", "png"],
    "ranks": ["pdf", "png"],
    "losses": ["pdf", "png"],
    "histograms": ["pdf", "png"],
    "animation": ["gif"],
    "grid": ["pdf", "png"],
    "panels": ["pdf", "png"],
    "paths": ["pdf", "png"],
    "trajectories": ["pdf", "png"],
    "growth": ["pdf", "png"],
}


def figures_of(experiment):
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
    return [name for name in FIGURES if wanted.get(name, True)]


def shown_in(figure):
    """What a figure is made from."""

    def inputs(wildcards):
        e = experiment(wildcards)
        pictured = [name for name, one in e.runs.items() if one.about.weighs] if figure == "growth" else e.pictured
        first = [
            f"{OUT}/{e.name}/{name}/seed{e.seeds[0]}/samples.npz"
            for name in pictured
            if (name, e.seeds[0]) not in FAILED[e.name]
        ]
        untrained = [
            path for path in every_run("metrics.csv", e) if path not in every_run("metrics.csv", e, trained=True)
        ]
        measured = every_run("metrics.csv", e) + [f"{OUT}/{e.name}/floor.csv"]
        return {
            "iterations": every_run("history.csv", e, trained=True) + untrained + [f"{OUT}/{e.name}/floor.csv"],
            "times": measured,
            "bars": measured,
            "ranks": every_run("metrics.csv", e),
            "losses": every_run("training.csv", e, trained=True, folder=e.weights),
        }.get(figure, [f"{OUT}/{e.name}/seed{e.seeds[0]}/data.h5ad", *first])

    return inputs


def shown_beside(figure):
    """Digest of what a figure shows beside results: what runs are called, and in one what was published."""
    keys = ["labels", "published"] if figure == "bars" else ["labels"]
    return lambda wildcards: experiment(wildcards).shown(*keys)


def everything(wildcards):
    """All that a verdict rests on, and all that a reader may want beside it."""
    wanted = []
    for e in PROJECT.experiments.values():
        wanted += every_run("metrics.csv", e) + [f"{OUT}/{e.name}/floor.csv", f"{OUT}/tables/{e.name}.csv"]
        wanted += [f"{OUT}/figures/{e.name}_{f}.{FIGURES[f][-1]}" for f in figures_of(e)]
    return wanted
