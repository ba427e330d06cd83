"""What a step of action matching costs against steps of flow matching, by torchcfm alone and as methods here.

python benchmarks/flow_matching.py [threads]
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from machine import describe, median_ms
from torch import Tensor, nn
from torchcfm import ConditionalFlowMatcher, ExactOptimalTransportConditionalFlowMatcher

from am.marginals.snapshots import SnapshotPath
from am.methods.contract import TrainedMethod
from am.potentials.settings import VelocitySettings
from am.potentials.velocity import VelocityNetwork
from am.runs import build_method
from am.training.stream import Stream

BATCH, DIMENSION, CELLS, ROUNDS = 512, 5, 600, 3
METHODS = ("am", "eam", "icfm", "otcfm", "sbcfm", "sf2m")


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    torch.set_flush_denormal(True)
    print(describe())
    rng = torch.Generator().manual_seed(0)
    cells = [torch.randn(CELLS, DIMENSION, generator=rng) + 2 * k for k in range(5)]
    path = SnapshotPath(cells, torch.linspace(0, 1, 5).tolist())
    for width, depth in ((64, 3), (256, 4)):
        size = {"width": width, "depth": depth}
        steps = {
            "torchcfm, I-CFM": _torchcfm(ConditionalFlowMatcher(0.1), cells, size),
            "torchcfm, OT-CFM": _torchcfm(ExactOptimalTransportConditionalFlowMatcher(0.1), cells, size),
            **{name: _method(name, path, size) for name in METHODS},
            f"am, {BATCH // 4} points at each end": _method("am", path, size, BATCH // 4),
            "am, conditional": _method("am", path, size, estimator="conditional"),
            "eam, conditional": _method("eam", path, size, estimator="conditional"),
        }
        # In turns, so that a machine that slows down slows all of them.
        rounds = [{name: median_ms(step) for name, step in steps.items()} for _ in range(ROUNDS)]
        ms = {name: statistics.median(times[name] for times in rounds) for name in steps}
        print(f"MLP {width} x {depth}, {BATCH} points in {DIMENSION} dimensions (and at each end, for am)")
        for name, time in ms.items():
            ratios = (f"{time / ms[other]:.2f} x {other}" for other in list(steps)[:2])
            print(f"  {name}: {time:.2f} ms, {', '.join(ratios)}")


def _torchcfm(matcher: Any, cells: list[Tensor], size: dict[str, int]) -> Callable[[], None]:
    """A step as the library's examples take it, between two snapshots."""
    network = VelocityNetwork(DIMENSION, VelocitySettings(**size))

    def loss() -> Tensor:
        start, end = (x[torch.randint(len(x), (BATCH,))] for x in cells[:2])
        time, x, target = matcher.sample_location_and_conditional_flow(start, end)
        return (network(time, x) - target).square().mean()

    return _step(network, loss)


def _method(
    name: str, path: SnapshotPath, size: dict[str, int], boundary: int = BATCH, **settings: str
) -> Callable[[], None]:
    """A step of a method, over all intervals."""
    network_key = "potential" if name in ("am", "eam") else "network"
    method = build_method(name, {network_key: size, **settings}, "benchmark")
    assert isinstance(method, TrainedMethod)
    network = method.build(path, torch.Generator().manual_seed(0))
    steps = iter(range(10**9))
    return _step(network, lambda: method.loss(network, path, Stream("benchmark", next(steps), BATCH, boundary))[0])


def _step(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
