"""Error against seconds on hydrogen: Action Matching in closed form, with a network, and the published recipe.

    python benchmarks/headline.py [FOLDER] [seeds]

The published metric, a mean over ten times of 5,000 particles.
Its noise floor is that between two samples of the truth.
Closed forms have more and more waves, and networks train for more and more iterations, each with a schedule of its own.
Seconds are those of `fit`, on one thread. The published recipe is the kept run, at its own seconds. Writes
hydrogen_seconds.csv and .png to FOLDER, results when left out.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from closed_form import PARTICLES, published
from machine import describe
from matplotlib import pyplot

import am
from am.experiments import Project
from am.report.figures.style import styled
from am.report.store import read_kept
from am.runs import build_dataset

ROOT = Path(__file__).parents[1]
EXPERIMENT = "hydrogen"
WAVES = (10, 25, 50, 100, 200)
ITERATIONS = (125, 250, 500, 1000, 2000)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results"
    seeds = range(int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    torch.set_num_threads(1)
    print(machine := describe())
    path = build_dataset({"name": "hydrogen"}, "here").truth()
    times = torch.linspace(0, 1, 11)
    rows: list[dict[str, Any]] = []

    def measured(what: str, size: int, seed: int, seconds: float, found: torch.Tensor) -> None:
        rng = torch.Generator().manual_seed(1000 + seed)
        truth = [path.sample(t.expand(PARTICLES), rng) for t in times[1:]]
        rows.append({"what": what, "size": size, "seed": seed, "seconds": seconds, "mmd": published(found, truth)})
        print(rows[-1], flush=True)

    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        start = path.sample(torch.zeros(PARTICLES), rng)
        measured("floor", 0, seed, 0, torch.stack([path.sample(t.expand(PARTICLES), rng) for t in times[1:]]))
        for size, model in [*closed_forms(), *networks()]:
            begun = time.monotonic()
            model.fit(path, seed=seed)
            seconds = time.monotonic() - begun
            what = "closed form" if isinstance(model, am.ClosedFormActionMatching) else "network"
            measured(what, size, seed, seconds, model.sample(start, times, seed=seed).x[1:])
    table = pd.concat([pd.DataFrame(rows), recipe()], ignore_index=True).assign(machine=machine)
    table.to_csv(folder / "hydrogen_seconds.csv", index=False)
    draw(table, folder / "hydrogen_seconds.png")


def closed_forms() -> list[tuple[int, am.Model]]:
    return [(waves, am.ClosedFormActionMatching(waves=waves)) for waves in WAVES]


def networks() -> list[tuple[int, am.Model]]:
    """As the experiment sets them, for fewer iterations."""
    settings = Project(ROOT / "config").experiments[EXPERIMENT].runs["am"].settings
    potential, training = settings["potential"], settings["training"]
    return [
        (
            iterations,
            am.ActionMatching(potential=potential, training={**training, "iterations": iterations, "warmup": 25}),
        )
        for iterations in ITERATIONS
    ]


def recipe() -> pd.DataFrame:
    """The published recipe as it was kept, by seed."""
    kept = read_kept(ROOT / "results/expected/paper" / EXPERIMENT)[EXPERIMENT]
    measured = kept.measured([key for key in map(seeded, kept.keys) if key[0] == "am_published"])
    mmd = measured.metrics.query("metric == 'mmd'").groupby("seed")["value"].mean()
    seconds = measured.costs.set_index("seed")["train_seconds"]
    return pd.DataFrame({"what": "published recipe", "size": 100_000, "seconds": seconds, "mmd": mmd}).reset_index()


def seeded(key: tuple[str, str]) -> tuple[str, int]:
    return key[0], int(key[1] or 0)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Means over seeds, each with its range; the floor as a band."""
    colours = {"closed form": "#0072B2", "network": "#D55E00", "published recipe": "#009E73"}
    with styled():
        figure, axes = pyplot.subplots(figsize=(4.2, 2.8), layout="constrained")
        floor = table.query("what == 'floor'")["mmd"]
        axes.axhspan(floor.min(), floor.max(), color="0.88", linewidth=0, label="noise floor")
        for what, colour in colours.items():
            sizes = table[table["what"] == what].groupby("size")
            mean, low, high = sizes["mmd"].mean(), sizes["mmd"].min(), sizes["mmd"].max()
            axes.errorbar(
                sizes["seconds"].mean(),
                mean,
                [mean - low, high - mean],
                marker="o",
                markersize=4,
                color=colour,
                label=what,
            )
        axes.axhline(5.66e-4, color="black", linestyle=":", linewidth=0.9, label="published value")
        axes.set(
            xscale="log", yscale="log", xlabel="seconds of fitting, one thread", ylabel="error (MMD, published metric)"
        )
        axes.legend()
        figure.savefig(file, dpi=200)


if __name__ == "__main__":
    main()
