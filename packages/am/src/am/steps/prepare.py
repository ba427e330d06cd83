"""Prepare the data of an experiment: ``data.h5ad``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from am.data.snapshots import Snapshots, write_snapshots
from am.marginals.marginals import Marginals
from am.randomness import generator
from am.runs import read_data_config


def prepare(config: Path, out: Path, seeds: Iterable[int] | None = None) -> None:
    """Draw training points, for methods that read files, and what starts and judges each of ``seeds``.

    Seeds (by default those of ``config``) have test points of their own, so that the interval over seeds
    covers the luck of the draw of the truth as well. No points depend on which others are drawn.
    """
    plan = read_data_config(config)
    dataset = plan.build_dataset(str(config))
    truth, evaluation = dataset.truth(), plan.evaluation
    grid = np.linspace(0, 1, evaluation.snapshot_times)
    parts = [_draw(truth, t, evaluation.snapshot_size, "train", -1, plan.experiment) for t in grid]
    for seed in plan.seeds if seeds is None else seeds:
        times = (0.0, *evaluation.times)
        parts += [_draw(truth, t, evaluation.n_samples, "test", seed, plan.experiment) for t in times]
    columns = zip(*((p.x, p.time, p.split, p.seed) for p in parts), strict=True)
    write_snapshots(Snapshots(*(np.concatenate(column) for column in columns)), dataset.columns, out)


def _draw(truth: Marginals, time: float, n: int, split: str, seed: int, experiment: str) -> Snapshots:
    rng = generator(experiment, split, seed, float(time))
    x = truth.sample(torch.full((n,), float(time)), rng).numpy().astype(np.float32)
    return Snapshots(x, np.full(n, float(time)), np.full(n, split), np.full(n, seed))
