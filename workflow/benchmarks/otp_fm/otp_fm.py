"""OTP-FM by the package of its authors, as a programme that knows nothing of this project but its files.

    python otp_fm.py CONFIG DATA SEED OUT

provenance.json beside OUT tells what it cost, how many steps were taken and how many cells were seen.
"""

import hashlib
import importlib.metadata
import json
import pathlib
import resource
import sys
import time
from collections import OrderedDict
from datetime import UTC, datetime
from itertools import pairwise

import h5py
import numpy as np
import ot
import torch
import yaml
from otpfm import OTPFM, Curriculum
from otpfm.potentials import W2InfPotential

# As its authors train it on embryoid bodies in 5 dimensions, but for the steps: they take some 2,400, in 300 epochs.
ITERATIONS, BATCH, LEARNING_RATE, STRENGTH = 1000, 256, 5e-4, 500.0
NETWORK = {"hidden_dim": 256, "num_hidden_layers": 4, "dropout": 0.1, "layernorm": True, "residual_every": 2}
STEPS = 50  # from one observed time to the next, in sampling

config, data, seed, out = sys.argv[1:]
began = datetime.now(UTC)
with open(config, encoding="utf-8") as file:
    evaluation = yaml.safe_load(file)["evaluation"]
with h5py.File(data) as file:
    x = file["X"][:].astype(np.float32)
    time_of, seed_of = file["obs/time"][:], file["obs/seed"][:]
    split = file["obs/split/categories"].asstr()[:][file["obs/split/codes"][:]]

train = split == "train"
observed = np.unique(time_of[train])
centre, scale = x[train].mean(0), x[train].std(0)
snapshots = [(x[train & (time_of == t)] - centre) / scale for t in observed]

torch.set_num_threads(1)
torch.manual_seed(int(seed))
rng = np.random.default_rng(int(seed))

# Exact optimal transport between successive snapshots; a chain goes on by a row of each plan, so all cells are met.
plans = [ot.emd([], [], ot.dist(a, b).astype(float)) for a, b in pairwise(snapshots)]
onward = [np.cumsum(plan / plan.sum(1, keepdims=True), axis=1) for plan in plans]
seen = [np.zeros(len(cells), dtype=bool) for cells in snapshots]


def chains(n):
    """Coupled cells of all snapshots: (n, K, d)."""
    index = rng.integers(len(snapshots[0]), size=n)
    links = [index]
    for rows in onward:
        index = (rows[index] < rng.random((n, 1))).sum(1).clip(max=rows.shape[1] - 1)
        links.append(index)
    for met, link in zip(seen, links, strict=True):
        met[link] = True
    return torch.from_numpy(np.stack([cells[link] for cells, link in zip(snapshots, links, strict=True)], 1))


# The package's own "auto" width fails in version 1.0: this is what it means, half of the mean interval beside a time.
middle = [float(t) for t in observed[1:-1]]
widths = [float(width) for width in (observed[2:] - observed[:-2]) / 4]
potentials = OrderedDict(
    (t, W2InfPotential(tk=t, strength=STRENGTH, width=width)) for t, width in zip(middle, widths, strict=True)
)
model = OTPFM(d=x.shape[1], tks=middle, potentials=potentials, flownet_args=NETWORK, solver_type="direct")
optimizer = torch.optim.Adam(model.flownet.parameters(), lr=LEARNING_RATE)
curriculum = Curriculum(total_iterations=ITERATIONS)

model.train()
clock, taken = time.perf_counter(), 0
while taken < ITERATIONS:
    loss = model.forward_with_loss(chains(BATCH), otp_alpha=curriculum(taken), do_otp=bool(middle))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.update_ema()
    taken += 1
train_seconds = time.perf_counter() - clock

model.eval()
clock, nfe = time.perf_counter(), 0


@torch.no_grad()
def moved(particles, since, until):
    """Particles at time ``since``, at time ``until``, by the average velocity of each step; and the number of steps."""
    z = torch.from_numpy((particles - centre) / scale)
    knots = [since, *(t for t in observed if since + 1e-9 < t < until - 1e-9), until]
    for begin, end in pairwise(knots):
        edges = np.linspace(begin, end, STEPS + 1)
        for a, b in pairwise(edges):
            t, then = (torch.full((len(z), 1), float(edge)) for edge in (a, b))
            z = z + (then - t) * model.v_func_ema(z, t, then)
    return z.numpy() * scale + centre, STEPS * (len(knots) - 1)


samples, times = [], []
for t in evaluation["times"]:
    start = max(s for s in observed if s < t - 1e-9) if evaluation["start"] == "previous" else 0.0
    mine = (split == "test") & (seed_of == int(seed)) & np.isclose(time_of, start, rtol=0, atol=1e-9)
    particles, evaluations = moved(x[mine][: evaluation["n_samples"]], start, t)
    samples.append(particles)
    nfe += evaluations
    times += [t] * len(samples[-1])
np.savez_compressed(out, x=np.concatenate(samples).astype(np.float32), time=np.array(times))
sample_seconds = time.perf_counter() - clock


def sha256(path):
    """Of the content of a file."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


record = {
    "files": {pathlib.Path(out).name: sha256(out)},
    "commit": "unknown",
    "code_digest": sha256(__file__),
    "config_sha256": sha256(config),
    "data": {data: sha256(data)},
    "versions": {name: importlib.metadata.version(name) for name in ("otpfm", "torch", "numpy", "pot", "h5py")},
    "device": "cpu",
    "seed": int(seed),
    "train_seconds": train_seconds,
    "sample_seconds": sample_seconds,
    "nfe": nfe,
    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "started": began.isoformat(timespec="seconds"),
    "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    "steps": taken,
    "cells": {f"{t:g}": [int(met.sum()), len(met)] for t, met in zip(observed, seen, strict=True)},
}
pathlib.Path(out).with_name("provenance.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
