"""How far training cells, test cells and predictions spread along the components after the fifth.

python benchmarks/spread.py [EXPERIMENT SCALE SEED]

Mean standard deviation of components 6 and up at each time that is asked for, of what the workflow has left in
`results/<scale>/<experiment>/`. No distance between samples tells apart by itself what is too wide or drawn together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from am.io.samples import read_samples
from am.io.snapshots import read_snapshots

ROOT = Path(__file__).parents[1]
FIRST = 5


def main() -> None:
    experiment, scale, seed = (*sys.argv[1:], *("embryoid_mini_50", "laptop", "0")[len(sys.argv) - 1 :])
    out = ROOT / "results" / scale / experiment
    samples = {file.parents[1].name: read_samples(file) for file in sorted(out.glob(f"*/seed{seed}/samples.npz"))}
    if not samples:
        print(f"{out} holds no samples of seed {seed}; run the workflow for {experiment} first")
        return
    times = sorted({float(time) for found in samples.values() for time in found.time})
    train, test = read_snapshots(out / "data.h5ad"), read_snapshots(out / f"seed{seed}" / "data.h5ad")

    def tell(name: str, points: list[NDArray[np.float32]]) -> None:
        print(f"{name}: " + ", ".join(f"{x[:, FIRST:].std(0).mean():.2f}" for x in points))

    tell("training cells", [train.x[(train.split == "train") & np.isclose(train.time, time)] for time in times])
    tell("test cells", [test.test(int(seed), time) for time in times])
    for run, found in samples.items():
        tell(run, [found.at(time)[0] for time in times])


if __name__ == "__main__":
    main()
