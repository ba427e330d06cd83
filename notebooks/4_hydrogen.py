# %% [markdown]
# # A hydrogen atom
#
# The electron of a hydrogen atom in a superposition of the states (3, 2, -1) and (2, 1, 0): q_t = |psi_t|^2 turns about
# its axis once in about one period. The paper's first experiment; here its exact samples, and what methods reached.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from am.marginals.hydrogen import BOHR_RADIUS, Eigenstate, Hydrogen
from am.randomness import generator

ROOT = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "config/experiments").is_dir())

# %%
atom = Hydrogen([Eigenstate(3, 2, -1), Eigenstate(2, 1, 0)], duration=14_000)
figure, axes = plt.subplots(1, 4, figsize=(12, 3), sharex=True, sharey=True)
for k, ax in enumerate(axes):
    x = atom.sample(torch.full((20_000,), k / 4), generator("notebook", k))
    ax.hist2d(x[:, 0].numpy(), x[:, 1].numpy(), bins=80)
    ax.set_title(f"t = {k / 4}")
plt.show()

# %% [markdown]
# Committed metrics: the maximum mean discrepancy between truth and prediction, mean over ten times and all seeds.

# %%
table = pd.read_csv(ROOT / "results/expected/laptop/tables.csv")
mmd = table[(table["experiment"] == "hydrogen") & (table["metric"] == "mmd")].set_index("method")
mmd[["title", "mean", "low", "high", "seeds", "floor_mean", "published"]]

# %% [markdown]
# What must hold: the mean radius of |n, l, m> is a0 (3 n^2 - l (l + 1)) / 2, and different l do not interfere in it, so
# that at each moment it is (10.5 + 5) / 2 = 7.75 a0. And the controls bound the methods.

# %%
for time in (0.0, 0.3, 1.0):
    radius = atom.sample(torch.full((100_000,), time), generator("radius", str(time))).norm(dim=1) / BOHR_RADIUS
    error = float(radius.std()) / 100_000**0.5
    print(f"t = {time}: mean radius {float(radius.mean()):.3f} a0, standard error {error:.3f}")
    assert abs(float(radius.mean()) - 7.75) < 5 * error
assert mmd.loc["oracle", "low"] < mmd.loc["am", "mean"] < mmd.loc["no_dynamics", "mean"]
