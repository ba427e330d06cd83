"""Where digits go that take most bits under a flow, and whether its solver or its divergence is to blame.

python benchmarks/lost_images.py [SCALE SEED]

Of those runs of the experiment digits whose weights of this seed the workflow has left in `results/<scale>/`: the four
test digits that take most bits, followed back to the noise with tighter tolerances, and with the exact divergence in
the place of Hutchinson's estimate.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from machine import describe
from torch import Tensor

from am.dynamics.likelihood import log_likelihood
from am.dynamics.settings import OdeSettings
from am.experiments import Project
from am.metrics.bits import in_bits
from am.randomness import generator
from am.steps.sample import Sampler, standard_normal
from am.training.checkpoint import read_tensors

ROOT = Path(__file__).parents[1]
IMAGES, LOST = 100, 4


def main() -> None:
    scale, seed = (*sys.argv[1:], *("laptop", "0")[len(sys.argv) - 1 :])
    torch.set_num_threads(1)
    print(describe())
    experiment = Project(ROOT / "config", {"experiments": ["digits"], "scale": scale}).known["digits"]
    out = ROOT / "results" / scale / "digits"
    dataset = experiment.data.build_dataset()
    images = dataset.dequantised(IMAGES, generator("digits", int(seed), "levels"))  # type: ignore[attr-defined]
    print(f"norms at t = 0: the noise has {math.sqrt(images.shape[1]):.0f}")

    def shown(values: Tensor) -> str:
        return ", ".join(f"{value:.4g}" for value in values)

    for run in experiment.pictured:
        model = out / run / f"seed{seed}" / "model.safetensors"
        if not model.exists():
            print(f"{model} is not there; run the workflow for digits first")
            continue
        sampler = Sampler(experiment.runs[run], out / f"seed{seed}" / "data.h5ad", int(seed), torch.device("cpu"), run)
        sampler.load(read_tensors(model)[0], str(model))
        flow = sampler.method.flow(sampler.network)
        worst: Tensor | None = None
        for tolerance, exact in ((1e-3, False), (1e-5, False), (1e-7, False), (1e-5, True)):
            x = images if worst is None else images[worst]
            probes = None if exact else torch.Generator().manual_seed(1)
            solver = OdeSettings(rtol=tolerance, atol=tolerance)
            found, noise, nfe = log_likelihood(flow, x, standard_normal, solver, generator=probes)
            found, norms = in_bits(found, images.shape[1], dataset.levels), noise.norm(dim=1)
            if worst is None:
                worst = found.argsort(descending=True)[:LOST]
                found, norms = found[worst], norms[worst]
            how = "exact divergence" if exact else "one probe"
            print(
                f"{run}, {tolerance:g}, {how}: {shown(found)} bits, norms {shown(norms)}, {nfe} evaluations", flush=True
            )


if __name__ == "__main__":
    main()
