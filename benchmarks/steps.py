"""What a training step costs: objectives against plain regression with the same network, and drawing q_t.

python benchmarks/steps.py [threads]
"""

from __future__ import annotations

import sys

import torch
from machine import describe, median_ms
from torch import Tensor, nn

from am.datasets.hydrogen import DATASET, Settings
from am.objectives.action_matching import action_matching
from am.objectives.entropic import entropic_action_matching
from am.objectives.path import draw_path
from am.objectives.score_matching import score_matching
from am.objectives.sliced_score_matching import sliced_score_matching
from am.potentials.potential import Derivatives, Potential
from am.potentials.residual import ResidualPotential
from am.potentials.score import ScoreNetwork
from am.potentials.settings import ScoreSettings

BATCH = 1000


class Autograd(ResidualPotential):
    """The same action, its derivatives taken by differentiating the network as it stands."""

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        return Potential.derivatives(self, time, x)


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    torch.set_flush_denormal(True)
    print(describe())
    marginals = DATASET(Settings()).truth()
    rng = torch.Generator().manual_seed(0)
    for n in (BATCH, 5000):
        time = torch.rand(n, generator=rng)
        print(f"draw {n} points of q_t: {median_ms(lambda t=time: marginals.sample(t, rng)):.2f} ms")

    sample = draw_path(marginals, torch.rand(BATCH, generator=rng), BATCH, rng)
    probe = torch.randn(sample.x.shape, generator=rng)
    action, plain, score = ResidualPotential(3, 256, 4), Autograd(3, 256, 4), ScoreNetwork(3, ScoreSettings())
    steps = {
        "regression": (score, lambda: (score(sample.time, sample.x) - probe).square().mean()),
        "am, written-out pullback": (action, lambda: action_matching(action, sample)[0]),
        "am, torch.autograd.grad": (plain, lambda: action_matching(plain, sample)[0]),
        "eam, Hutchinson": (action, lambda: entropic_action_matching(action, sample, 5.0, probe=probe)[0]),
        "sm, exact divergence": (score, lambda: score_matching(score, sample)[0]),
        "ssm": (score, lambda: sliced_score_matching(score, sample, probe)[0]),
    }
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        base = 0.0
        for name, (network, loss) in steps.items():
            ms = median_ms(lambda n=network, f=loss: _step(n, f), 15)
            base = base or ms
            print(f"{precision}: {name}, {BATCH} points, MLP 256 x 4: {ms:.1f} ms, {ms / base:.1f} x regression")


def _step(network: nn.Module, loss: object) -> None:
    optimizer = _OPTIMIZERS.setdefault(id(network), torch.optim.Adam(network.parameters(), 1e-4, fused=True))
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


_OPTIMIZERS: dict[int, torch.optim.Adam] = {}

if __name__ == "__main__":
    main()
