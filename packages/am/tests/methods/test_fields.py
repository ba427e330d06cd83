"""Velocities and growth rates that methods tell are those that their particles follow; reversed, they undo it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from am import plugins
from am.config import parse
from am.dynamics.settings import OdeSettings
from am.marginals.gaussian import Gaussian
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import ActionMethod, TrainedMethod
from am.randomness import generator

PATH = Gaussian(lambda t: (2 * t)[:, None].expand(-1, 2), lambda t: (1 + t)[:, None])
TIMES = (0.0, 0.5, 1.0)
SNAPSHOTS = SnapshotPath([PATH.sample(torch.full((50,), t), generator("snapshot", t)) for t in TIMES], TIMES)
SMALL: dict[str, Any] = {"sigma": 0.0, "potential": {"width": 16, "depth": 2}}


def built(name: str) -> tuple[Any, Any, Tensor]:
    """A method without noise, its network with weights that matter, and points."""
    kind = plugins.load("am.methods", name).METHOD
    fields = kind.settings_type.model_fields
    settings = {key: SMALL[key] for key in SMALL if key in fields}
    if isinstance(fields["sampling"].default, OdeSettings):
        settings["sampling"] = {"rtol": 1e-8, "atol": 1e-8}
    method = kind(parse(kind.settings_type, settings, name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learned = SNAPSHOTS if method.learns_from == "snapshots" else PATH
        network = method.build(learned, generator("build")).double()
    for parameter in network.parameters():
        parameter.data *= 2
    return method, network, PATH.sample(torch.linspace(0, 1, 50, dtype=torch.float64), generator("points"))


ACTIONS = [n for n in plugins.names("am.methods") if issubclass(plugins.load("am.methods", n).METHOD, ActionMethod)]
FROM_PATHS = [name for name in ACTIONS if plugins.load("am.methods", name).METHOD.learns_from == "path"]
REVERSIBLE = [name for name in ACTIONS if plugins.load("am.methods", name).METHOD.reversible]


def moved(method: TrainedMethod, network: Any, x: Tensor, begin: float, end: float) -> tuple[Tensor, Tensor | None]:
    times = torch.tensor([begin, end], dtype=torch.float64)
    prediction = method.sample(network, x, times, generator("sample"))
    return prediction.x[1], None if prediction.log_weight is None else prediction.log_weight[1]


@pytest.mark.parametrize("name", FROM_PATHS)
def test_velocities_that_a_path_does_not_have_are_not_learned_from(name: str) -> None:
    kind = plugins.load("am.methods", name).METHOD
    method = kind(parse(kind.settings_type, {"estimator": "conditional"}, name))
    with pytest.raises(ValueError, match=r"'estimator: conditional' needs velocities.*; use '(marginal|best)'"):
        method.build(PATH, generator("build"))


@pytest.mark.parametrize("name", ACTIONS)
def test_particles_follow_the_fields(name: str) -> None:
    method, network, x = built(name)
    time, step = 0.3, 1e-5
    there, log_weight = moved(method, network, x, time, time + step)
    at = torch.full((len(x),), time, dtype=torch.float64)
    velocity, growth = method.velocity(network, at, x), method.growth_rate(network, at, x)
    assert float(velocity.abs().mean()) > 0.01
    torch.testing.assert_close((there - x) / step, velocity, rtol=1e-3, atol=1e-4)
    assert (growth is None) == (log_weight is None)
    if growth is not None and log_weight is not None:
        assert float(growth.std()) > 0.01
        torch.testing.assert_close(log_weight / step, growth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", REVERSIBLE)
def test_the_reversed_action_brings_particles_back_with_their_weights(name: str) -> None:
    method, network, x = built(name)
    there, log_weight = moved(method, network, x, 0.2, 0.7)
    assert float((there - x).abs().mean()) > 0.01
    back, log_weight_back = moved(method, network.reversed(), there, 0.3, 0.8)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)
    if log_weight is not None and log_weight_back is not None:
        assert float(log_weight.std()) > 0.01
        torch.testing.assert_close(log_weight_back, -log_weight, rtol=0, atol=1e-5)


def test_the_derivatives_of_the_reversed_action_are_its_derivatives() -> None:
    _, network, x = built("am")
    reverse = network.reversed()
    time = torch.linspace(0, 1, len(x), dtype=torch.float64, requires_grad=True)
    x.requires_grad_()
    value = reverse(time, x)
    ds_dt, ds_dx = torch.autograd.grad(value.sum(), (time, x))
    told = reverse.derivatives(time, x)
    torch.testing.assert_close(told.value, value)
    torch.testing.assert_close(told.time, ds_dt)
    torch.testing.assert_close(told.space, ds_dx)


def test_noise_cannot_be_reversed() -> None:
    assert "eam" in ACTIONS
    assert "eam" not in REVERSIBLE
