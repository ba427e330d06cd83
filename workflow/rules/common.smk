# What the rules share: where things lie, and what each result depends on.

from am.config import digest
from am.runs import step_digest

OUT = f"{PROJECT.results}/{PROJECT.scale}"
VERDICT = f"{OUT}/verdict.html"


wildcard_constraints:
    experiment="|".join(PROJECT.experiments),
    run="[A-Za-z0-9][A-Za-z0-9_-]*",
    seed=r"\d+",


def experiment(wildcards):
    return PROJECT.experiments[wildcards.experiment]


def run(wildcards):
    return experiment(wildcards).runs[wildcards.run]


def every_run(pattern, experiment, trained=False):
    """Paths of a file that each run has with each seed; only of runs that train, if asked."""
    return [
        f"{OUT}/{experiment.name}/{name}/seed{seed}/{pattern}"
        for name, config in experiment.runs.items()
        if config.about.trained or not trained
        for seed in experiment.seeds
    ]


# Files that hold the settings or the points of several runs are inputs whose age does not count (ancient):
# a run is made again when what it depends on itself changes, and that is said in its params, as digests of
# settings and of code (workflow-rules.md in docs/decisions says why).


def data_digest(wildcards):
    """Changes when the data of an experiment would; another seed more does not change those of the others."""
    data = experiment(wildcards).data
    return digest([data.model_dump(mode="json", exclude={"seeds"}), data.code_digest("prepare")])


FIGURES = {
    "iterations": ["pdf", "png"],
    "times": ["pdf", "png"],
    "losses": ["pdf", "png"],
    "histograms": ["pdf", "png"],
    "animation": ["gif"],
}


def figures_of(experiment):
    """Figures that an experiment can have: those of training need methods that train."""
    trains = any(run.about.trained for run in experiment.runs.values())
    return [name for name in FIGURES if trains or name not in ("iterations", "losses")]


def shown_in(figure):
    """What a figure is made from."""

    def inputs(wildcards):
        e = experiment(wildcards)
        first = [f"{OUT}/{e.name}/{name}/seed{e.seeds[0]}/samples.npz" for name in e.pictured]
        untrained = [
            path for path in every_run("metrics.csv", e) if path not in every_run("metrics.csv", e, trained=True)
        ]
        return {
            "iterations": every_run("history.csv", e, trained=True) + untrained + [f"{OUT}/{e.name}/floor.csv"],
            "times": every_run("metrics.csv", e) + [f"{OUT}/{e.name}/floor.csv"],
            "losses": every_run("training.csv", e, trained=True),
            "histograms": [f"{OUT}/{e.name}/data.h5ad", *first],
            "animation": [f"{OUT}/{e.name}/data.h5ad", *first],
        }[figure]

    return inputs


def everything(wildcards):
    """All that a verdict rests on, and all that a reader may want beside it."""
    wanted = []
    for e in PROJECT.experiments.values():
        wanted += every_run("metrics.csv", e) + [f"{OUT}/{e.name}/floor.csv", f"{OUT}/tables/{e.name}.csv"]
        wanted += [f"{OUT}/figures/{e.name}_{f}.{FIGURES[f][-1]}" for f in figures_of(e)]
    return wanted
