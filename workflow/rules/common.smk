# What the rules share: where things lie, and what each result depends on.
#
# Jobs read their settings from files that are written before the first of them starts (onstart), and that are no
# inputs: a job runs again when what it depends on itself changes. That is said in its params, as digests of settings
# and of code (docs/decisions/workflow-rules.md says why).

from am.config import digest
from am.io.registry import ARCHIVES, archive_name
from am.plan import FIGURE_KINDS, Plan
from am.runs import step_digest

PLAN = Plan(PROJECT)
SEEDS = PROJECT.seeds
OUT = PLAN.out
SETTINGS = f"{OUT}/{{experiment}}/config.yaml"
RUN_SETTINGS = f"{OUT}/{{experiment}}/{{run}}/config.yaml"
TRAINING_POINTS = f"{OUT}/{{experiment}}/data.h5ad"
ALL_POINTS = f"{OUT}/{{experiment}}/seed{{seed}}/data.h5ad"
OF_SEED = f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}"
VERDICT = f"{OUT}/verdict.html"


wildcard_constraints:
    experiment="|".join(PROJECT.known),
    run="[A-Za-z0-9][A-Za-z0-9_-]*",
    seed=r"\d+",


def experiment(wildcards):
    return PROJECT.known[wildcards.experiment]


def run(wildcards):
    return experiment(wildcards).runs[wildcards.run]


def of(pattern, seeds):
    """Paths of a file of each seed."""
    return [pattern.replace("{seed}", str(seed)) for seed in seeds]


def path(pattern, wildcards):
    """Path of a file of each seed, where {seed} stands for the seed."""
    return pattern.format(**{**wildcards, "seed": "{seed}"})


def options(name, values):
    """An option of a command, once for each value."""
    return [word for value in values for word in (name, str(value))]


def weights(wildcards, file):
    """Path of a file that training leaves, where {seed} stands for the seed.

    It lies in another experiment where that one trains for this; where published weights are taken, in that which they are
    unpacked to.
    """
    return f"{OUT}/{experiment(wildcards).weights}/{wildcards.run}/seed{{seed}}/{file}"


def trained(file, seeds):
    """Paths of a file that training leaves, for runs that train."""
    return lambda wildcards: of(weights(wildcards, file), seeds) if run(wildcards).about.trained else []


def raw_files(wildcards):
    """What an experiment's data set is read from."""
    return [f"data/raw/{source}/{file}" for source, file in experiment(wildcards).data.build_dataset().files]


def networks(wildcards):
    """What an experiment's metrics look at images through."""
    return [f"data/raw/{source}/{file}" for source, file in experiment(wildcards).data.evaluation.files]


def asked(*keys):
    """Digest of an experiment's data set, and of those keys of its evaluation that a rule depends on."""
    return lambda wildcards: experiment(wildcards).data.asked(*keys)


def shown_beside(figure):
    """Digest of what a figure shows beside results: what runs are called, and in one what was published."""
    keys = ["labels", "published"] if figure == "bars" else ["labels"]
    return lambda wildcards: experiment(wildcards).shown(*keys)
