"""Train a method on a data set with a seed: ``model.safetensors`` and what belongs to it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import torch

from am.config import digest
from am.io.files import atomic, remove_folder
from am.io.provenance import collect, file_sha256, peak_memory, write_provenance
from am.io.snapshots import read_snapshots
from am.randomness import derive_seed, generator
from am.runs import build_trained_method, read_run
from am.training.checkpoint import write_tensors
from am.training.devices import device_name, launch, together


def train(
    config: Path,
    data: Path,
    out: Path,
    seed: int,
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    tensorboard: bool = False,
    checkpoint_seconds: float = 30.0,
) -> None:
    """Train, or continue what a killed job left beside ``out``.

    Beside ``out`` appear ``snapshots.safetensors`` (averaged weights along the way), ``training.csv`` and
    ``training.json`` (provenance). The resumable state lies in ``state/<digest of settings, code and data>/``,
    so that training never goes on from what others have led to; it is removed once all is written.
    """
    started = datetime.now(UTC)
    run = read_run(config)
    method = build_trained_method(run, str(config))
    key, folder, code = run.key(seed), out.parent, run.code_digest("train")
    fabric = launch(accelerator, devices, nodes)
    with together(fabric):
        read_snapshots(data)  # refuses bad data before hours are spent
        marginals = run.learned_path(run.build_dataset(str(config)), data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(key, "weights"))
            network = method.build(marginals, generator(key, "build"))
        depends = digest([run.training_digest, code, file_sha256(data)])
        trained = method.train(
            network,
            marginals,
            key=key,
            state=folder / "state" / depends[:16],
            digest=depends,
            fabric=fabric,
            checkpoint_seconds=checkpoint_seconds,
            tensorboard=folder / "tensorboard" if tensorboard else None,
        )
        if not fabric.is_global_zero:
            return
        about = {"run": key, "method": run.method, "training_digest": run.training_digest}
        snapshots = {f"{step}/{name}": t for step, tensors in trained.snapshots.items() for name, t in tensors.items()}
        kept = folder / "snapshots.safetensors"
        write_tensors(kept, snapshots, about)
        losses = folder / "training.csv"
        with atomic(losses) as temporary:
            shutil.copyfile(trained.log, temporary)
        write_tensors(out, trained.weights, about)
        record = collect(
            code_digest=code,
            config_sha256=run.training_digest,
            data=[data],
            files=[out, kept, losses],
            device=device_name(fabric.device),
            seed=seed,
            started=started,
            train_seconds=trained.seconds,
            peak_memory_bytes=peak_memory(),
        )
        write_provenance(record, folder / "training.json")
        remove_folder(folder / "state")
