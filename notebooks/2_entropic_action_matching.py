# %% [markdown]
# # Entropic Action Matching: the drift of a diffusion
#
# An Ornstein-Uhlenbeck process dx = -x dt + sigma dW. Samples of its moments do not tell how much of the spread is
# noise; given sigma, entropic Action Matching finds the drift.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from am.marginals.ornstein_uhlenbeck import OrnsteinUhlenbeck
from am.randomness import generator
from am.runs import build_method
from am.training.loop import train

# %%
SIGMA = 1.0
path = OrnsteinUhlenbeck(start=[2.0, 0.0], spread=0.5, rate=1.0, sigma=SIGMA)
settings = {
    "sigma": SIGMA,
    "laplacian": "exact",
    "potential": {"width": 64, "depth": 2},
    "training": {"iterations": 1000, "ema": 0.99},
}
method = build_method("eam", settings, where="this notebook")
action = method.build(path, generator("notebook", "network"))
with tempfile.TemporaryDirectory() as state:
    trained = train(action, method.loss, path, method.settings.training, key="notebook", state=Path(state))
action.load_state_dict(trained.weights)

# %% [markdown]
# The diffusion with the learned drift, from points of t = 0.

# %%
start = path.sample(torch.zeros(4000), generator("notebook", "start"))
moved = method.sample(action, start, torch.linspace(0, 1, 11), generator("notebook", "sampling"))

figure, axes = plt.subplots(figsize=(5, 4))
for k in (0, 5, 10):
    axes.scatter(*moved.x[k, :500].detach().T, s=4, label=f"t = {k / 10}")
axes.set_aspect("equal")
axes.legend()
plt.show()

# %% [markdown]
# What must hold: the drift is -x, the mean at t = 1 is e^-1 times the first one, and the variance is
# e^-2 0.5^2 + sigma^2 (1 - e^-2) / 2.

# %%
times = torch.rand(2000, generator=generator("notebook", "times"))
x = path.sample(times, generator("notebook", "points"))
learned = method.velocity(action, times, x).detach()
error = float((learned + x).square().mean().sqrt() / x.square().mean().sqrt())
shrink = torch.exp(torch.tensor(-1.0))
mean = torch.tensor([2.0, 0.0]) * shrink
variance = shrink**2 * 0.25 + SIGMA**2 * (1 - shrink**2) / 2
print(f"relative error of the drift: {error:.3f}")
print("mean and variance at t = 1:", moved.x[-1].mean(0).tolist(), moved.x[-1].var(0).tolist())
assert error < 0.2
assert torch.allclose(moved.x[-1].mean(0), mean, atol=0.15)
assert torch.allclose(moved.x[-1].var(0), variance.expand(2), atol=0.15)
