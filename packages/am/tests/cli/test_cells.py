"""Cells through every step, by the command: one step, then all steps with the same weights."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from am.config import write_yaml
from am.io.samples import read_samples
from am.io.snapshots import read_snapshots
from am.metrics.energy import energy_distance

from ..conftest import Run

pytestmark = pytest.mark.trains

PROJECT: dict[str, dict[str, Any]] = {
    "config": {"scale": "tiny", "experiments": ["cells", "rolled"]},
    "scales/tiny": {"title": "tiny", "seeds": [0]},
    "experiments/cells": {
        "title": "Cells",
        "dataset": {"name": "myoblast", "dimensions": 4},
        "evaluation": {
            "times": ["1/3", "2/3", 1],
            "start": "previous",
            "protocol": "ours-one-step",
            "n_samples": 20,
            "draws": 3,
            "metrics": [{"kind": "energy"}, {"kind": "wasserstein1"}],
            "floor_repeats": 2,
            "history_samples": 10,
        },
        "methods": {
            "uam": {
                "settings": {
                    "growth": 0.1,
                    "potential": {"width": 8, "depth": 2},
                    "training": {"iterations": 10, "batch_size": 16, "boundary_batch_size": 16, "snapshots": 1},
                }
            },
            "no_dynamics": {},
            "oracle": {},
        },
    },
    "experiments/rolled": {
        "extends": "cells",
        "title": "Rolled out",
        "reuse_weights_of": "cells",
        "evaluation": {"start": "first", "protocol": None},
    },
}
TIMES = (0.0, 1 / 3, 2 / 3, 1.0)


@pytest.fixture
def results(am: Run, tmp_path: Path) -> Path:
    for name, content in PROJECT.items():
        write_yaml(content, tmp_path / "config" / f"{name}.yaml")
    results = tmp_path / "results"
    model = results / "cells/uam/seed0/model.safetensors"

    def step(*arguments: object) -> None:
        outcome = am(*arguments)
        assert outcome.code == 0, outcome.err

    for name in ("cells", "rolled"):
        folder = results / name
        about = ("--project", tmp_path / "config", "--scale", "tiny", "--experiment", name)
        config, data = ("--config", folder / "config.yaml"), ("--data", folder / "seed0/data.h5ad")
        step("resolve", *about, "--out", config[1])
        step("prepare", *config, "--no-test", "--out", folder / "data.h5ad")
        step("prepare", *config, "--seed", 0, "--out", data[1])
        step("floor", *config, "--out", folder / "floor.csv")
        for method in ("uam", "no_dynamics", "oracle"):
            run, place = ("--run", folder / method / "config.yaml"), folder / method / "seed0"
            step("resolve", *about, "--run", method, "--out", run[1])
            common = (*data, "--seed", 0)
            if method == "uam" and name == "cells":
                training = ("--data", folder / "data.h5ad", "--seed", 0, "--accelerator", "cpu")
                step("train", *run, *training, "--out", model)
                kept = ("--snapshots", model.with_name("snapshots.safetensors"))
                step("history", *config, *run, *common, *kept, "--device", "cpu", "--out", place / "history.csv")
            weights = ("--model", model) if method == "uam" else ()
            step("sample", *run, *common, *weights, "--device", "cpu", "--out", place / "samples.npz")
            samples = ("--samples", place / "samples.npz")
            step("evaluate", *config, *common, *samples, "--method", method, "--out", place / "metrics.csv")
        metrics = sorted(folder.rglob("metrics.csv"))
        step("tabulate", *metrics, *about, "--floor", folder / "floor.csv", "--out", results / f"{name}.csv")
        clouds = [data[1], *sorted(folder.rglob("samples.npz"))]
        step("draw", "histograms", *clouds, *about, "--out", results / f"{name}.png")
        step("draw", "animation", *clouds, *about, "--out", results / f"{name}.gif")
        for figure in ("trajectories", "growth"):
            step("draw", figure, *clouds, *about, "--out", results / f"{name}_{figure}.png")
        step("draw", "bars", *metrics, folder / "floor.csv", *about, "--out", results / f"{name}_bars.png")
        still = (data[1], folder / "no_dynamics/seed0/samples.npz")
        for figure, inputs, needed in (("growth", still, "a run that tells"), ("ranks", metrics, "two methods")):
            refused = am("draw", figure, *inputs, *about, "--out", results / "none.png")
            assert refused.code == 1
            assert f"the figure '{figure}' needs {needed}" in refused.err
    return results


def test_cells_go_through_every_step(results: Path) -> None:
    learned = read_snapshots(results / "cells/data.h5ad")
    assert set(learned.split) == {"train"}
    assert learned.x.shape == (175, 4)
    points = read_snapshots(results / "cells/seed0/data.h5ad")
    still = {name: read_samples(results / name / "no_dynamics/seed0/samples.npz") for name in ("cells", "rolled")}
    for before, time in pairwise(TIMES):
        np.testing.assert_array_equal(still["cells"].at(time)[0], points.test(0, before))
        np.testing.assert_array_equal(still["rolled"].at(time)[0], points.test(0, 0.0))
    uam = {name: read_samples(results / name / "uam/seed0/samples.npz") for name in ("cells", "rolled")}
    for name, samples in uam.items():
        assert samples.x.shape == (60, 4)
        assert samples.growth is not None
        assert samples.growth.shape == (60,)
        assert samples.velocity is None  # there is none to compare it with
        for before, time in pairwise(TIMES):
            x, log_weight = samples.at(time)
            assert log_weight is not None
            assert 0 < np.abs(log_weight).max() < 5
            start = points.test(0, before if name == "cells" else 0.0)
            assert 0 < np.abs(x - start).max() < 5
    # The first step is the same in both, as the weights are.
    np.testing.assert_allclose(uam["cells"].at(1 / 3)[0], uam["rolled"].at(1 / 3)[0], atol=1e-2)
    drawn = {row.tobytes() for row in read_samples(results / "cells/oracle/seed0/samples.npz").x}
    assert len(drawn) == 60
    assert not drawn & {row.tobytes() for row in points.x[points.split == "test"]}
    for name in ("cells", "rolled"):
        metrics = pd.concat(pd.read_csv(path) for path in (results / name).rglob("metrics.csv"))
        floor = pd.read_csv(results / name / "floor.csv")
        assert len(metrics) == 3 * 3 * 2
        assert set(metrics["n_samples"]) == {20}
        assert set(floor["n_samples"]) == {10, 20}
        assert np.isfinite([*metrics["value"], *floor["value"]]).all()
    for name, method in product(("cells", "rolled"), ("uam", "no_dynamics")):
        blocks = pd.read_csv(results / name / method / "seed0/blocks.csv").set_index(["time", "block", "metric"])
        assert len(blocks) == 3 * 10 * 2
        (x, log_weight), y = read_samples(results / name / method / "seed0/samples.npz").at(1.0), points.test(0, 1.0)
        for block in range(10):
            parts = [torch.from_numpy(np.delete(part, [block, block + 10], 0)) for part in (x, y)]
            weight = None if log_weight is None else torch.from_numpy(np.delete(log_weight, [block, block + 10]))
            assert blocks.loc[(1.0, block, "energy"), "value"] == pytest.approx(energy_distance(*parts, weight))
    for name in ("cells", "rolled"):
        for method, drawn_again in (("uam", False), ("no_dynamics", False), ("oracle", True)):
            place = results / name / method / "seed0"
            samples, draws = read_samples(place / "samples.npz"), pd.read_csv(place / "draws.csv")
            assert (len(samples.draws), len(draws)) == ((3, 3 * 3 * 2) if drawn_again else (1, 0))
            if drawn_again:
                assert len({one.x.tobytes() for one in samples.draws}) == 3
                means = draws.groupby(["time", "metric"])["value"].mean()
                found = pd.read_csv(place / "metrics.csv").set_index(["time", "metric"])["value"]
                pd.testing.assert_series_equal(found.sort_index(), means.sort_index())
                x, y = torch.from_numpy(samples.draws[2].at(1.0)[0]), torch.from_numpy(points.test(0, 1.0))
                value = draws.set_index(["draw", "time", "metric"])["value"][2, 1.0, "energy"]
                assert value == pytest.approx(energy_distance(x, y))
        table = pd.read_csv(results / f"{name}.csv").set_index(["metric", "method"])
        luck = table.loc["energy", "sampler_sd"]
        assert luck["oracle"] > 0
        assert luck[["uam", "no_dynamics"]].isna().all()
    for times in ("", "_times"):
        assert "**cells, energy** (protocol ours-one-step)\n" in (results / f"cells{times}.md").read_text()
        assert "**rolled, energy**\n" in (results / f"rolled{times}.md").read_text()
    assert not (results / "rolled/uam/seed0/model.safetensors").exists()
