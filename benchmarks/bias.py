"""What a trained `am` leaves beside the noise of samples: the published metric between many points and the truth.

python benchmarks/bias.py [seed] [settings of `am` as JSON, over those of the laptop scale] [points]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import describe

from am.config import merge
from am.experiments import Project
from am.metrics.mmd import mmd_squared
from am.randomness import generator
from am.runs import build_trained_method
from am.training.arithmetic import arithmetic
from am.training.devices import launch
from am.training.loop import train

TIMES = (0.2, 0.4, 0.6, 0.8, 1.0)


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    change = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    points = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
    torch.set_num_threads(1)
    print(describe())
    project = Project(Path(__file__).parents[1] / "config", {"scale": "laptop", "experiments": ["hydrogen"]})
    run = project.experiments["hydrogen"].runs["am"]
    run = run.model_copy(update={"settings": merge(run.settings, change)})
    method, truth = build_trained_method(run, "the settings"), run.build_dataset().truth()
    key = f"bias/{seed}"
    with tempfile.TemporaryDirectory() as state, torch.random.fork_rng():
        torch.manual_seed(seed)
        network = method.build(truth, generator(key, "build"))
        start = time.process_time()
        settings = method.settings.training
        trained = train(network, method.loss, truth, settings, key=key, state=Path(state), fabric=launch("cpu"))
        seconds = time.process_time() - start
    network.load_state_dict(trained.weights)
    rng = generator("bias", "truth")
    first = truth.sample(torch.zeros(points), rng)
    with arithmetic():
        moved = method.sample(network, first, torch.tensor([0.0, *TIMES]), rng).x[1:]
    bias = [mmd_squared(x, truth.sample(torch.full((points,), t), rng)) for t, x in zip(TIMES, moved, strict=True)]
    print(f"seed {seed}: {sum(bias) / len(bias):.1e} after {seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()
