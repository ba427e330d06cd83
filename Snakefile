# Reproduces "Action Matching: Learning Stochastic Dynamics from Samples" (ICML 2023), step by step:
#
#     prepare -> train -> sample -> evaluate -> tabulate, draw -> verify
#
# What runs is said in config/config.yaml; every setting is checked before the DAG is built.

import sys
from pathlib import Path

from snakemake.utils import min_version

from am.config import ConfigError
from am.experiments import Project
from am.io.files import WriteError

min_version("9.0")

# To start no more than so many jobs a second, Snakemake 9 wakes up each second once for every job that it has started so
# far: after 190 jobs that took a third of a core. How many run at once is limited by cores and by the profile.
if workflow.scheduling_settings:
    workflow.scheduling_settings.max_jobs_per_timespan = None


workdir: workflow.basedir


report: "workflow/report/workflow.rst"


try:
    PROJECT = Project(Path("config"), config)
    ARCHIVE = PROJECT.published_archive()
except ConfigError as error:
    sys.exit(f"am: {error}")


onstart:
    try:
        PROJECT.write_settings()
    except WriteError as error:
        sys.exit(f"am: {error}")
    for notice in PLAN.notices():
        print(f"am: {notice}", file=sys.stderr)


include: "workflow/rules/common.smk"
include: "workflow/rules/retrieve.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/verify.smk"


for name in PROJECT.benchmarks:

    include: f"workflow/benchmarks/{name}/rules.smk"


rule all:
    default_target: True
    input:
        VERDICT,
