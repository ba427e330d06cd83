"""The same losses from velocities of curves instead of from points at both ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from am.marginals.images import Generation
from am.methods.contract import TrainedMethod
from am.objectives.action_matching import action_matching
from am.objectives.convex_cost import convex_cost_action_matching
from am.objectives.entropic import entropic_action_matching
from am.objectives.path import PathSample
from am.objectives.unbalanced import unbalanced_action_matching
from am.randomness import generator
from am.runs import build_method
from am.training.stream import Stream

FORMS = {
    "am": action_matching,
    "eam": lambda potential, sample, weight: entropic_action_matching(potential, sample, 1.3, weight),
    "uam": lambda potential, sample, weight: unbalanced_action_matching(potential, sample, 0.7, weight),
    "cam": lambda potential, sample, weight: convex_cost_action_matching(potential, sample, 1.5, weight),
}


def moving_nodes(path: Any) -> PathSample:
    """The same points, each with the velocity of the curve that its noise draws; and no ends."""
    nodes = path.nodes()
    noise = (nodes.x - path.marginals.mean(nodes.time)) / path.marginals.scale(nodes.time)
    _, velocity = torch.func.jvp(lambda t: path.at(t, noise), (nodes.time,), (torch.ones_like(nodes.time),))
    return replace(nodes, start=nodes.start * torch.nan, end=nodes.end * torch.nan, velocity=velocity)


@pytest.mark.parametrize("form", FORMS)
def test_both_estimates_have_one_expectation_and_one_gradient(path, weight, action, form: str) -> None:
    perturbed = action(path.action).perturbed()
    results = []
    for nodes in (path.nodes(), moving_nodes(path)):
        loss, _ = FORMS[form](perturbed, nodes, weight)
        results.append((loss.detach(), *torch.autograd.grad(loss, perturbed.parameter)))
    for marginal, conditional in zip(*results, strict=True):
        torch.testing.assert_close(conditional, marginal, rtol=1e-8, atol=1e-8)
    assert float(results[0][1].abs().max()) > 0.01


def am(estimator: str) -> TrainedMethod:
    settings = {
        "estimator": estimator,
        "potential": {"width": 32, "depth": 2},
        "training": {"batch_size": 64, "boundary_batch_size": 64},
    }
    method = build_method("am", settings, "test")
    assert isinstance(method, TrainedMethod)
    return method


def test_velocities_take_most_of_the_noise_out_of_the_gradient() -> None:
    path = Generation(torch.rand(50, 16, generator=generator("images")) - 0.5, (1, 4, 4), 256)
    torch.manual_seed(0)
    network = am("conditional").build(path, generator("build"))
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    for step in range(100):  # at first the action is flat, and there is little to be noisy
        optimizer.zero_grad()
        am("conditional").loss(network, path, Stream("train", step, 64, 64))[0].backward()
        optimizer.step()

    def gradients(method: TrainedMethod) -> Tensor:
        rows = []
        for step in range(200):
            loss, _ = method.loss(network, path, Stream("noise", step, 64, 64))
            parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
            rows.append(torch.cat([part.flatten() for part in parts]))
        return torch.stack(rows)

    marginal, conditional = gradients(am("marginal")), gradients(am("conditional"))
    variance = [float(g.var(0).sum()) for g in (marginal, conditional)]
    distance = float((marginal.mean(0) - conditional.mean(0)).square().sum())
    assert variance[1] < variance[0] / 3
    assert distance < 2 * sum(variance) / len(marginal)  # one expectation: its own is the sum over the number of draws
