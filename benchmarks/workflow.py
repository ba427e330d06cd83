"""What a run of the workflow costs, rule by rule, beside what the profile for Slurm asks for.

    python benchmarks/workflow.py --results results/laptop                   # of a run that there is
    python benchmarks/workflow.py [--scale smoke] [EXPERIMENT ...]           # from nothing to tables and verdicts

The second one works in `results/benchmark/`, which it empties first. Minutes and memory are those that each job left
beside its log. With one experiment after another the jobs of a rule share all cores, so the seconds of jobs add up to
about the number of cores times what the run took.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import yaml
from machine import describe

PROJECT = Path(__file__).parents[1]
RESULTS = "results/benchmark"


def run(scale: str, experiments: list[str]) -> float:
    """Seconds that the workflow took."""
    shutil.rmtree(PROJECT / RESULTS, ignore_errors=True)
    start = time.monotonic()
    settings = [f"results={RESULTS}", f"scale={scale}", f"experiments=[{','.join(experiments)}]"]
    command = ["snakemake", "--profile", "workflow/profiles/local", "--quiet", "all", "--config", *settings]
    subprocess.run(command, cwd=PROJECT, check=True)
    return time.monotonic() - start


def jobs(results: Path) -> pd.DataFrame:
    """A row a job: its rule, the seconds that it took, those of a processor, and the largest memory in MB."""
    files = sorted((results / "logs").rglob("*.tsv"))
    found = pd.concat([pd.read_csv(file, sep="\t", na_values="-") for file in files], ignore_index=True)
    rules = [file.relative_to(results / "logs").parts[0].removesuffix(".tsv") for file in files]
    return found.assign(rule=rules)[["rule", "s", "cpu_time", "max_rss"]]


def requests() -> pd.DataFrame:
    """Minutes and MB that the profile asks for in a first attempt, by rule; the default ones as ``default``."""
    profile = yaml.safe_load((PROJECT / "slurm/config.yaml").read_text())
    of_rules = {"default": profile["default-resources"]} | profile["set-resources"]
    asked = {
        rule: {"asked min": wanted["runtime"], "asked MB": int(str(wanted["mem_mb"]).partition("*")[0])}
        for rule, wanted in of_rules.items()
    }
    return pd.DataFrame.from_dict(asked, orient="index")


def by_rule(measured: pd.DataFrame) -> pd.DataFrame:
    """A row a rule, the costliest first."""
    grouped = measured.groupby("rule")
    table = pd.DataFrame(
        {
            "jobs": grouped.size(),
            "seconds": grouped["s"].sum(),
            "processor": grouped["cpu_time"].sum(),
            "longest min": grouped["s"].max() / 60,
            "most MB": grouped["max_rss"].max(),
        }
    )
    asked = requests()
    wanted = [asked.loc[rule if rule in asked.index else "default"] for rule in table.index]
    return table.join(pd.DataFrame(wanted, index=table.index)).sort_values("seconds", ascending=False)


def main() -> None:
    """Measure a run, and print a row for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--scale", default="smoke")
    parser.add_argument("experiments", nargs="*", default=["myoblast", "myoblast_all_step"])
    given = parser.parse_args()
    print(describe())
    seconds = None if given.results else run(given.scale, given.experiments)
    table = by_rule(jobs(given.results or PROJECT / RESULTS / given.scale))
    print(table.round(1).to_string())
    print(
        f"{table['jobs'].sum()} jobs, {table['seconds'].sum():.0f} s, {table['processor'].sum():.0f} s of a processor"
    )
    if seconds is not None:
        print(f"{', '.join(given.experiments)} at the scale {given.scale}: {seconds:.0f} s")


if __name__ == "__main__":
    main()
