"""Prepare the data of an experiment: ``data.h5ad``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from am.io.provenance import write_origin
from am.io.snapshots import Snapshots, write_snapshots
from am.runs import read_data_config


def prepare(config: Path, out: Path, seeds: Iterable[int] | None = None) -> None:
    """Write training points, for methods that read files, and what starts and judges each of ``seeds``.

    Where points can be drawn, seeds (by default those of ``config``) have test points of their own, so that the
    interval over seeds covers the luck of the draw of the truth as well. No points depend on which others are drawn.
    """
    plan = read_data_config(config)
    dataset, evaluation = plan.build_dataset(str(config)), plan.evaluation
    size = evaluation.snapshot_size
    parts = [
        Snapshots.at(time, x, "train", -1)
        for time, x in dataset.training_points(evaluation.snapshot_times, size, plan.experiment)
    ]
    legs = evaluation.legs(dataset.observed)
    times = sorted({time for start, later in legs for time in (start, *later)})
    keys = ["snapshot_times", "snapshot_size"]
    for seed in plan.seeds if seeds is None else seeds:
        keys += ["times", "start", "n_samples"]
        for time in times:
            x = dataset.test_points(time, evaluation.n_samples, seed, plan.experiment)
            parts.append(Snapshots.at(time, x, "test", seed))
    write_snapshots(Snapshots.together(parts), dataset.columns, out)
    code = ["prepare", f"am.datasets.{plan.dataset['name']}"]
    write_origin(out, plan.origin(code, [], config, *dict.fromkeys(keys)))
