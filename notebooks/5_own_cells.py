# %% [markdown]
# # Cells of your own
#
# You have an AnnData with principal components and a column of times. `am.fit` learns how the cells move, and says how
# far to believe it. The example: 271 human myoblasts at 0, 24, 48 and 72 hours, which the library ships.

# %%
from importlib.resources import files

import anndata
import matplotlib.pyplot as plt
import numpy as np

import am

cells = anndata.read_h5ad(files("am.datasets").joinpath("myoblast.h5ad"))
model = am.fit(cells, time_key="hours", dimensions=5)
print(model)

# %% [markdown]
# Read the first line before anything else. The method was fitted five times, each time without a fifth of the cells.
# These cells were pushed from each time to the next. The line says whether they come nearer to the cells that are
# there than cells that do not move. The last line names the settings, which cells chose as well: in each of the five
# fits, only cells that this fit saw.
#
# The table has a row for each interval, and one for the whole course. A distance below the noise floor cannot be told
# from the distance of two samples of the same cells.

# %%
am.pl.quality(cells)
plt.show()
model.quality.round(2)

# %% [markdown]
# Each cell has a velocity at its own time, and a place at the last time and at the first. All is in `cells.obsm`, in
# units of the components and of hours.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
am.pl.trajectories(model, cells, ax=axes[0])
am.pl.streamlines(model, cells, ax=axes[1])
plt.show()

# %% [markdown]
# The model predicts cells that it has not seen, forwards and backwards.

# %%
hours = cells.obs["hours"].to_numpy()
start = cells[hours == 0]
later = model.predict(start, from_time=0, to_time=[24, 48, 72])
print(later.x.shape)  # times, cells, components

# %% [markdown]
# Where the numbers of cells tell how many there are, `am.fit(cells, time_key="hours", masses="counts")` also tells how
# fast each cell multiplies: `cells.obs["am_growth"]` and `am.pl.growth(cells)`.
#
# What must hold: at the last time there is nowhere to go, nor at the first one to come from; and cells that are pushed
# from the first time to the last end nearer to the cells there than they began.

# %%
x = np.asarray(cells.obsm["X_pca"])[:, :5]
assert np.allclose(cells.obsm["X_am_forward"][hours == 72], x[hours == 72], atol=1e-4)
assert np.allclose(cells.obsm["X_am_backward"][hours == 0], x[hours == 0], atol=1e-4)
whole = model.quality.iloc[-1]
assert whole["pushed"] < whole["no_dynamics"]
assert later.x.shape == (3, len(start), 5)
