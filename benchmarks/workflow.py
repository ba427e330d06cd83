"""What a run of the workflow costs, rule by rule: experiments from nothing to their tables and verdicts.

    python benchmarks/workflow.py [--scale laptop] EXPERIMENT ...

Works in `results/benchmark/`, which it empties first. With one experiment after another the jobs of a rule share all
cores, so the seconds of jobs add up to about the number of cores times what the run took.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
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


def jobs() -> pd.DataFrame:
    """Each job of the last run, with the seconds that it took, by what Snakemake keeps of its outputs."""
    records = [json.loads(path.read_text()) for path in (PROJECT / ".snakemake/metadata").rglob("*") if path.is_file()]
    ours = {  # every output has a record; a job is known by its log
        (record["rule"], record["log"][0]): record["endtime"] - record["starttime"]
        for record in records
        if any(log.startswith(f"{RESULTS}/") for log in record["log"])
    }
    return pd.DataFrame([{"rule": rule, "seconds": seconds} for (rule, _), seconds in ours.items()])


def main() -> None:
    """Run, and print a row for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="smoke")
    parser.add_argument("experiments", nargs="*", default=["myoblast", "myoblast_all_step"])
    asked = parser.parse_args()
    print(describe())
    seconds = run(asked.scale, asked.experiments)
    by_rule = jobs().groupby("rule")["seconds"].agg(jobs="count", median="median", total="sum")
    print(by_rule.sort_values("total", ascending=False).round(1).to_string())
    print(f"{', '.join(asked.experiments)} at the scale {asked.scale}: {seconds:.0f} s")


if __name__ == "__main__":
    main()
