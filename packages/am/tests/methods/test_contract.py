"""What every method promises; a new one is found and tested without being named here."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import torch

from am import plugins
from am.config import ConfigError, Settings, parse
from am.marginals.gaussian import Gaussian
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import Method, Prediction, PredictionError, TrainedMethod
from am.randomness import generator
from am.training.stream import Stream

NAMES = plugins.names("am.methods")
TRAINED = [n for n in NAMES if issubclass(plugins.load("am.methods", n).METHOD, TrainedMethod)]
every_method = pytest.mark.parametrize("name", NAMES)
TIMES = torch.tensor([0.0, 0.3, 1.0])


def path() -> Gaussian:
    """N(2 t, (1 + t)^2 I) in two dimensions: a path that moves and grows."""
    return Gaussian(lambda t: (2 * t)[:, None].expand(-1, 2), lambda t: (1 + t)[:, None])


def learned(method: Method) -> Gaussian | SnapshotPath:
    """What a method may learn from."""
    if method.learns_from == "path":
        return path()
    times = TIMES.tolist()
    return SnapshotPath([path().sample(torch.full((30,), t), generator("cells", t)) for t in times], times)


def build(name: str, **settings: Any) -> Method:
    kind: type[Method] = plugins.load("am.methods", name).METHOD
    small = {"width": 8, "depth": 2}
    fields = kind.settings_type.model_fields
    options: dict[str, Any] = {key: small for key in ("potential", "score", "network") if key in fields}
    if "sampling" in fields and hasattr(fields["sampling"].default, "step_size"):
        options["sampling"] = {"step_size": 0.05, "time_steps": 20}  # for a path as wide as one, not as an atom
    return kind(parse(kind.settings_type, options | settings, name))


def network_of(method: Method, seed: int = 0) -> Any:
    if not isinstance(method, TrainedMethod):
        return learned(method) if method.learns_from == "snapshots" else None
    torch.manual_seed(seed)
    return method.build(learned(method), torch.Generator().manual_seed(seed))


def predict(name: str, start: torch.Tensor, seed: int = 0) -> Prediction:
    method = build(name)
    truth = path() if method.uses_truth else None
    return method.sample(network_of(method), start, TIMES, torch.Generator().manual_seed(seed), truth)


def start(n: int = 20) -> torch.Tensor:
    return path().sample(torch.zeros(n), torch.Generator().manual_seed(1))


def test_methods_are_read_without_torch() -> None:
    code = (
        "import sys; from am import plugins; "
        "[plugins.load(p, n) for p in ('am.methods', 'am.datasets') for n in plugins.names(p)]; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@every_method
def test_says_what_it_is_and_can_be(name: str) -> None:
    kind = plugins.load("am.methods", name).METHOD
    assert kind.title
    assert len(kind.__doc__ or "") > 20
    with pytest.raises(ConfigError, match="unknown key"):
        build(name, no_such_setting=1)


@every_method
def test_predicts_every_particle_at_every_time_from_the_start(name: str) -> None:
    prediction = predict(name, start())
    assert prediction.x.shape == (3, 20, 2)
    assert torch.equal(prediction.x[0], start())
    assert torch.isfinite(prediction.x).all()
    assert prediction.nfe >= 0
    if prediction.log_weight is not None:
        assert prediction.log_weight.shape == (3, 20)
        assert not prediction.log_weight[0].any()
        assert torch.isfinite(prediction.log_weight).all()


@every_method
def test_the_same_seed_gives_the_same_and_leaves_global_randomness_alone(name: str) -> None:
    first = predict(name, start())
    state = torch.get_rng_state()
    method = build(name)
    network, truth = network_of(method), path() if method.uses_truth else None
    torch.set_rng_state(state)
    again = method.sample(network, start(), TIMES, torch.Generator().manual_seed(0), truth)
    assert torch.equal(first.x, again.x)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", TRAINED)
def test_training_moves_every_weight_of_a_finite_loss(name: str) -> None:
    method = build(name)
    assert isinstance(method, TrainedMethod)
    network = network_of(method)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    before = {key: value.clone() for key, value in network.named_parameters()}
    for step in range(3):
        loss, diagnostics = method.loss(network, learned(method), Stream("test", step, 16, 16))
        assert loss.ndim == 0
        assert torch.isfinite(loss)
        assert diagnostics
        assert not any(value.requires_grad for value in diagnostics.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # An action is defined up to a constant of time, which its last bias is: no balanced loss can see it.
    still = [key for key, value in network.named_parameters() if torch.equal(value, before[key])]
    assert not [key for key in still if not key.endswith("last.bias")]


@pytest.mark.parametrize("name", [n for n in NAMES if not plugins.load("am.methods", n).METHOD.uses_truth])
def test_only_those_that_declare_it_need_the_truth(name: str) -> None:
    assert predict(name, start()).x.shape == (3, 20, 2)


def test_the_oracle_refuses_to_guess() -> None:
    with pytest.raises(TypeError, match="truth"):
        build("oracle").sample(None, start(), TIMES, torch.Generator())


def test_no_score_no_langevin() -> None:
    class Unscored:
        dimension = 2

        def sample(self, time: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return torch.randn(len(time), 2, generator=generator)

    with pytest.raises(ConfigError, match="score of this data set is not known"):
        build("ald_true_score").sample(None, start(), TIMES, torch.Generator(), Unscored())


# -- what is no prediction -----------------------------------------------------------------------------


class Still(Method):
    """Returns what a test tells it to."""

    title = "still"

    def __init__(self, settings: Any, x: Any = None, log_weight: Any = None, field: Any = None) -> None:
        super().__init__(settings)
        self.found, self.field = (x, log_weight), field

    def sample(self, network: Any, start: Any, times: Any, generator: Any, truth: Any = None) -> Prediction:
        x, log_weight = self.found
        return x if isinstance(x, str) else Prediction(x, log_weight, 0)

    def velocity(self, network: Any, time: Any, x: Any) -> Any:
        return self.field

    def growth_rate(self, network: Any, time: Any, x: Any) -> Any:
        return self.field


GOOD = torch.zeros(3, 20, 2)


def with_number(shape: tuple[int, ...], value: float, *places: tuple[int, ...]) -> torch.Tensor:
    numbers = torch.zeros(shape)
    for place in places:
        numbers[place] = value
    return numbers


@pytest.mark.parametrize(
    ("x", "log_weight", "expected"),
    [
        ("words", None, "still: sample returned a str; a Prediction is needed"),
        (GOOD.numpy(), None, "still: x is a ndarray; a tensor of the shape (3, 20, 2) is needed"),
        (
            GOOD[1:],
            None,
            "still: x has the shape (2, 20, 2); floating-point numbers of the shape (3, 20, 2) are needed",
        ),
        (GOOD.long(), None, "still: x is of torch.int64; floating-point numbers of the shape (3, 20, 2) are needed"),
        (
            with_number((3, 20, 2), torch.nan, (1, 4, 0), (1, 4, 1), (1, 7, 1), (2, 0, 0)),
            None,
            "still: x is not finite for 2 of 20 particles at t = 0.3",
        ),
        (with_number((3, 20, 2), torch.inf, (2, 0, 0)), None, "still: x is not finite for 1 of 20 particles at t = 1"),
        (GOOD, torch.zeros(3), "still: log_weight has the shape (3,); floating-point numbers of the shape (3, 20) are"),
        (
            GOOD,
            with_number((3, 20), torch.inf, (1, 3)),
            "still: log_weight is not finite for 1 of 20 particles at t = 0.3",
        ),
    ],
)
def test_what_is_no_prediction_is_told_where_it_is_made(x: Any, log_weight: Any, expected: str) -> None:
    method = Still(Settings(), x, log_weight)
    with pytest.raises(PredictionError, match=re.escape(expected)):
        method.sample(None, start(), TIMES, torch.Generator())


def test_a_particle_may_lose_all_its_mass() -> None:
    gone = with_number((3, 20), -torch.inf, (2, 5))
    assert Still(Settings(), GOOD, gone).sample(None, start(), TIMES, torch.Generator()).log_weight is gone


@pytest.mark.parametrize(("name", "needed"), [("velocity", "(20, 2)"), ("growth_rate", "(20,)")])
def test_what_is_no_field_is_told_where_it_is_made(name: str, needed: str) -> None:
    time, shape = torch.full((20,), 0.3), (20, 2) if name == "velocity" else (20,)
    for field, expected in (
        (torch.zeros(3), f"still: {name} has the shape (3,); floating-point numbers of the shape {needed} are needed"),
        (torch.full(shape, torch.nan), f"still: {name} is not finite for 20 of 20 particles at t = 0.3"),
    ):
        with pytest.raises(PredictionError, match=re.escape(expected)):
            getattr(Still(Settings(), field=field), name)(None, time, start())
    assert getattr(Still(Settings()), name)(None, time, start()) is None
