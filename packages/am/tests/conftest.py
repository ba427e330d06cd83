"""The command, run in this process; and a tiny project that it has taken through every step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from am import cli
from am.config import write_yaml
from am.experiments import Project
from am.io.provenance import Commit
from am.steps.keep import keep

PROJECT: dict[str, dict[str, Any]] = {
    "config": {"scale": "tiny", "experiments": ["atom"]},
    "scales/tiny": {"title": "tiny", "seeds": [0, 1]},
    "experiments/atom": {
        "title": "An atom",
        "dataset": {"name": "hydrogen"},
        "evaluation": {
            "times": [0.5, 1.0],
            "n_samples": 40,
            "metrics": [{"kind": "mmd"}, {"kind": "energy"}],
            "floor_repeats": 2,
            "history_samples": 20,
            "snapshot_times": 3,
            "snapshot_size": 20,
        },
        "methods": {
            "am": {
                "settings": {
                    "potential": {"width": 8, "depth": 2},
                    "training": {
                        "iterations": 12,
                        "batch_size": 16,
                        "boundary_batch_size": 8,
                        "snapshots": 2,
                        "log_every": 4,
                    },
                }
            },
            "oracle": {},
        },
        "published": [
            {
                "method": "am",
                "metric": "mmd",
                "value": 1e-3,
                "expect": ["reproduced", "better", "worse"],  # twelve steps of training reach nothing
                "confidence": "restated",
                "source": "s",
                "claim": "c",
            }
        ],
    },
}


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What a mistake ended in: one line, and nothing else."""
        assert self.code == 1, self
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("am: ")
        assert lines[0] == self.err.rstrip("\n")
        return lines[0].removeprefix("am: ")


Run = Callable[..., Outcome]


def _run(capsys: Any, *arguments: object) -> Outcome:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["am", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    told = capsys.readouterr()
    return Outcome(code, told.out, told.err)


@pytest.fixture
def am(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run ``am`` with arguments, as its console script does, but in this process."""
    threads = torch.get_num_threads()
    yield lambda *arguments: _run(capsys, *arguments)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every step has been taken, by the command, for all runs and seeds of the project."""
    folder = tmp_path_factory.mktemp("chain")
    for name, content in PROJECT.items():
        write_yaml(content, folder / "config" / f"{name}.yaml")
    results = folder / "results" / "tiny"
    atom = results / "atom"
    about = ("--project", folder / "config", "--scale", "tiny", "--experiment", "atom")
    config, data = ("--config", atom / "config.yaml"), ("--data", atom / "data.h5ad")

    def am(*arguments: object) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["am", *map(str, arguments)])
            patch.chdir(folder)  # from which records name files
            patch.setattr("am.io.provenance._commit_here", lambda: Commit("c" * 40))
            with pytest.raises(SystemExit) as stop:
                cli.main()
            assert stop.value.code == 0, arguments

    am("resolve", *about, "--out", atom / "config.yaml")
    am("prepare", *config, "--out", atom / "data.h5ad")
    am("floor", *config, "--out", atom / "floor.csv")
    metrics = []
    for method in ("am", "oracle"):
        run = ("--run", atom / method / "config.yaml")
        am("resolve", *about, "--run", method, "--out", run[1])
        for seed in (0, 1):
            place = atom / method / f"seed{seed}"
            common = (*data, "--seed", seed)
            model: tuple[object, ...] = ()
            if method == "am":
                model = ("--model", place / "model.safetensors")
                am("train", *run, *common, "--accelerator", "cpu", "--out", model[1])
                snapshots = ("--snapshots", place / "snapshots.safetensors")
                am("history", *config, *run, *common, *snapshots, "--device", "cpu", "--out", place / "history.csv")
            am("sample", *run, *common, *model, "--device", "cpu", "--out", place / "samples.npz")
            samples = ("--samples", place / "samples.npz")
            am("evaluate", *config, *common, *samples, "--method", method, "--out", place / "metrics.csv")
            metrics.append(place / "metrics.csv")
    am("tabulate", *metrics, *about, "--floor", atom / "floor.csv", "--out", results / "tables" / "atom.csv")
    histories = [atom / "am" / f"seed{seed}" / "history.csv" for seed in (0, 1)]
    losses = [atom / "am" / f"seed{seed}" / "training.csv" for seed in (0, 1)]
    clouds = [atom / "data.h5ad", *(atom / method / "seed0" / "samples.npz" for method in ("am", "oracle"))]
    shown = {
        "iterations": [*histories, *metrics, atom / "floor.csv"],
        "times": [*metrics, atom / "floor.csv"],
        "losses": losses,
        "histograms": clouds,
    }
    for figure, inputs in shown.items():
        am("draw", figure, *inputs, *about, "--out", results / "figures" / f"{figure}.png")
    am("draw", "animation", *clouds, *about, "--out", results / "figures" / "animation.gif")
    verdict = ("--out", results / "verdict.html", "--kept", folder / "kept")
    am("verify", *about[:4], "--results", results, *verdict)
    return folder


@pytest.fixture(scope="session")
def stored() -> Callable[..., Path]:
    """Take the results of the tiny project in a folder into a store, as from a clean tree; gives the store."""

    def take(folder: Path, name: str = "results/expected") -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr("am.steps.keep.changes", list)
            keep(Project(Path("config"), {"scale": "tiny"}), Path("results/tiny"), Path(name))
        return folder / name

    return take


ON_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that CUDA can use")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=ON_A_GPU)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that there may be."""
    return str(request.param)
