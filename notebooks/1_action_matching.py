# %% [markdown]
# # Action Matching in two dimensions
#
# A cloud of points moves and grows. Only samples of each moment are seen, never a point twice. Action Matching finds
# the gradient field that carries one moment to the next; for Gaussians that field is known in closed form.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from am.marginals.gaussian import Gaussian
from am.randomness import generator
from am.runs import build_method
from am.training.loop import train

# %% [markdown]
# The path: the mean goes from (0, 0) to (2, -1) while the standard deviation goes from 1 to 2.

# %%
path = Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])
settings = {"potential": {"width": 64, "depth": 2}, "training": {"iterations": 1000, "ema": 0.99}}
method = build_method("am", settings, where="this notebook")
action = method.build(path, generator("notebook", "network"))
with tempfile.TemporaryDirectory() as state:
    trained = train(action, method.loss, path, method.settings.training, key="notebook", state=Path(state))
action.load_state_dict(trained.weights)

# %% [markdown]
# Particles of t = 0 follow the field to t = 1.

# %%
start = path.sample(torch.zeros(2000), generator("notebook", "start"))
moved = method.sample(action, start, torch.linspace(0, 1, 11), generator("notebook", "sampling"))

figure, axes = plt.subplots(figsize=(5, 4))
for k in (0, 5, 10):
    axes.scatter(*moved.x[k, :500].detach().T, s=4, label=f"t = {k / 10}")
axes.set_aspect("equal")
axes.legend()
plt.show()

# %% [markdown]
# What must hold: the learned field is m'(t) + s'(t) / s(t) (x - m(t)), and the cloud ends where it should.

# %%
times = torch.rand(2000, generator=generator("notebook", "times"))
x = path.sample(times, generator("notebook", "points"))
exact = path.velocity(times, x)
learned = method.velocity(action, times, x).detach()
error = float((learned - exact).square().mean().sqrt() / exact.square().mean().sqrt())
print(f"relative error of the field: {error:.3f}")
print("mean and spread at t = 1:", moved.x[-1].mean(0).tolist(), moved.x[-1].std(0).tolist())
assert error < 0.15
assert torch.allclose(moved.x[-1].mean(0), torch.tensor([2.0, -1.0]), atol=0.2)
assert torch.allclose(moved.x[-1].std(0), torch.tensor([2.0, 2.0]), atol=0.2)
