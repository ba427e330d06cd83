"""What holds of every method, learned or not, on a path of which all is known."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from am import plugins
from am.config import parse
from am.dynamics.trajectory import DynamicsError
from am.marginals.gaussian import Gaussian
from am.marginals.marginals import Marginals
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import Method, Prediction, TrainedMethod
from am.randomness import generator
from am.training.stream import Stream

# As large as the clouds of the experiments, for step sizes have units.
PATH = Gaussian(lambda t: torch.stack([30 * t, -20 * t], -1), lambda t: 40 + 20 * t[:, None])
N, TIMES = 40, (0.0, 0.3, 1.0)
# Settings of these names take these values, wherever they stand, so that nothing takes long.
SMALL = {
    **{"width": 8, "depth": 2, "iterations": 5, "batch_size": 32, "boundary_batch_size": 32, "snapshots": 1},
    **{"warmup": 0, "time_steps": 20, "steps": 20},
    **{"waves": 8, "degree": 3, "draws": 200},
}


def shrunk(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {name: SMALL.get(name, shrunk(value)) for name, value in settings.items()}
    return settings


def method_named(name: str) -> Method:
    kind = plugins.load("am.methods", name).METHOD
    settings = shrunk(kind.settings_type().model_dump(mode="json"))
    return kind(parse(kind.settings_type, settings, name))


SNAPSHOTS = SnapshotPath([PATH.sample(torch.full((50,), t), generator("cells", t)) for t in TIMES], TIMES)


def learned(method: Method) -> Marginals:
    return SNAPSHOTS if method.learns_from == "snapshots" else PATH


def built(method: TrainedMethod, seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.build(learned(method), generator("build", seed))


NAMES = plugins.names("am.methods")
TRAINED = [name for name in NAMES if isinstance(method_named(name), TrainedMethod)]
every_method = pytest.mark.parametrize("name", NAMES)
every_trained_method = pytest.mark.parametrize("name", TRAINED)


class Ready(NamedTuple):
    """A method with an untrained network or snapshots, if it has either, and the truth, if it may see that."""

    method: Method
    network: Any

    def sample(self, start: Tensor, times: tuple[float, ...] = TIMES, seed: int = 0) -> Prediction:
        truth = PATH if self.method.uses_truth else None
        return self.method.sample(self.network, start, torch.tensor(times), generator("sample", seed), truth)


@pytest.fixture
def ready(name: str) -> Ready:
    method = method_named(name)
    if isinstance(method, TrainedMethod):
        return Ready(method, built(method))
    return Ready(method, SNAPSHOTS if method.learns_from == "snapshots" else None)


@pytest.fixture
def start() -> Tensor:
    return PATH.sample(torch.zeros(N), generator("start"))


@every_method
@pytest.mark.parametrize("times", [TIMES, (0.4, 0.9)])
def test_particles_go_from_their_start_to_every_time(ready: Ready, start: Tensor, times: tuple[float, ...]) -> None:
    given = start.clone()
    prediction = ready.sample(start, times)
    assert prediction.x.shape == (len(times), N, PATH.dimension)
    assert prediction.x.dtype == start.dtype
    assert torch.equal(start, given)
    assert torch.equal(prediction.x[0], start)
    assert bool(prediction.x.isfinite().all())
    assert not prediction.x.requires_grad
    assert isinstance(prediction.nfe, int)
    assert prediction.nfe >= 0


NAN = float("nan")


@every_method
@pytest.mark.parametrize("times", [(0.0, 2.0), (0.0, 1.001), (-0.5, 1.0), (1.5, 2.0), (0.5, NAN), (0.0, float("inf"))])
def test_times_that_nothing_was_learned_of_are_refused(ready: Ready, start: Tensor, times: tuple[float, ...]) -> None:
    with pytest.raises(DynamicsError, match=r"times (are in \[0, 1\]|must be increasing)"):
        ready.sample(start, times)


@every_method
@pytest.mark.parametrize("times", [(1.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.9, 0.4)])
def test_times_that_do_not_increase_are_refused(ready: Ready, start: Tensor, times: tuple[float, ...]) -> None:
    with pytest.raises(DynamicsError, match="times must be increasing numbers"):
        ready.sample(start, times)


@every_method
@pytest.mark.parametrize("time", [-0.01, 1.01, 2.0, NAN])
def test_fields_are_not_told_at_times_that_nothing_was_learned_of(ready: Ready, start: Tensor, time: float) -> None:
    method, network, inside = ready.method, ready.network, torch.linspace(0, 1, N)
    fields = [partial(method.velocity, network), partial(method.growth_rate, network)]
    flow = method.flow(network)
    for field in [*fields, *([] if flow is None else [flow])]:
        if field(inside, start) is not None:
            with pytest.raises(DynamicsError, match=r"nothing was learned of t = "):
                field(torch.cat([inside[:-1], torch.tensor([time])]), start)


@every_method
def test_settings_that_have_a_unit_say_so(name: str) -> None:
    method = method_named(name)
    settings = method.settings.model_dump()
    assert set(method.dimensions) == {"sigma", "growth"} & set(settings)
    assert all(isinstance(settings[setting], float) for setting in method.dimensions)


@every_method
def test_particles_start_with_weight_one(ready: Ready, start: Tensor) -> None:
    log_weight = ready.sample(start).log_weight
    if log_weight is not None:
        assert log_weight.shape == (len(TIMES), N)
        assert not log_weight.requires_grad
        assert bool((log_weight[0] == 0).all())
        assert bool(log_weight.isfinite().all())


@every_method
def test_the_generator_is_the_only_randomness(ready: Ready, start: Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = ready.sample(start)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        second = ready.sample(start)
    assert torch.equal(first.x, second.x)
    assert first.nfe == second.nfe


@every_method
def test_particles_have_no_order(ready: Ready, start: Tensor) -> None:
    """Where nothing is random. Where something is, other seeds must give other particles at every later time."""
    first, second = ready.sample(start, seed=0), ready.sample(start, seed=1)
    same = [torch.equal(a, b) for a, b in zip(first.x[1:], second.x[1:], strict=True)]
    if not all(same):
        assert not any(same)
        return
    order = torch.randperm(N, generator=generator("order"))
    torch.testing.assert_close(ready.sample(start[order]).x, first.x[:, order], rtol=1e-4, atol=1e-3)


LENGTHS = {"sigma", "step_size", "p"}
"""Settings whose unit is one of length, or which make what is learned no linear function of lengths."""


def keys(settings: Any) -> set[str]:
    below = settings.values() if isinstance(settings, dict) else []
    return {*(settings if isinstance(settings, dict) else ()), *(key for value in below for key in keys(value))}


@every_method
def test_the_unit_of_length_is_the_readers(name: str) -> None:
    """Data eight times as large, a power of two, move eight times as far; but for settings that are lengths."""
    method, moved = method_named(name), []
    for scale in (1.0, 8.0):
        path = Gaussian(lambda t, c=scale: c * PATH.mean(t), lambda t, c=scale: c * PATH.scale(t))
        cells = [path.sample(torch.full((50,), t), generator("cells", t)) for t in TIMES]
        source = SnapshotPath(cells, TIMES) if method.learns_from == "snapshots" else path
        network: Any = source if method.learns_from == "snapshots" else None
        if isinstance(method, TrainedMethod):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = method.build(source, generator("build"))
        start = path.sample(torch.zeros(N), generator("start"))
        truth = path if method.uses_truth else None
        x = method.sample(network, start, torch.tensor(TIMES), generator("sample"), truth).x
        assert bool(x.isfinite().all())
        moved.append((x - start) / scale)
    if not keys(method.settings.model_dump()) & LENGTHS:
        torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-3 * float(moved[0].abs().max()))


@every_trained_method
def test_learned_methods_never_see_the_truth(name: str) -> None:
    assert not method_named(name).uses_truth


@every_trained_method
def test_a_network_is_a_function_of_its_seed(name: str) -> None:
    method = method_named(name)
    assert isinstance(method, TrainedMethod)
    one, same, other = (built(method, seed).state_dict() for seed in (0, 0, 1))
    assert one
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@every_trained_method
def test_the_loss_is_a_finite_function_of_the_step(name: str) -> None:
    method = method_named(name)
    assert isinstance(method, TrainedMethod)
    network = built(method)

    def loss(step: int) -> Tensor:
        value, diagnostics = method.loss(network, learned(method), Stream("key", step, 32, 32))
        for number in (value, *diagnostics.values()):
            assert number.shape == ()
            assert bool(number.isfinite())
        return value

    first = loss(0)
    assert first.requires_grad
    assert torch.equal(first, loss(0))
    assert not torch.equal(first, loss(1))


@every_trained_method
def test_training_moves_weights_and_what_follows_from_them(
    name: str, ready: Ready, start: Tensor, tmp_path: Path
) -> None:
    method = ready.method
    assert isinstance(method, TrainedMethod)
    before = {key: tensor.clone() for key, tensor in built(method).state_dict().items()}
    untrained = ready.sample(start)

    def fit(folder: str) -> dict[str, Tensor]:
        network, path = built(method), learned(method)
        return method.train(network, path, key="key", state=tmp_path / folder).weights

    weights = fit("one")
    assert weights.keys() == before.keys()
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    assert any(not torch.equal(weights[key], before[key]) for key in weights)
    again = fit("two")
    assert all(torch.equal(weights[key], again[key]) for key in weights)

    ready.network.load_state_dict(weights)
    trained = ready.sample(start)
    assert bool(trained.x.isfinite().all())
    assert not torch.equal(trained.x[-1], untrained.x[-1])
