"""What Action Matching in closed form reaches, and in how many seconds of a processor.

    python benchmarks/closed_form.py hydrogen [seeds]
    python benchmarks/closed_form.py cells FILE [seeds]
    python benchmarks/closed_form.py growth FILE [seeds]

FILE of cells is an .npz with ``pcs`` (n, d), ``time`` 0, 1, ..., ``source``, which is "test" for cells that are held
out, and the scaler ``full_mean``, ``full_std``. FILE of growth is a .csv with ``samples`` 0, 1, ... and ``x1``, ``x2``,
whose growth rate is proportional to x2^2 / (1 + x2^2). Each ridge is chosen by a held-out loss. The default bandwidth,
degree and number of points were set on one seed of hydrogen with its metric in view.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from machine import describe
from torch import Tensor

import am
from am.metrics.energy import energy_distance
from am.metrics.fields import correlation, mass_error
from am.metrics.mmd import mmd_squared
from am.metrics.transport import wasserstein1
from am.runs import build_dataset

PARTICLES, NOISES = 5000, 5


def main() -> None:
    torch.set_num_threads(1)
    print(describe())
    what, *rest = sys.argv[1:]
    if what == "hydrogen":
        hydrogen(int(rest[0]) if rest else 3)
    else:
        {"cells": cells, "growth": growth}[what](rest[0], int(rest[1]) if len(rest) > 1 else 3)


def timed(model: am.Model, path: am.Marginals, seed: int) -> float:
    """Seconds of the processor that a fit takes."""
    begun = time.process_time()
    model.fit(path, seed=seed)
    return time.process_time() - begun


def told(name: str, numbers: Sequence[float]) -> None:
    spread = statistics.stdev(numbers) if len(numbers) > 1 else float("nan")
    print(f"{name}: mean {statistics.mean(numbers):.3g}, spread over {len(numbers)} seeds {spread:.1g}", flush=True)


def hydrogen(seeds: int) -> None:
    """The published metric at ten times, and the same between two samples of the truth."""
    path = build_dataset({"name": "hydrogen"}, "here").truth()
    times = torch.linspace(0, 1, 11)
    for settings in ({"draws": 20_000},):
        found, floors, seconds = [], [], []
        for seed in range(seeds):
            model = am.ClosedFormActionMatching(**settings)
            seconds.append(timed(model, path, seed))
            rng = torch.Generator().manual_seed(seed)
            moved = model.sample(path.sample(torch.zeros(PARTICLES), rng), times).x
            first, second = ([path.sample(t.expand(PARTICLES), rng) for t in times[1:]] for _ in range(2))
            found.append(published(moved[1:], first))
            floors.append(published(second, first))
            print(
                f"{settings}, seed {seed}: {found[-1]:.2e}, floor {floors[-1]:.2e}; {model.network.theta.numel()} "
                f"unknowns, {seconds[-1]:.1f} s, {model.losses}",
                flush=True,
            )
        told("published metric", found)
        told("noise floor", floors)
        told("seconds", seconds)


def published(x: Sequence[Tensor] | Tensor, y: Sequence[Tensor]) -> float:
    return statistics.mean(abs(mmd_squared(a, b, [1e-4] * 3)) for a, b in zip(x, y, strict=True))


def cells(file: str, seeds: int) -> None:
    """One step from the test cells of each time to those of the next."""
    data = np.load(file)
    x = ((data["pcs"] - data["full_mean"]) / data["full_std"]).astype(np.float32)
    held, times = data["source"] == "test", np.unique(data["time"])
    train, test = ([torch.from_numpy(x[(held == flag) & (data["time"] == k)]) for k in times] for flag in (False, True))
    knots = np.linspace(0, 1, len(times)).tolist()
    path = am.SnapshotPath(train, knots)
    models = {"am_closed": {}} | {f"eam_closed sigma {s}": {"sigma": s * 2} for s in (0.6, 0.8)}
    floor = statistics.mean(wasserstein1(a, b) for a, b in zip(train[1:], test[1:], strict=True))
    print(f"train against test: W1 {floor:.3f}")
    for name, settings in models.items():
        w1, energy, seconds = [], [], []
        for seed in range(seeds):
            model = am.Model(name.split()[0], **settings)
            seconds.append(timed(model, path, seed))
            draws = range(NOISES if settings else 1)
            pushed = [
                (model.sample(test[k], knots[k : k + 2], seed=draw).x[1], test[k + 1])
                for k in range(len(times) - 1)
                for draw in draws
            ]
            w1.append(statistics.mean(wasserstein1(a, b) for a, b in pushed))
            energy.append(statistics.mean(energy_distance(a, b) for a, b in pushed))
        print(f"{name} (sigma per interval): {model.network.theta.numel()} unknowns, {model.losses}")
        told("W1", w1)
        told("energy distance", energy)
        told("seconds", seconds)


def growth(file: str, seeds: int) -> None:
    """Growth of the cells themselves, and the mass at the last time."""
    table = pd.read_csv(file)
    clouds = [torch.tensor(part[["x1", "x2"]].to_numpy(), dtype=torch.float32) for _, part in table.groupby("samples")]
    times = np.linspace(0, 1, len(clouds)).tolist()
    masses = [len(cloud) for cloud in clouds]
    for scale in (0.03, 0.1):
        found, steps, errors, seconds = [], [], [], []
        for seed in range(seeds):
            begun = time.process_time()
            path = am.SnapshotPath(clouds, times, coupling="unbalanced", masses=masses)
            model = am.ClosedFormUnbalancedActionMatching(growth=scale)
            timed(model, path, seed)
            seconds.append(time.process_time() - begun)
            rates = torch.cat([model.growth_rate(t, cloud) for t, cloud in zip(times, clouds, strict=True)])
            square = torch.cat(clouds)[:, 1].square()
            found.append(correlation(rates, square / (1 + square)))
            pairs = [(k, k + 1) for k in range(len(times) - 1)]
            steps.append(max(off(model, clouds, times, masses, first, last) for first, last in pairs))
            errors.append(off(model, clouds, times, masses, 0, len(times) - 1))
        print(f"lambda {scale:g}: {model.network.theta.numel()} unknowns, {model.losses}")
        told("growth correlation", found)
        told("mass error from a time to the next, largest", steps)
        told("mass error from the first time to the last", errors)
        told("seconds", seconds)


def off(model: am.Model, clouds: list[Tensor], times: list[float], masses: list[int], first: int, last: int) -> float:
    """Error of the mass of the particles of a time, pushed to a later one."""
    pushed = model.sample(clouds[first], [times[first], times[last]])
    assert pushed.log_weight is not None
    return mass_error(pushed.log_weight[1], float(np.log(masses[last] / masses[first])))


if __name__ == "__main__":
    main()
