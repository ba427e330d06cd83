"""What a training step of the published CIFAR-10 rows costs: seconds, memory and arithmetic of a few images.

python benchmarks/images.py [EXPERIMENT RUN IMAGES]: one step of a row of config/experiments (cifar10 am) at its full
network size, with so many images (8) instead of its batch, which a processor has neither the time nor the memory for.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from am.datasets.images import ImageDataset
from am.experiments import Project
from am.marginals.images import PATHS, ImageEnds
from am.methods.contract import TrainedMethod
from am.randomness import generator
from am.training.stream import Stream

ROOT = Path(__file__).parents[1]


class Arithmetic(TorchDispatchMode):
    """Counts the operations of products and convolutions, in derivatives of derivatives too."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=result)
        return result


def main() -> None:
    experiment, row, count = (*sys.argv[1:], *("cifar10", "am", "8")[len(sys.argv) - 1 :])
    images = int(count)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(describe())
    run = Project(ROOT / "config", {"experiments": [experiment], "scale": "paper"}).known[experiment].runs[row]
    method, dataset = run.build_method(), run.build_dataset()
    if not isinstance(method, TrainedMethod) or not isinstance(dataset, ImageDataset):
        raise SystemExit(f"{experiment}/{row} trains nothing on images")
    pixels = 2 * torch.rand(256, math.prod(dataset.image_shape), generator=generator("pixels")) - 1
    path = PATHS[dataset.settings.task](pixels, dataset.image_shape, dataset.levels, dequantise=True, flip=True)
    learned = ImageEnds(path) if method.learns_from == "snapshots" else path
    torch.manual_seed(0)
    network = method.build(learned, generator("build"))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def step(number: int) -> None:
        optimizer.zero_grad()
        method.loss(network, learned, Stream("benchmark", number, images, images))[0].backward()
        optimizer.step()

    begin = time.process_time()
    step(0)
    seconds = time.process_time() - begin
    with Arithmetic() as arithmetic:
        step(1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = sum(p.numel() for p in network.parameters()) / 1e6
    operations = arithmetic.operations / images / 1e9
    print(
        f"{experiment}/{row}: {size:.1f} M weights, {images} images inside: {seconds:.1f} s of one thread, "
        f"peak {memory:.1f} GiB, {operations:.0f} GFLOP an image"
    )


if __name__ == "__main__":
    main()
