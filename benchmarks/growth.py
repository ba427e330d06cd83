"""What unbalanced Action Matching tells of growth on the gene network, where it is known.

python benchmarks/growth.py [cells of a snapshot]

From the exact path for several lambda; then, with the lambda that is best there, from snapshots and by how they are
coupled. All know the mass at their times, but for one that does not. Correlation and relative error are those of the
growth rate, mean growth included, over times and cells of q_t.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import describe

from am.dynamics.weighted import effective_sample_size
from am.marginals.branching import BranchingDiffusion
from am.marginals.marginals import Marginals
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import TrainedMethod
from am.metrics.energy import energy_distance
from am.metrics.fields import correlation, mass_error, relative_error
from am.randomness import generator
from am.runs import build_dataset, build_method
from am.training.arithmetic import arithmetic
from am.training.devices import launch
from am.training.loop import train

BEST = 0.1
TIMES, POINTS = 21, 1000
TRAINING = {
    "iterations": 1500,
    "batch_size": 1024,
    "boundary_batch_size": 1024,
    "learning_rate": 3e-3,
    "ema": 0.995,
    "snapshots": 0,
}


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    torch.set_num_threads(1)
    print(describe())
    truth = build_dataset({"name": "gene_network"}, "here").truth()
    assert isinstance(truth, BranchingDiffusion)
    for growth in (0.01, 0.03, 0.1, 0.3, 1.0):
        print(f"exact path, lambda {growth:g}: {_measured(truth, truth, growth)}", flush=True)
    for number in (5, 11):
        times = torch.linspace(0, 1, number).tolist()
        points = [truth.sample(torch.full((cells,), t), generator("snapshot", t)) for t in times]
        masses = truth.log_mass(torch.tensor(times, dtype=torch.float64)).exp().tolist()
        for coupling in ("independent", "optimal", "unbalanced"):
            found = _measured(SnapshotPath(points, times, coupling, masses=masses), truth, BEST)
            print(f"{number} snapshots of {cells} cells, {coupling}, lambda {BEST:g}: {found}", flush=True)
        found = _measured(SnapshotPath(points, times, "unbalanced"), truth, BEST)
        print(f"{number} snapshots of {cells} cells, unbalanced, equal masses, lambda {BEST:g}: {found}", flush=True)


def _measured(path: Marginals, truth: BranchingDiffusion, growth: float) -> str:
    settings = {"growth": growth, "potential": {"width": 64, "depth": 3}, "training": TRAINING}
    method = build_method("uam", settings, "here")
    assert isinstance(method, TrainedMethod)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as state, torch.random.fork_rng():
        torch.manual_seed(0)
        network = method.build(path, generator("growth", "build"))
        trained = train(
            network, method.loss, path, method.settings.training, key="growth", state=Path(state), fabric=launch("cpu")
        )
    network.load_state_dict(trained.weights)
    seconds = time.process_time() - start
    t = torch.linspace(0, 1, TIMES).repeat_interleave(POINTS)
    x = truth.sample(t, generator("growth", "points"))
    found = method.growth_rate(network, t, x)
    assert found is not None
    exact = truth.rate(t, x)
    first = truth.sample(torch.zeros(2000), generator("growth", "start"))
    with arithmetic():
        last = method.sample(network, first, torch.tensor([0.0, 1.0]), generator("growth", "sample"))
    assert last.log_weight is not None
    ends = truth.sample(torch.ones(2000), generator("growth", "truth"))
    distance = energy_distance(last.x[1], ends, last.log_weight[1])
    share = float(effective_sample_size(last.log_weight[1])) / len(first)
    gained = float(truth.log_mass(torch.ones(1)))
    return (
        f"correlation {correlation(found, exact):.3f}, relative error {relative_error(found, exact):.2f}; "
        f"at t = 1: energy distance {distance:.4f}, mass error {mass_error(last.log_weight[1], gained):.1%}, "
        f"effective sample size {share:.0%}; {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
