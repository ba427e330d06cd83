"""Optimal transport between Gaussians, as a programme that knows nothing of this project but its files.

    python affine_transport.py CONFIG DATA SEED OUT

Between the training cells of two successive times, with means m, n and covariances A, B, particles move along the lines

    x -> (1 - u) x + u (n + T (x - m)),  T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2   (Gelbrich 1990)
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


def power(matrix, exponent):
    """A power of a symmetric matrix, whose eigenvalues are kept above rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-12 * values.max()) ** exponent) @ vectors.T


def moved(particles, since, until):
    """Particles at time ``since``, at time ``until``."""
    while until - since > 1e-9:
        k = min(np.searchsorted(observed, since + 1e-9, side="right") - 1, len(observed) - 2)
        cells, later = (x[train & (time == t)] for t in observed[k : k + 2])
        root = power(np.cov(cells.T), 0.5)
        back = power(np.cov(cells.T), -0.5)
        matrix = back @ power(root @ np.cov(later.T) @ root, 0.5) @ back
        end = min(until, observed[k + 1])
        # Where particles stand between two times, the map from there on is what is left of the way.
        u, v = (np.interp(t, observed[k : k + 2], [0, 1]) for t in (since, end))
        identity = np.eye(x.shape[1])
        here, there = (identity + share * (matrix - identity) for share in (u, v))
        centre = [cells.mean(0) + share * (later.mean(0) - cells.mean(0)) for share in (u, v)]
        particles = centre[1] + (particles - centre[0]) @ np.linalg.solve(here, there)
        since = end
    return particles


samples, times = [], []
for t in evaluation["times"]:
    start = max(s for s in observed if s < t - 1e-9) if evaluation["start"] == "previous" else 0.0
    mine = (split == "test") & (of_seed == int(seed)) & np.isclose(time, start, rtol=0, atol=1e-9)
    samples.append(moved(x[mine][: evaluation["n_samples"]], start, t))
    times += [t] * len(samples[-1])
np.savez_compressed(out, x=np.concatenate(samples).astype(np.float32), time=np.array(times))
