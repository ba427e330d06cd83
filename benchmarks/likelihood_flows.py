"""Whether flows trained by likelihood cross gaps between snapshots, and whether their likelihoods can be believed.

python benchmarks/likelihood_flows.py [--steps 300,1500] [--solver-steps 2]

First two Gaussians, each nine of its standard deviations from the other, 300 points of each: no density is more likely
on average than theirs, and the mixture of both that stands still is log 2 less likely. Then the rows of cells whose
weights the workflow has left in `results/laptop/`. Likelihoods are those of the solver that training saw, and of
sixteen times as many steps.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from machine import describe

from am.experiments import Project
from am.marginals.snapshots import SnapshotPath
from am.methods.trajectorynet import LikelihoodFlow
from am.randomness import generator
from am.runs import build_method
from am.training.checkpoint import read_tensors
from am.training.loop import train
from am.training.stream import Stream

ROOT = Path(__file__).parents[1]
SPREAD = 0.3
METHODS = {"trajectorynet": 1e-2, "ot_flow": 3e-2}  # with the learning rates of the experiments


def flow(name: str, settings: dict[str, Any]) -> LikelihoodFlow:
    """The method with these settings."""
    method = build_method(name, settings, name)
    assert isinstance(method, LikelihoodFlow)
    return method


def coarse_and_fine(name: str, settings: dict[str, Any], network: torch.nn.Module, path: SnapshotPath) -> list[float]:
    """Negative log-likelihood of the points as training saw it, and by sixteen times the steps."""
    told = []
    for times in (1, 16):
        solver = {**settings["solver"], "steps": times * settings["solver"]["steps"]}
        method = flow(name, {**settings, "solver": solver, "blur": 0.0})
        told.append(float(method.loss(network, path, Stream("flows", 0, 4000, 4000))[1]["nll"]))
    return told


def gap(steps: list[int], solver_steps: int) -> None:
    """Two Gaussians."""
    ends = [torch.randn(300, 2, generator=generator("gap", k)) * SPREAD + place for k, place in enumerate((-1, 1))]
    path = SnapshotPath(ends, (0.0, 1.0))
    way = ends[1].mean(0) - ends[0].mean(0)
    for name, rate in METHODS.items():
        for blur, iterations in ((blur, iterations) for blur in (0.0, 1.5) for iterations in steps):
            training = {"iterations": iterations, "batch_size": 256, "learning_rate": rate, "ema": 0.95}
            settings = {"training": training, "solver": {"method": "rk4", "steps": solver_steps}, "blur": blur}
            method = flow(name, settings)
            torch.manual_seed(1)
            network: Any = method.build(path, generator("build"))
            with TemporaryDirectory() as state:
                trained = train(network, method.loss, path, method.settings.training, key=name, state=Path(state))
            network.load_state_dict(trained.weights)
            truth = math.log(2 * math.pi * math.e) + 2 * math.log(SPREAD / float(network.spread))
            seen, fine = (value - truth for value in coarse_and_fine(name, settings, network, path))
            x = method.sample(network, ends[0], torch.tensor([0.0, 1.0]), generator("sample")).x[1]
            gone = float(((x - ends[0]).mean(0) * way).sum() / way.square().sum())
            print(
                f"{name}, blur {blur:g}, {iterations} steps in {trained.seconds:.0f} s: {seen:+.2f} above the truth, "
                f"by fine steps {fine:+.2f}; {100 * gone:.0f} % of the way",
                flush=True,
            )


def rows_of_cells() -> None:
    """What the workflow has trained."""
    for name in ("myoblast", "embryoid_mini"):
        experiment = Project(ROOT / "config", {"experiments": [name], "scale": "laptop"}).known[name]
        out = ROOT / "results" / "laptop" / name
        for run in METHODS:
            for model in sorted(out.glob(f"{run}/seed*/model.safetensors")):
                settings = experiment.runs[run].settings
                path: Any = experiment.data.build_dataset().snapshots(out / "data.h5ad")
                network: Any = flow(run, settings).build(path, generator("build"))
                network.load_state_dict(read_tensors(model)[0])
                seen, fine = coarse_and_fine(run, settings, network, path)
                print(f"{name}, {run}, {model.parent.name}: {seen:.2f}, by fine steps {fine:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", default="300,1500", help="lengths of training on the two Gaussians")
    parser.add_argument("--solver-steps", type=int, default=2, help="of Runge and Kutta, from snapshot to snapshot")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(describe())
    gap([int(steps) for steps in asked.steps.split(",")], asked.solver_steps)
    rows_of_cells()


if __name__ == "__main__":
    main()
