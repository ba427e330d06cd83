# %% [markdown]
# # Unbalanced Action Matching: motion and growth
#
# A cloud that moves can do so in two ways: its points move, or those in front multiply while those behind die out.
# Unbalanced Action Matching divides the change between the two; lambda says how cheap growth is.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from am.marginals.gaussian import Gaussian
from am.randomness import generator
from am.runs import build_method
from am.training.loop import train

# %%
LAMBDA = 1.0
path = Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: torch.ones_like(t)[:, None])
settings = {
    "growth": LAMBDA,
    "potential": {"width": 64, "depth": 2},
    "training": {"iterations": 1000, "ema": 0.99},
}
method = build_method("uam", settings, where="this notebook")
action = method.build(path, generator("notebook", "network"))
with tempfile.TemporaryDirectory() as state:
    trained = train(action, method.loss, path, method.settings.training, key="notebook", state=Path(state))
action.load_state_dict(trained.weights)

# %%
start = path.sample(torch.zeros(4000), generator("notebook", "start"))
moved = method.sample(action, start, torch.linspace(0, 1, 11), generator("notebook", "sampling"))
weight = moved.log_weight[-1].detach().exp()

figure, axes = plt.subplots(figsize=(5, 4))
axes.scatter(*start[:500].T, s=4, label="t = 0")
axes.scatter(*moved.x[-1, :500].detach().T, s=4 * weight[:500], label="t = 1, size is weight")
axes.set_aspect("equal")
axes.legend()
plt.show()

# %% [markdown]
# What must hold. With s(t, x) = a (x - m(t)) points move by a, and tilting N(m, 1) at the rate lambda a (x - m) moves
# its mean by lambda a and leaves its variance alone. Together m' = (1 + lambda) a: for lambda = 1 half is motion.

# %%
times = torch.rand(2000, generator=generator("notebook", "times"))
x = path.sample(times, generator("notebook", "points"))
a = torch.tensor([2.0, -1.0]) / (1 + LAMBDA)
learned = method.velocity(action, times, x).detach()
error = float((learned - a).square().mean().sqrt() / a.square().mean().sqrt())
mean = (weight[:, None] * moved.x[-1].detach()).sum(0) / weight.sum()
print(f"relative error of the velocity: {error:.3f}")
print("mean at t = 1, unweighted and weighted:", moved.x[-1].mean(0).tolist(), mean.tolist())
assert error < 0.2
assert torch.allclose(moved.x[-1].mean(0), a, atol=0.15)
assert torch.allclose(mean, torch.tensor([2.0, -1.0]), atol=0.25)
