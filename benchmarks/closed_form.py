"""What Action Matching in closed form reaches, and in how many seconds of a processor.

    python benchmarks/closed_form.py hydrogen [seeds]
    python benchmarks/closed_form.py cells FILE [seeds]
    python benchmarks/closed_form.py growth FILE [seeds]
    python benchmarks/closed_form.py rivals [seeds]
    python benchmarks/closed_form.py gradient FILE [seeds]

``rivals`` is of hydrogen, and ``gradient`` of cells; both have the same draws and ridges for all methods.
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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import describe
from torch import Tensor

import am
from am.marginals.hydrogen import Hydrogen
from am.methods.contract import Method, TrainedMethod
from am.methods.icfm_closed import ClosedFormFlowMatching
from am.metrics.energy import energy_distance
from am.metrics.fields import correlation, mass_error
from am.metrics.mmd import mmd_squared
from am.metrics.transport import wasserstein1
from am.randomness import generator
from am.runs import build_dataset, build_method

PARTICLES, NOISES = 5000, 5


def main() -> None:
    torch.set_num_threads(1)
    print(describe())
    what, *rest = sys.argv[1:]
    if what in ("hydrogen", "rivals"):
        {"hydrogen": hydrogen, "rivals": rivals}[what](int(rest[0]) if rest else 3)
    else:
        measured = {"cells": cells, "growth": growth, "gradient": gradient}[what]
        measured(rest[0], int(rest[1]) if len(rest) > 1 else 3)


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
    train, test, knots = split_cells(file)
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
                for k in range(len(knots) - 1)
                for draw in draws
            ]
            w1.append(statistics.mean(wasserstein1(a, b) for a, b in pushed))
            energy.append(statistics.mean(energy_distance(a, b) for a, b in pushed))
        print(f"{name} (sigma per interval): {model.network.theta.numel()} unknowns, {model.losses}")
        told("W1", w1)
        told("energy distance", energy)
        told("seconds", seconds)


def split_cells(file: str) -> tuple[list[Tensor], list[Tensor], list[float]]:
    """Cells to learn from and test cells, time by time, and the times."""
    data = np.load(file)
    x = ((data["pcs"] - data["full_mean"]) / data["full_std"]).astype(np.float32)
    held, times = data["source"] == "test", np.unique(data["time"])
    train, test = ([torch.from_numpy(x[(held == flag) & (data["time"] == k)]) for k in times] for flag in (False, True))
    return train, test, np.linspace(0, 1, len(times)).tolist()


class Guided:
    """Hydrogen with the velocities of Bohm, which no method of the workflow is given."""

    dimension = 3

    def __init__(self, path: Hydrogen) -> None:
        self.path, self.sample = path, path.sample

    def moving(self, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A point of q_t and the velocity there: (n,) -> (n, 3), (n, 3)."""
        x = self.path.sample(time, generator)
        return x, self.path.velocity(time, x)


class FlowMatching(ClosedFormFlowMatching):
    """On the curves of any path."""

    def lines(self, path: Any) -> Any:
        """As they are."""
        return path


def fitted(method: Method[Any], path: am.Marginals, seed: int) -> Any:
    """The network, of the same draws for all methods; tells ridge and seconds."""
    assert isinstance(method, TrainedMethod)
    network, begun = method.build(path, generator("rivals", seed, "build")), time.process_time()
    with TemporaryDirectory() as folder:
        trained = method.train(network, path, key=f"rivals/{seed}", state=Path(folder))
        row = pd.read_csv(trained.log).iloc[-1]
    network.load_state_dict(trained.weights)
    seconds = time.process_time() - begun
    print(f"{method.title}: {network.theta.numel()} unknowns, ridge {row['ridge']:g}, {seconds:.1f} s", flush=True)
    return network.requires_grad_(False)


def rivals(seeds: int) -> None:
    """The published metric on hydrogen; along the truth, the kinetic energy of velocities and the error of scores."""
    truth = build_dataset({"name": "hydrogen"}, "here").truth()
    assert isinstance(truth, Hydrogen)
    times, common = torch.linspace(0, 1, 11), {"solving": {"draws": 20_000}}
    few = {**common, "features": {"waves": 32}}
    contestants: dict[str, tuple[Method[Any], am.Marginals]] = {
        "AM, of points": (build_method("am_closed", common, "here"), truth),
        "AM, of velocities": (build_method("am_closed", common, "here"), Guided(truth)),
        "flow matching, same functions": (flow_matching(common), Guided(truth)),
        "flow matching, as many unknowns": (flow_matching(few), Guided(truth)),
        "ALD + SM": (build_method("ald_sm_closed", common, "here"), truth),
        "ALD + true score": (build_method("ald_true_score", {}, "here"), truth),
    }
    for name, (method, path) in contestants.items():
        found, kinetic, errors = [], [], []
        for seed in range(seeds):
            rng = torch.Generator().manual_seed(seed)
            start = truth.sample(torch.zeros(PARTICLES), rng)
            ends = [truth.sample(t.expand(PARTICLES), rng) for t in times[1:]]
            network = fitted(method, path, seed) if isinstance(method, TrainedMethod) else truth
            found.append(published(method.sample(network, start, times, rng).x[1:], ends))
            t, x = times[1:].repeat_interleave(PARTICLES), torch.cat(ends)
            velocity = method.velocity(network, t, x)
            if velocity is not None:
                kinetic.append(float(velocity.square().sum(1).mean() / 2))
            elif network is not truth:
                score = truth.score(t, x)
                errors.append(float((network(t, x) - score).square().sum() / score.square().sum()))
        for what, numbers in (("published metric", found), ("kinetic energy", kinetic), ("error of the score", errors)):
            if numbers:
                told(f"{name}, {what}", numbers)
    print(f"kinetic energy of the velocities of Bohm: {float(truth.velocity(t, x).square().sum(1).mean() / 2):.4g}")


def flow_matching(settings: dict[str, Any]) -> FlowMatching:
    return FlowMatching(FlowMatching.settings_type.model_validate(settings))


def gradient(file: str, seeds: int) -> None:
    """One step of test cells by gradients and by free velocities, on the same lines."""
    train, test, knots = split_cells(file)
    for smoothing in (0.0, 1.0):
        path = am.SnapshotPath(train, knots, smoothing=smoothing)
        for name, method in {
            "AM": build_method("am_closed", {}, "here"),
            "OT-CFM, same functions": build_method("otcfm_closed", {}, "here"),
            "OT-CFM, as many unknowns": build_method("otcfm_closed", {"features": {"waves": 18}}, "here"),
            "I-CFM, same functions": build_method("icfm_closed", {}, "here"),
        }.items():
            w1, energy, kinetic = [], [], []
            for seed in range(seeds):
                network, rng = fitted(method, path, seed), torch.Generator()
                pushed = [
                    (method.sample(network, test[k], torch.tensor(knots[k : k + 2]), rng).x[1], test[k + 1])
                    for k in range(len(knots) - 1)
                ]
                w1.append(statistics.mean(wasserstein1(a, b) for a, b in pushed))
                energy.append(statistics.mean(energy_distance(a, b) for a, b in pushed))
                t = torch.rand(20_000, generator=rng.manual_seed(seed))
                speed = method.velocity(network, t, path.sample(t, rng))
                assert speed is not None
                kinetic.append(float(speed.square().sum(1).mean() / 2))
            for what, numbers in (("W1", w1), ("energy distance", energy), ("kinetic energy", kinetic)):
                told(f"smoothing {smoothing:g}, {name}, {what}", numbers)


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
