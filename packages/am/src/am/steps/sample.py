"""Push particles with a trained method, or a control: ``samples.npz``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from am.config import ConfigError
from am.dynamics.likelihood import log_likelihood
from am.dynamics.settings import OdeSettings
from am.io.provenance import collect, peak_memory, read_provenance, write_provenance
from am.io.samples import Samples, write_samples
from am.io.snapshots import read_snapshots
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import Method, Prediction, TrainedMethod, TruthMethod
from am.randomness import generator
from am.runs import RunConfig, read_run
from am.training.arithmetic import arithmetic
from am.training.checkpoint import CheckpointError, load_weights, read_tensors


def sample(config: Path, data: Path, out: Path, seed: int, model: Path | None = None, device: str = "auto") -> None:
    """Predict ``n_samples`` particles at every time asked for, from the test points at t = 0 or the time before.

    ``provenance.json`` appears beside ``out``.
    """
    started = datetime.now(UTC)
    run = read_run(config)
    sampler = Sampler(run, data, seed, choose_device(device), str(config))
    if isinstance(sampler.method, TrainedMethod) == (model is None):
        raise ConfigError(f"{config}: the method '{run.method}' {'needs' if model is None else 'takes no'} --model")
    if model is not None:
        sampler.load(read_tensors(model)[0], str(model))
    training = read_provenance(model.with_name("training.json")) if model is not None else None
    clock = time.monotonic()
    prediction = sampler.predict(run.sampling.n_samples)
    seconds = time.monotonic() - clock
    others = sampler.others(prediction, run.sampling.n_samples, run.sampling.draws - 1)
    velocity, growth = sampler.fields(run.sampling.n_samples)
    redrawn = [flat(other, run.sampling.moments) for other in others]
    weights = [other.log_weight for other in redrawn if other.log_weight is not None]
    samples = replace(
        flat(prediction, run.sampling.moments),
        velocity=velocity,
        growth=growth,
        log_density=sampler.log_density(),
        redrawn=np.stack([other.x for other in redrawn]) if redrawn else None,
        redrawn_log_weight=np.stack(weights) if weights else None,
    )
    write_samples(samples, out)
    record = collect(
        code_digest=run.code_digest("sample"),
        config_sha256=run.sampling_digest,
        data=[data, model] if model else [data],
        files=[out],
        device=sampler.device.type,
        seed=seed,
        started=started,
        train_seconds=training["train_seconds"] if training else None,
        sample_seconds=seconds,
        nfe=prediction.nfe,
        peak_memory_bytes=max(peak_memory(), (training["peak_memory_bytes"] or 0) if training else 0),
    )
    write_provenance(record, out.with_name("provenance.json"))


class Sampler:
    """A method with its start and its network, ready to predict with one set of weights after another."""

    def __init__(self, run: RunConfig, data: Path, seed: int, device: torch.device, where: str) -> None:
        self.run, self.seed, self.device = run, seed, device
        self.method: Method[Any] = run.build_method(where)
        dataset = run.build_dataset(where)
        points = read_snapshots(data)
        self._legs = [
            (start, times, torch.from_numpy(points.test(seed, start)).to(device))
            for start, times in run.sampling.legs(dataset.observed)
        ]
        self._points, self._fields_known = points, dataset.fields_known
        self._dataset = dataset
        self._wrapped = dataset.wrapped
        self.network: Any = None
        if isinstance(self.method, TrainedMethod):
            path = run.learned_path(dataset, data)
            if isinstance(path, SnapshotPath):  # plans take long, and all that is fitted to a path comes with weights
                path = copy(path)
                path.coupling = "independent"
            self.network = self.method.build(path, generator(run.key(seed), "build")).to(device).eval()
        elif self.method.learns_from == "snapshots":
            self.network = dataset.snapshots(data)
        elif isinstance(self.method, TruthMethod):
            self.network = dataset.truth(data)

    def load(self, weights: dict[str, torch.Tensor], where: str) -> None:
        """Put weights into the network.

        Raises
        ------
        ConfigError
            The method has none.
        CheckpointError
            They are of another network.
        """
        if not isinstance(self.method, TrainedMethod):
            raise ConfigError(f"{self.run.run}: the method '{self.run.method}' has no network for {where}")
        load_weights(self.network, weights, where)

    def others(self, first: Prediction, n: int, draws: int) -> list[Prediction]:
        """What :meth:`predict` gives with other noise, so many times; nothing of a method without noise."""
        found: list[Prediction] = []
        for draw in range(1, draws + 1):
            found.append(self.predict(n, draw))
            if torch.equal(found[0].x, first.x):
                return []
        return found

    def predict(self, n: int, draw: int = 0) -> Prediction:
        """Move the first ``n`` test points of each start; row after row the times that are asked for.

        All noise is that of ``draw``.
        """
        noise = ("sample", draw) if draw else ("sample",)
        rng = generator(self.run.key(self.seed), *noise, device=self.device)
        parts = []
        for start, later, x in self._legs:
            if n > len(x):
                raise ConfigError(f"{self.run.key(self.seed)}: {n} particles asked for, the data start {len(x)}")
            times = torch.tensor([start, *later], device=self.device)
            with arithmetic():
                parts.append(self.method.sample(self.network, x[:n], times, rng))
        weights = [part.log_weight[1:] for part in parts if part.log_weight is not None]
        return Prediction(
            self._wrapped(torch.cat([part.x[1:] for part in parts])),
            torch.cat(weights) if weights else None,
            sum(part.nfe for part in parts),
        )

    def fields(self, n: int) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Velocity and growth rate of the first ``n`` test points of all times: (T n, d), (T n,).

        None where the method does not tell them; no velocity where the data set has none to compare it with.
        """
        told: list[tuple[torch.Tensor | None, torch.Tensor | None]] = []
        for time_ in self.run.sampling.moments:
            x = torch.from_numpy(self._points.test(self.seed, time_)[:n]).to(self.device)
            at = x.new_full((len(x),), time_)
            with arithmetic():
                velocity = self.method.velocity(self.network, at, x) if self._fields_known else None
                told.append((velocity, self.method.growth_rate(self.network, at, x)))
        fields = (
            None if (parts := [part for part in field if part is not None]) == [] else torch.cat(parts).cpu().numpy()
            for field in zip(*told, strict=True)
        )
        return next(fields), next(fields)

    def log_density(self) -> NDArray[np.float32] | None:
        """Log-density of the flow at the first test images: (probes, images); None where nobody asks, or nothing flows.

        Images and the noise between their levels are the same for all methods.
        """
        asked, velocity = self.run.sampling.likelihood, self.method.flow(self.network)
        if asked is None or velocity is None:
            return None
        rng = generator(self.run.key(self.seed), "likelihood", device=self.device)
        solver = OdeSettings(rtol=asked.tolerance, atol=asked.tolerance)
        images = self._dataset.dequantised(asked.images, generator(self.run.experiment, self.seed, "levels"))
        with arithmetic():
            parts = [
                log_likelihood(velocity, part, standard_normal, solver, generator=rng)[0]
                for part in images.to(self.device).repeat(asked.probes, 1).split(asked.batch)
            ]
        return torch.cat(parts).view(asked.probes, -1).cpu().numpy().astype(np.float32)


def standard_normal(x: torch.Tensor) -> torch.Tensor:
    """Its log-density at (n, d) points, (n,): of the noise that images are made from."""
    return -(x.square() / 2 + math.log(2 * math.pi) / 2).sum(-1)


def flat(prediction: Prediction, times: tuple[float, ...]) -> Samples:
    """Particles time after time."""
    n = prediction.x.shape[1]
    weight = prediction.log_weight
    return Samples(
        prediction.x.flatten(0, 1).cpu().numpy().astype(np.float32),
        np.repeat(np.array(times), n),
        None if weight is None else weight.flatten().cpu().numpy().astype(np.float32),
    )


def snapshots(path: Path) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """Step and weights of each snapshot in ``snapshots.safetensors``, in order.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds no snapshots.
    """
    by_step: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in read_tensors(path)[0].items():
        step, _, rest = name.partition("/")
        if not step.isdecimal():
            raise CheckpointError(f"{path}: '{name}' is no tensor of a snapshot; is this snapshots.safetensors?")
        by_step.setdefault(int(step), {})[rest] = tensor
    yield from sorted(by_step.items())


def choose_device(name: str) -> torch.device:
    """The device ``name``: auto (a GPU where there is one), cpu, cuda or cuda:<number>.

    Raises
    ------
    ConfigError
        There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (":" in name and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f"there is no device '{name}'; choose from: auto, cpu, cuda, cuda:<number>")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device '{name}': there is no such GPU here; try --device cpu")
    return torch.device(name)
