"""The score network and the rows of its Jacobian."""

from __future__ import annotations

import torch

from am.potentials.score import ScoreNetwork
from am.potentials.settings import ScoreSettings


def test_pullback_rows_are_the_jacobian() -> None:
    torch.manual_seed(0)
    network = ScoreNetwork(3, ScoreSettings(width=16, depth=2, output_scale=0.3)).double()
    time = torch.linspace(0, 1, 7, dtype=torch.float64)
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    score, rows = network.with_pullback(time, x)
    torch.testing.assert_close(score, network(time, x))
    torch.testing.assert_close(score, 0.3 * network.network(torch.cat([time[:, None], x], -1)))
    for i in range(7):
        exact = torch.autograd.functional.jacobian(lambda y, i=i: network(time[i : i + 1], y[None])[0], x[i])
        torch.testing.assert_close(torch.stack([row[i] for row in rows]), exact)


def test_the_divergence_of_rows_trains_like_the_generic_one() -> None:
    torch.manual_seed(0)
    network = ScoreNetwork(2, ScoreSettings(width=16, depth=2, output_scale=1.0)).double()
    time = torch.linspace(0, 1, 7, dtype=torch.float64)
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    _, rows = network.with_pullback(time, x)
    score = network(time, x)
    generic = [torch.autograd.grad(score[:, i].sum(), x, create_graph=True)[0] for i in range(2)]
    parameters = list(network.parameters())
    ours = torch.autograd.grad((rows[0][:, 0] + rows[1][:, 1]).sum(), parameters, materialize_grads=True)
    theirs = torch.autograd.grad((generic[0][:, 0] + generic[1][:, 1]).sum(), parameters, materialize_grads=True)
    torch.testing.assert_close(ours, theirs)
