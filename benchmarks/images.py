"""What a training step of the published CIFAR-10 rows costs: seconds, memory and arithmetic of a few images.

python benchmarks/images.py [EXPERIMENT RUN IMAGES [KEY=VALUE ...] [WORD ...]]

Steps of a row of config/experiments (cifar10 am) at its full network size, with so many images (8) in place
of a batch that a processor has neither the time nor the memory for. Keys are settings, such as estimator=conditional or
training.precision=bf16-mixed. Words are what was tried on the network and is no setting: channels_last, checkpoint (of
residual and attention blocks), sdpa (attention by torch). The gradient of a step is held against that without words
and settings of training.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from machine import describe
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import flop_registry

from am.config import merge
from am.datasets.images import ImageDataset
from am.experiments import Project
from am.io.provenance import peak_memory
from am.marginals.images import PATHS, ImageEnds
from am.methods.contract import TrainedMethod
from am.randomness import generator
from am.runs import build_method
from am.training.devices import precision
from am.training.stream import Stream

REPEATS = 3
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
    experiment, row, count = (*sys.argv[1:4], *("cifar10", "am", "8")[len(sys.argv[1:4]) :])
    images = int(count)
    changes = dict(word.split("=", 1) for word in sys.argv[4:] if "=" in word)
    words = {word for word in sys.argv[4:] if "=" not in word}
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(describe())
    run = Project(ROOT / "config", {"experiments": [experiment], "scale": "paper"}).known[experiment].runs[row]
    method, dataset = build_method(run.method, _changed(run.settings, changes), "the command line"), run.build_dataset()
    if not isinstance(method, TrainedMethod) or not isinstance(dataset, ImageDataset):
        raise SystemExit(f"{experiment}/{row} trains nothing on images")
    pixels = 2 * torch.rand(256, math.prod(dataset.image_shape), generator=generator("pixels")) - 1
    path = PATHS[dataset.settings.task](pixels, dataset.image_shape, dataset.levels, dequantise=True, flip=True)
    learned = ImageEnds(path) if method.learns_from == "snapshots" else path
    torch.manual_seed(0)
    network = method.build(learned, generator("build"))
    with torch.no_grad():
        for parameter in network.parameters():  # a network whose output is zero has hardly a gradient to compare
            parameter.add_(0.02 * torch.randn(parameter.shape))
    plain = _changed(run.settings, {k: v for k, v in changes.items() if not k.startswith("training.")})
    reference = _gradient(build_method(run.method, plain, "the command line"), network, learned, images)
    _apply(words, network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def step(number: int) -> float:
        begin = time.process_time()
        optimizer.zero_grad()
        with precision(method.settings.training.precision, torch.device("cpu")):
            loss = method.loss(network, learned, Stream("benchmark", number, images, images))[0]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return time.process_time() - begin

    gradient = _gradient(method, network, learned, images)
    seconds = statistics.median(step(number) for number in range(REPEATS))
    with Arithmetic() as arithmetic:
        step(REPEATS)
    memory = peak_memory() / 2**30
    size = sum(p.numel() for p in network.parameters()) / 1e6
    operations = arithmetic.operations / images / 1e9
    error = float((gradient - reference).norm() / reference.norm())
    print(
        f"{' '.join(sys.argv[1:])}: {size:.1f} M weights, {images} images inside: {seconds:.2f} s of one thread, peak "
        f"{memory:.2f} GiB, {operations:.0f} GFLOP an image, gradient off by {error:.1e}"
    )


def _changed(settings: dict[str, Any], changes: dict[str, str]) -> dict[str, Any]:
    for key, text in changes.items():
        value: Any = yaml.safe_load(text)
        for part in reversed(key.split(".")):
            value = {part: value}
        settings = merge(settings, value)
    return settings


def _gradient(method: Any, network: nn.Module, learned: Any, images: int) -> torch.Tensor:
    network.zero_grad()
    with precision(method.settings.training.precision, torch.device("cpu")), torch.random.fork_rng():
        torch.manual_seed(1)  # for what the network drops
        method.loss(network, learned, Stream("gradient", 0, images, images))[0].backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).double()


def _apply(words: set[str], network: nn.Module) -> None:
    from torchcfm.models.unet import unet

    for word in words:
        match word:
            case "channels_last":
                network.to(memory_format=torch.channels_last)
            case "checkpoint":
                for block in network.modules():
                    if isinstance(block, unet.ResBlock | unet.AttentionBlock):
                        block.forward = partial(checkpoint, block._forward, use_reentrant=False)
            case "sdpa":
                unet.QKVAttentionLegacy.forward = _attention
            case _:
                raise SystemExit(f"there is no '{word}'; choose from: channels_last, checkpoint, sdpa")


def _attention(self: Any, qkv: torch.Tensor) -> torch.Tensor:
    n, channels, length = qkv.shape
    parts = qkv.view(n * self.n_heads, 3, channels // (3 * self.n_heads), length).transpose(2, 3)
    return scaled_dot_product_attention(*parts.unsqueeze(2).unbind(1)).squeeze(1).transpose(1, 2).reshape(n, -1, length)


if __name__ == "__main__":
    main()
