"""A method of files: python NAME.py CONFIG DATA SEED OUT.

It reads config.yaml and data.h5ad and writes samples.npz. Any language can do so; docs/adding-a-benchmark.md says how.
"""

import sys

import h5py
import numpy as np
import yaml

config, data, seed, out = sys.argv[1:]
with open(config, encoding="utf-8") as file:
    evaluation = yaml.safe_load(file)["evaluation"]
with h5py.File(data) as file:
    x = file["X"][:].astype(float)
    time, of_seed = file["obs/time"][:], file["obs/seed"][:]
    split = file["obs/split/categories"].asstr()[:][file["obs/split/codes"][:]]

train = split == "train"
observed = np.unique(time[train])


def moved(particles, since, until):
    """Particles at time ``since``, at time ``until``: learn from ``x[train]`` at the times ``time[train]``."""
    return particles


samples, times = [], []
for t in evaluation["times"]:
    start = max(s for s in observed if s < t - 1e-9) if evaluation["start"] == "previous" else 0.0
    mine = (split == "test") & (of_seed == int(seed)) & np.isclose(time, start, rtol=0, atol=1e-9)
    samples.append(moved(x[mine][: evaluation["n_samples"]], start, t))
    times += [t] * len(samples[-1])
np.savez_compressed(out, x=np.concatenate(samples).astype(np.float32), time=np.array(times))
