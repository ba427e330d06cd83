"""Which settings predict cells best, told without a test cell: cross-validation among the training cells.

python benchmarks/selection.py [experiment] [method] [changes of its settings as JSON, one argument each]

A key ``path`` of a change goes to the data set. Each fold leaves a quarter of the training cells of every time out of
training; those of one time start particles that are compared with those of the next by the energy distance.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe

from am.config import merge
from am.experiments import Project
from am.marginals.snapshots import SnapshotPath, masses_of
from am.methods.contract import TrainedMethod
from am.metrics.energy import energy_distance
from am.randomness import generator
from am.runs import RunConfig, build_trained_method
from am.training.arithmetic import arithmetic
from am.training.devices import launch
from am.training.loop import train

FOLDS = 4
REPEATS = 2


def main() -> None:
    experiment, name, *changes = sys.argv[1:] if len(sys.argv) > 2 else ("myoblast", "eam")
    torch.set_num_threads(1)
    print(describe())
    project = Project(Path(__file__).parents[1] / "config", {"scale": "laptop", "experiments": [experiment]})
    run = project.experiments[experiment].runs[name]
    cells = {t: torch.from_numpy(x) for t, x in run.build_dataset().training_points(0, 0, "selection")}
    for change in [{}, *(json.loads(text) for text in changes)]:
        path = change.pop("path", run.dataset.get("path", {}))
        method = build_trained_method(run.model_copy(update={"settings": merge(run.settings, change)}), "a change")
        start = time.process_time()
        scores = np.array([_score(run, method, path, cells, fold) for fold in range(FOLDS * REPEATS)])
        seconds = (time.process_time() - start) / len(scores)
        error = scores.std(ddof=1) / np.sqrt(len(scores))
        print(
            f"{scores.mean():.3f} +- {error:.3f}  {seconds:3.0f} s  {json.dumps({'path': path} | change)}", flush=True
        )


def _score(
    run: RunConfig, method: TrainedMethod, path: dict[str, Any], cells: dict[float, torch.Tensor], fold: int
) -> float:
    """Mean over times of the distance of left-out cells, moved from the time before, to those of the time."""
    key = f"selection/{run.run}/{fold}"
    train_cells, left_out = [], []
    for t, x in cells.items():
        order = torch.randperm(len(x), generator=generator("selection", fold // FOLDS, t))
        mine = torch.arange(len(x)) % FOLDS == fold % FOLDS
        train_cells.append(x[order[~mine]])
        left_out.append(x[order[mine]])
    times = list(cells)
    path = {**path, "masses": masses_of(train_cells, path.get("masses", "equal"))}
    snapshots = SnapshotPath(train_cells, times, **path)
    with tempfile.TemporaryDirectory() as state, torch.random.fork_rng():
        torch.manual_seed(fold)
        network = method.build(snapshots, generator(key, "build"))
        trained = train(
            network,
            method.loss,
            snapshots,
            method.settings.training,
            key=key,
            state=Path(state),
            fabric=launch("cpu"),
        )
    network.load_state_dict(trained.weights)
    distances = []
    for k, (first, then) in enumerate(pairwise(left_out)):
        legs = torch.tensor(times[k : k + 2])
        with arithmetic():
            moved = method.sample(network, first.repeat(8, 1), legs, generator(key, "sample", k))
        weight = None if moved.log_weight is None else moved.log_weight[-1]
        distances.append(energy_distance(moved.x[-1], then, weight))
    return float(np.mean(distances))


if __name__ == "__main__":
    main()
