"""CIFAR-10 on one GPU: Action Matching against flow matching, with the same network and equal seconds of training.

    benchmarks/gpu_cifar10.sh FOLDER SECONDS [OUT]

FOLDER holds data_batch_1.bin to data_batch_5.bin, or some of them, or cifar-10-python.tar.gz. Each method trains for
half of SECONDS. A few steps are timed first; the number of iterations follows from them. Settings are those of the
scale `gpu` (config/scales/gpu.yaml), and the steps are those of the workflow: prepare, train, sample, evaluate.

The same command continues what was interrupted. OUT (results/gpu_cifar10) gets a folder for each number of images and
of seconds: metrics.csv, summary.csv, record.json with the commit, and for each method weights, samples, a picture of
64 of them, losses and provenance. COMMIT in the environment is recorded too, for copies without their repository.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import describe
from PIL import Image
from torch import Tensor, nn

from am.config import ConfigError, digest, merge
from am.experiments import Project
from am.io.files import write_text
from am.io.provenance import collect, commit, file_sha256, peak_memory, read_provenance, versions, write_provenance
from am.io.raw import find_raw
from am.io.samples import read_samples, write_samples
from am.io.snapshots import DataError
from am.metrics.feature_distances import frechet_distance
from am.metrics.nearest import nearest
from am.metrics.viewer import Viewer
from am.randomness import generator
from am.runs import DataConfig, RunConfig, read_run, write_settings
from am.steps.evaluate import evaluate, floor
from am.steps.prepare import prepare
from am.steps.sample import Sampler, choose_device, flat
from am.steps.train import train
from am.training.checkpoint import read_tensors
from am.training.devices import device_name, precision

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("am", "icfm")
SEED = 0
TIMED, WARM = 40, 20
"""Steps that are timed, and how many of them come before the clock counts."""
MARGIN = 0.97
"""Share of the seconds that is planned for: checkpoints take the rest."""
TOGETHER = 500
"""Images that a network sees at once while sampling."""
CONFIG, DATA = Path("config.yaml"), Path("data.h5ad")


class InParts(nn.Module):
    """A network that sees so many points at a time, in the precision that it was trained in."""

    def __init__(self, network: Any, name: Any) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        return self._joined(self.network, time, x)

    def space(self, time: Tensor, x: Tensor) -> Tensor:
        return self._joined(self.network.space, time, x)

    def _joined(self, field: Callable[[Tensor, Tensor], Tensor], time: Tensor, x: Tensor) -> Tensor:
        with precision(self.name, x.device):
            return torch.cat([field(*part).to(x) for part in zip(time.split(TOGETHER), x.split(TOGETHER), strict=True)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the images")
    parser.add_argument("seconds", type=float, help="of training, of both methods together")
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "results/gpu_cifar10", help="folder to write into")
    parser.add_argument("--project", type=Path, default=ROOT / "config", help="folder of config.yaml and scales/")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.backends.cudnn.benchmark = True  # all batches have one shape
    os.environ["AM_DATA"] = str(options.folder.resolve())
    experiment = Project(options.project, {"experiments": ["cifar10"], "scale": "gpu"}).known["cifar10"]
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with chdir(out):  # away from data/raw, whose images would come first
        images = len(experiment.data.build_dataset().images("train"))
    folder = out / f"{images}_images_{options.seconds:g}_seconds"
    folder.mkdir(exist_ok=True)
    with chdir(folder):
        run_all(experiment.data, {name: experiment.runs[name] for name in METHODS}, images, options.seconds)


def run_all(data: DataConfig, runs: dict[str, RunConfig], images: int, seconds: float) -> None:
    begin = time.monotonic()
    print(f"{describe()}, {device_name(choose_device('auto'))}; {images} images, {seconds:g} s")
    n = min(data.evaluation.n_samples, images // 2)  # halves of the images are compared for the floor
    data = data.model_copy(update={"evaluation": data.evaluation.model_copy(update={"n_samples": n})})
    write_settings(data, CONFIG)
    prepare(CONFIG, DATA, [SEED])
    print(f"prepared after {time.monotonic() - begin:.0f} s", flush=True)
    rows = []
    for name, run in runs.items():
        Path(name).mkdir(exist_ok=True)
        course = run.sampling.model_copy(update={"n_samples": n})
        trained = train_for(run.model_copy(update={"sampling": course}), seconds / len(runs))
        print(f"{name} trained after {time.monotonic() - begin:.0f} s", flush=True)
        sampled = sample(name)
        print(f"{name} sampled in {sampled:.0f} s, after {time.monotonic() - begin:.0f} s", flush=True)
        evaluate(CONFIG, DATA, Path(name, "samples.npz"), Path(name, "metrics.csv"), name, SEED)
        rows.append({"method": name, "images": images, **trained, "sample_seconds": round(sampled, 1)})
    floor(CONFIG, Path("floor.csv"))
    print(f"evaluated after {time.monotonic() - begin:.0f} s", flush=True)
    metrics = all_metrics(data, list(runs), n)
    metrics.to_csv("metrics.csv", index=False)
    values = metrics.groupby(["method", "metric"], sort=False)["value"].mean().unstack("metric")
    summary = pd.DataFrame([*rows, {"method": "floor"}]).join(values, on="method")
    summary.to_csv("summary.csv", index=False)
    record = {
        "commit": commit(),
        "commit_given": os.environ.get("COMMIT"),
        "device": device_name(choose_device("auto")),
        "machine": describe(),
        "versions": {**versions(), "torch": torch.__version__},
        "images": images,
        "seconds": seconds,
        "n_samples": n,
        "sources": {path.name: file_sha256(path) for path in data.build_dataset().sources()},
        "files": {name: file_sha256(Path(name)) for name in ("metrics.csv", "summary.csv")},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_text(json.dumps(record, indent=2) + "\n", Path("record.json"))
    print(f"all of it: {time.monotonic() - begin:.0f} s; {Path.cwd()}, {n} samples\n")
    print(summary.T.to_string(header=False, float_format=lambda value: f"{value:.4g}", na_rep=""))
    ratio = values.loc["am", "efficientnet_frechet"] / values.loc["icfm", "efficientnet_frechet"]
    print(f"\nFrechet distance of am to that of icfm: {ratio:.3f} (goal: at most 1)", flush=True)


def train_for(run: RunConfig, seconds: float) -> dict[str, Any]:
    """Train as many steps as take so long, or go on with those planned before; returns what the summary tells."""
    own, weights = Path(run.run), Path(run.run, "model.safetensors")
    plan_file = own / "plan.json"
    asked = digest([run.training_digest, run.code_digest("train"), file_sha256(DATA), seconds])
    plan = json.loads(plan_file.read_text()) if plan_file.exists() else {}
    if plan.get("asked") != asked:
        step = step_seconds(run)
        plan = {"asked": asked, "step_ms": 1e3 * step, "iterations": max(1, int(MARGIN * seconds / step))}
        write_text(json.dumps(plan) + "\n", plan_file)
    planned = changed(run, iterations=plan["iterations"])
    write_settings(planned, own / "config.yaml")
    if not is_trained(planned):
        print(f"{run.run}: a step takes {plan['step_ms']:.1f} ms: {plan['iterations']} iterations", flush=True)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        train(own / "config.yaml", DATA, weights, SEED, checkpoint_seconds=60)
        used = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_memory()
        plan["memory_gib"] = used / 2**30
        write_text(json.dumps(plan) + "\n", plan_file)
    losses = pd.read_csv(own / "training.csv")["loss"]
    return {
        "parameters": sum(tensor.numel() for tensor in read_tensors(weights)[0].values()),
        "step_ms": plan["step_ms"],
        "iterations": plan["iterations"],
        "train_seconds": read_provenance(own / "training.json")["train_seconds"],
        "memory_gib": plan.get("memory_gib"),
        "loss": losses.tail(max(1, len(losses) // 10)).mean(),
    }


def step_seconds(run: RunConfig) -> float:
    """What a step takes, by the clock of training itself."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_settings(changed(run, iterations=TIMED, log_every=WARM, snapshots=0), folder / "config.yaml")
        train(folder / "config.yaml", DATA, folder / "model.safetensors", SEED, checkpoint_seconds=3600)
        clock = pd.read_csv(folder / "training.csv").set_index("step")["seconds"]
    return float(clock[TIMED] - clock[WARM]) / (TIMED - WARM)


def changed(run: RunConfig, **training: int) -> RunConfig:
    return run.model_copy(update={"settings": merge(run.settings, {"training": training})})


def is_trained(run: RunConfig) -> bool:
    """Whether weights of these settings, this code and this data are there."""
    file = Path(run.run, "training.json")
    if not file.exists():
        return False
    record = read_provenance(file)
    found = record["config_sha256"], record["code_digest"], *record["data"].values()
    return found == (run.training_digest, run.code_digest("train"), file_sha256(DATA))


def sample(name: str) -> float:
    """Samples, their picture and their provenance; returns the seconds that moving them took."""
    own, started = Path(name), datetime.now(UTC)
    run, weights, out = read_run(own / "config.yaml"), own / "model.safetensors", own / "samples.npz"
    sampler = Sampler(run, DATA, SEED, choose_device("auto"), str(own))
    sampler.load(read_tensors(weights)[0], str(weights))
    sampler.network = InParts(sampler.network, run.settings["training"]["precision"])
    begin = time.monotonic()
    prediction = sampler.predict(run.sampling.n_samples)
    seconds = time.monotonic() - begin
    samples = flat(prediction, run.sampling.moments)
    write_samples(samples, out)
    record = collect(
        code_digest=run.code_digest("sample"),
        config_sha256=run.sampling_digest,
        data=[DATA, weights],
        files=[out],
        device=device_name(sampler.device),
        seed=SEED,
        started=started,
        train_seconds=read_provenance(own / "training.json")["train_seconds"],
        sample_seconds=seconds,
        nfe=prediction.nfe,
        peak_memory_bytes=peak_memory(),
    )
    write_provenance(record, own / "provenance.json")
    shown = Viewer(run.build_dataset(), find_raw).eight_bit(torch.from_numpy(samples.x[:64])).numpy()
    side = int(len(shown) ** 0.5)
    grid = shown[: side**2].reshape(side, side, *shown.shape[1:]).transpose(0, 3, 1, 4, 2)
    Image.fromarray(np.ascontiguousarray(grid).reshape(side * grid.shape[1], side * grid.shape[3], -1)).save(
        own / "samples.png"
    )
    return seconds


def all_metrics(data: DataConfig, methods: list[str], n: int) -> pd.DataFrame:
    """What `am evaluate` and `am floor` measured, and distances to all images at hand."""
    dataset = data.build_dataset()
    viewer, device = Viewer(dataset, find_raw), choose_device("auto")
    images = torch.from_numpy(dataset.images("train"))
    seen = viewer.through_efficientnet(images)
    order = torch.randperm(len(images), generator=generator("halves"))
    held, rest = order[:n], order[n:]

    def rows(method: str, x: Tensor, features: Tensor, others: Tensor) -> Iterator[dict[str, Any]]:
        near = nearest(x.to(device), images[others].to(device)).median()
        found = {"efficientnet_frechet": frechet_distance(features, seen[others]), "nearest_image": float(near)}
        for metric, value in found.items():
            yield {
                "experiment": data.experiment,
                "method": method,
                "seed": SEED,
                "time": 1.0,
                "metric": metric,
                "value": value,
                "n_samples": n,
            }

    more = [*rows("floor", images[held], seen[held], rest)]
    for method in methods:
        x = torch.from_numpy(read_samples(Path(method, "samples.npz")).at(1.0)[0])
        more += rows(method, viewer.rounded(x).float(), viewer.through_efficientnet(x), torch.arange(len(images)))
    measured = [pd.read_csv(Path(name, "metrics.csv")) for name in methods]
    return pd.concat([*measured, pd.read_csv("floor.csv"), pd.DataFrame(more)], ignore_index=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(__doc__)
        raise SystemExit
    try:
        main()
    except (ConfigError, DataError) as error:
        raise SystemExit(f"gpu_cifar10: {error}") from None
