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
