"""What follows from the dynamics that a method states, and what is refused of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from am import plugins
from am.config import ConfigError, Settings, parse
from am.dynamics.dynamics import Dynamics, Explicit, Piecewise
from am.dynamics.dynamics import Still as NothingMoves
from am.dynamics.ode import Ode
from am.dynamics.sde import Diffusion
from am.dynamics.settings import OdeSettings, SdeSettings
from am.dynamics.trajectory import Trajectory
from am.dynamics.weighted import WeightedOde
from am.marginals.gaussian import Gaussian
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import ActionMethod, Method, PredictionError, TrainedMethod
from am.randomness import generator
from am.runs import build_method
from am.training.stream import Stream

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


TRAINED = [n for n in plugins.names("am.methods") if issubclass(plugins.load("am.methods", n).METHOD, TrainedMethod)]


@pytest.mark.parametrize("name", TRAINED)
def test_training_moves_every_weight_of_a_finite_loss(name: str) -> None:
    fields = plugins.load("am.methods", name).METHOD.settings_type.model_fields
    small = {key: {"width": 8, "depth": 2} for key in ("potential", "score", "network") if key in fields}
    method = build_method(name, small, name)
    assert isinstance(method, TrainedMethod)
    learned = SNAPSHOTS if method.learns_from == "snapshots" else PATH
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = method.build(learned, generator("build"))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    before = {key: value.clone() for key, value in network.named_parameters()}
    for step in range(3):
        loss, parts = method.loss(network, learned, Stream("test", step, 16, 16))
        assert torch.isfinite(loss)
        assert parts
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # An action is defined up to a constant of time, which its last bias is: no balanced loss can see it.
    still = [key for key, value in network.named_parameters() if torch.equal(value, before[key])]
    assert not [key for key in still if not key.endswith("last.bias")]


def test_no_score_no_langevin() -> None:
    class Unscored:
        dimension = 2

        def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
            return torch.randn(len(time), 2, generator=generator)

    with pytest.raises(ConfigError, match="score of this data set is not known"):
        build_method("ald_true_score", {}, "here").sample(Unscored(), START, THREE, torch.Generator())


# -- what dynamics tell --------------------------------------------------------------------------------

THREE = torch.tensor([0.0, 0.3, 1.0])
START = PATH.sample(torch.zeros(20), generator("start"))


class Stated(Method[None]):
    """Has the dynamics that a test tells it to."""

    title = "stated"

    def __init__(self, dynamics: Any, weighs: bool = False) -> None:
        super().__init__(Settings())
        self.weighs = weighs  # type: ignore[misc]
        self.told = dynamics

    def dynamics(self, network: None) -> Dynamics:
        return self.told


def outwards(time: Tensor, x: Tensor) -> Tensor:
    return x * time[:, None]


def sideways(time: Tensor, x: Tensor) -> Tensor:
    return torch.ones_like(x)


def height(time: Tensor, x: Tensor) -> Tensor:
    return x[:, 0]


@pytest.mark.parametrize(
    ("dynamics", "velocity", "flow", "growth"),
    [
        (NothingMoves(), None, None, None),
        (Ode(outwards), outwards, outwards, None),
        (Diffusion(outwards, 0.5), outwards, None, None),
        (Diffusion(outwards, sideways, probability_flow=sideways), sideways, sideways, None),
        (WeightedOde(outwards, height), outwards, None, height),
        (Piecewise(WeightedOde(outwards, height), THREE, lambda k: NothingMoves()), outwards, None, height),
        (Explicit(lambda start, times, generator: start), None, None, None),
    ],
)
def test_fields_follow_from_the_dynamics(dynamics: Dynamics, velocity: Any, flow: Any, growth: Any) -> None:
    method, time = Stated(dynamics, weighs=growth is not None), torch.linspace(0, 1, 20)
    x = START.clone().requires_grad_()
    for found, expected in (
        (method.velocity(None, time, x), velocity),
        (method.growth_rate(None, time, x), growth),
    ):
        assert (found is None) == (expected is None)
        if found is not None:
            assert torch.equal(found, expected(time, x))
            assert not found.requires_grad
    field = method.flow(None)
    assert (field is None) == (flow is None)
    if field is not None:
        assert torch.equal(field(time, x), flow(time, x))
        assert field(time, x).requires_grad == flow(time, x).requires_grad


def test_weighted_particles_may_be_told_both_at_once() -> None:
    asked: list[int] = []

    def both(time: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(x))
        return outwards(time, x), height(time, x)

    apart, together = WeightedOde(outwards, height), WeightedOde(outwards, height, both=both)
    one, other = (Stated(d, weighs=True).sample(None, START, THREE, generator("s")) for d in (apart, together))
    assert torch.equal(one.x, other.x)
    assert one.log_weight is not None
    assert other.log_weight is not None
    assert torch.equal(one.log_weight, other.log_weight)
    assert len(asked) == one.nfe == other.nfe


def test_pieces_follow_each_other_and_their_weights_multiply() -> None:
    def part(k: int) -> Dynamics:
        return WeightedOde(lambda time, x: x * 0 + k + 1, lambda time, x: x[:, 0] * 0 + 10.0**k)

    pieces = Piecewise(part(0), torch.tensor([0.0, 0.25, 1.0]), part)
    times = torch.tensor([0.0, 0.125, 0.5])
    moved = Stated(pieces, weighs=True).sample(None, START, times, generator("s"))
    torch.testing.assert_close(moved.x - START, torch.tensor([0.0, 0.125, 0.75])[:, None, None].expand(3, 20, 2))
    assert moved.log_weight is not None
    torch.testing.assert_close(moved.log_weight, torch.tensor([0.0, 0.125, 2.75])[:, None].expand(3, 20))


def test_noise_that_is_a_field_has_one_solver() -> None:
    with pytest.raises(ValueError, match="noise that is a field is not followed by 'method: heun'; use 'euler'"):
        Diffusion(outwards, sideways, SdeSettings(method="heun"))


# -- what is no prediction -----------------------------------------------------------------------------

GOOD = torch.zeros(3, 20, 2)


def with_number(shape: tuple[int, ...], value: float, *places: tuple[int, ...]) -> Tensor:
    numbers = torch.zeros(shape)
    for place in places:
        numbers[place] = value
    return numbers


class Moves(Dynamics):
    """Returns what a test tells it to."""

    def __init__(self, x: Any, log_weight: Any = None) -> None:
        self.found = x if isinstance(x, str) else Trajectory(x, 0, log_weight)

    def move(self, start: Tensor, times: Tensor, generator: torch.Generator) -> Trajectory:
        return self.found


@pytest.mark.parametrize(
    ("x", "log_weight", "expected"),
    [
        ("words", None, "stated: its dynamics made a str; a Trajectory is needed"),
        (GOOD.numpy(), None, "stated: x is a ndarray; a tensor of the shape (3, 20, 2) is needed"),
        (
            GOOD[1:],
            None,
            "stated: x has the shape (2, 20, 2); floating-point numbers of the shape (3, 20, 2) are needed",
        ),
        (GOOD.long(), None, "stated: x is of torch.int64; floating-point numbers of the shape (3, 20, 2) are needed"),
        (
            with_number((3, 20, 2), torch.nan, (1, 4, 0), (1, 4, 1), (1, 7, 1), (2, 0, 0)),
            None,
            "stated: x is not finite for 2 of 20 particles at t = 0.3",
        ),
        (with_number((3, 20, 2), torch.inf, (2, 0, 0)), None, "stated: x is not finite for 1 of 20 particles at t = 1"),
        (GOOD, torch.zeros(3), "stated: log_weight has the shape (3,); floating-point numbers of the shape (3, 20)"),
        (
            GOOD,
            with_number((3, 20), torch.inf, (1, 3)),
            "stated: log_weight is not finite for 1 of 20 particles at t = 0.3",
        ),
    ],
)
def test_what_is_no_prediction_is_told_where_it_is_made(x: Any, log_weight: Any, expected: str) -> None:
    with pytest.raises(PredictionError, match=re.escape(expected)):
        Stated(Moves(x, log_weight)).sample(None, START, THREE, torch.Generator())


def test_a_particle_may_lose_all_its_mass() -> None:
    gone = with_number((3, 20), -torch.inf, (2, 5))
    assert Stated(Moves(GOOD, gone)).sample(None, START, THREE, torch.Generator()).log_weight is gone


@pytest.mark.parametrize(("name", "needed"), [("velocity", "(20, 2)"), ("growth_rate", "(20,)")])
def test_what_is_no_field_is_told_where_it_is_made(name: str, needed: str) -> None:
    time, shape = torch.full((20,), 0.3), (20, 2) if name == "velocity" else (20,)
    for field, expected in (
        (torch.zeros(3), f"stated: {name} has the shape (3,); floating-point numbers of the shape {needed} are needed"),
        (torch.full(shape, torch.nan), f"stated: {name} is not finite for 20 of 20 particles at t = 0.3"),
    ):
        method = Stated(WeightedOde(lambda time, x, f=field: f, lambda time, x, f=field: f), weighs=True)
        with pytest.raises(PredictionError, match=re.escape(expected)):
            getattr(method, name)(None, time, START)


@pytest.mark.parametrize(
    ("dynamics", "weighs", "expected"),
    [
        (None, False, "stated: its dynamics are a NoneType; one of am.dynamics is needed, such as Ode"),
        (WeightedOde(outwards, height), False, "stated: its dynamics have a growth rate; set 'weighs = True'"),
        (Ode(outwards), True, "stated: its dynamics have no growth rate; set 'weighs = False'"),
    ],
)
def test_what_are_no_dynamics_is_told(dynamics: Any, weighs: bool, expected: str) -> None:
    method = Stated(dynamics, weighs)
    for call in (
        lambda: method.sample(None, START, THREE, torch.Generator()),
        lambda: method.velocity(None, torch.zeros(20), START),
        lambda: method.flow(None),
    ):
        with pytest.raises(PredictionError, match=re.escape(expected)):
            call()
