"""From nothing to the published number: settings, data, training, sampling and evaluation of `am`, timed.

    python benchmarks/hydrogen.py [seeds] [jobs at once]

Every step is the command that the workflow runs, each in a process of its own, one thread each.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from machine import describe

PROJECT = Path(__file__).parents[1]


def am(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "am.cli", *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


def one_seed(folder: Path, seed: int) -> tuple[float, float]:
    """Mean over times of the published metric, and seconds, for one seed."""
    start = time.monotonic()
    run, data, own = folder / "run.yaml", folder / "data.h5ad", folder / str(seed)
    am("train", "--run", run, "--data", data, "--seed", seed, "--out", own / "model.safetensors")
    trained = time.monotonic()
    samples = own / "samples.npz"
    am("sample", "--run", run, "--data", data, "--seed", seed, "--model", own / "model.safetensors", "--out", samples)
    evaluate = ("--config", folder / "config.yaml", "--data", data, "--samples", samples, "--method", "am")
    am("evaluate", *evaluate, "--seed", seed, "--out", own / "metrics.csv")
    metrics = pd.read_csv(own / "metrics.csv")
    value = float(metrics[metrics["metric"] == "mmd"]["value"].mean())
    seconds = time.monotonic() - start
    print(f"seed {seed}: {value:.2e} after {seconds:.0f} s, {trained - start:.0f} s of them training", flush=True)
    return value, seconds


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.monotonic()
        experiment = ("--project", PROJECT / "config", "--scale", "laptop", "--experiment", "hydrogen")
        am("resolve", *experiment, "--out", folder / "config.yaml")
        am("resolve", *experiment, "--run", "am", "--out", folder / "run.yaml")
        each = [argument for seed in range(seeds) for argument in ("--seed", seed)]
        am("prepare", "--config", folder / "config.yaml", *each, "--out", folder / "data.h5ad")
        prepared = time.monotonic() - start
        with ThreadPoolExecutor(jobs) as pool:
            results = list(pool.map(lambda seed: one_seed(folder, seed), range(seeds)))
        total = time.monotonic() - start
    values = [value for value, _ in results]
    print(f"settings and data: {prepared:.0f} s; one seed: {statistics.median(s for _, s in results):.0f} s (median)")
    print(f"mean over {seeds} seeds: {statistics.mean(values):.2e}; all of it: {total:.0f} s, {jobs} jobs at once")


if __name__ == "__main__":
    main()
