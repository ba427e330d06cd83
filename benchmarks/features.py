"""What size EfficientNet-Lite0 should be shown patches of 32 x 32 pixels at: what it tells apart, and how fast.

python benchmarks/features.py: 100 patches of photographs that judge against 100 others of them. The noise is the
standard deviation of the kernel distance over 20 random splits.
"""

from __future__ import annotations

import time

import torch
from machine import describe
from torch import Tensor
from torch.nn.functional import interpolate

from am.io.raw import find_raw
from am.metrics.feature_distances import kernel_distance
from am.metrics.features import EfficientNet
from am.metrics.viewer import Viewer
from am.randomness import generator
from am.runs import build_dataset

N = 100


def main() -> None:
    torch.set_num_threads(1)
    print(describe())
    dataset, network = build_dataset({"name": "natural_patches"}, "benchmark"), EfficientNet()
    viewer = Viewer(dataset, find_raw)
    x = torch.from_numpy(dataset.test_points(1.0, 4 * N, 0, "benchmark"))
    small = interpolate(x[:N].view(-1, 3, 32, 32), scale_factor=0.5, mode="area")
    learned = torch.from_numpy(dataset.images("train"))
    others = {
        "blurred": interpolate(small, scale_factor=2.0, mode="bilinear").flatten(1),
        "noisy": x[:N] + 0.1 * torch.randn(N, 3072, generator=generator("noise")),
        "other photographs": learned[:: len(learned) // N][:N],
    }
    for side in (32, 64, 96):

        def features(images: Tensor, side: int = side) -> Tensor:
            seen = viewer.eight_bit(images)
            return network(interpolate(seen, size=(side, side), mode="bilinear") if side != seen.shape[-1] else seen)

        features(x[:1])
        clock = time.perf_counter()
        own = features(x)
        pace = 4 * N / (time.perf_counter() - clock)
        rng = generator("splits")
        splits = [torch.randperm(4 * N, generator=rng) for _ in range(20)]
        same = torch.tensor([kernel_distance(own[s[:N]], own[s[N : 2 * N]]) for s in splits])
        told = {
            name: kernel_distance(features(other), own[2 * N : 3 * N]) / float(same.std())
            for name, other in others.items()
        }
        said = ", ".join(f"{name} {value:.1f}" for name, value in told.items())
        print(f"{side} pixels: {pace:.0f} images a second; in units of noise: {said}")


if __name__ == "__main__":
    main()
