# %% [markdown]
# # Cells of your own
#
# `am fit` takes any `.h5ad` with a time for each cell. Here: 271 human myoblasts at four times, part of the library.

# %%
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import anndata
import matplotlib.pyplot as plt
import numpy as np

# %%
source = files("am.datasets").joinpath("myoblast.h5ad")
folder = tempfile.TemporaryDirectory()
out = Path(folder.name)
command = ["am", "fit", str(source), "--time-key", "hours", "--dimensions", "5", "--iterations", "300"]
subprocess.run([*command, "--out", str(out)], check=True)
cells = anndata.read_h5ad(out / "myoblast_am.h5ad")
print(cells)

# %% [markdown]
# Each cell has a velocity at its own time, and a place at the last and at the first one.

# %%
x = np.asarray(cells.obsm["X_pca"])[:, :5]
velocity, forward, backward = (np.asarray(cells.obsm[f"X_am_{name}"]) for name in ("velocity", "forward", "backward"))
hours = cells.obs["hours"].to_numpy()

figure, axes = plt.subplots(figsize=(6, 4))
points = axes.scatter(x[:, 0], x[:, 1], c=hours, s=8)
axes.quiver(x[:, 0], x[:, 1], velocity[:, 0], velocity[:, 1], angles="xy", width=0.002)
figure.colorbar(points, label="hours")
plt.show()

# %% [markdown]
# What must hold: at the last time there is nowhere to go, nor at the first one to come from; and the cells of the first
# time, carried forward, are nearer to those of the last time on average than they were.

# %%
first, last = hours == hours.min(), hours == hours.max()
assert np.allclose(forward[last], x[last], atol=1e-4)
assert np.allclose(backward[first], x[first], atol=1e-4)
before = np.linalg.norm(x[first].mean(0) - x[last].mean(0))
after = np.linalg.norm(forward[first].mean(0) - x[last].mean(0))
print(f"distance of the means: {before:.2f} before, {after:.2f} after")
assert after < before
folder.cleanup()
