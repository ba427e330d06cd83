"""Checks that methods, data sets and distances of this library pass, for those of other packages.

Each check is a function without arguments, and tells in one sentence what does not hold. ``check_method``,
``check_dataset`` and ``check_distance`` run all of a kind; ``method_checks`` and the like list them, for pytest:

.. code-block:: python

    @pytest.mark.parametrize("check", method_checks(MyMethod), ids=str)
    def test_contract(check):
        check()
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import torch
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from am.config import ConfigError, Settings, merge, parse
from am.datasets.contract import Dataset
from am.dynamics.trajectory import DynamicsError
from am.io.snapshots import Snapshots, read_snapshots, write_snapshots
from am.marginals.finite import FiniteMarginals
from am.marginals.gaussian import Gaussian
from am.marginals.marginals import Marginals, ScoredMarginals
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import Method, Prediction, TrainedMethod, TruthMethod
from am.randomness import generator
from am.training.stream import Stream

Distance = Callable[[Tensor, Tensor, torch.Generator], float]
"""Of (n, d) and (m, d) points; the generator is for distances that are random themselves."""


class ContractError(AssertionError):
    """Something that every plug-in of its kind must do, and this one does not; its text is one sentence."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold: call it; ContractError where it does not."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Find out whether it holds."""
        self.run()

    def __str__(self) -> str:
        return self.name


def method_checks(kind: type[Method[Any]], **settings: Any) -> list[Check]:
    """What must hold of a method, learned or not, on a Gaussian path of which all is known.

    Parameters
    ----------
    settings
        Sections and keys of its settings, where the defaults would take long. Networks, iterations and batches of the
        usual names (``width``, ``iterations``, ``batch_size``, ...) are small without being named.

    Raises
    ------
    ConfigError
        There is no such setting.
    """
    subject = _Method(kind, settings)
    return _checks([*_ABOUT, *_METHOD, *(_TRAINED if issubclass(kind, TrainedMethod) else [])], subject)


def check_method(kind: type[Method[Any]], **settings: Any) -> None:
    """Run all of :func:`method_checks`.

    Raises
    ------
    ContractError
        One of them does not hold.

    Examples
    --------
    >>> from am.methods.contract import Method
    >>> from am.testing import check_method
    >>> class Shrinking(Method):
    ...     '''Particles that come together, two to one in a unit of time.'''
    ...
    ...     title = "shrinking"
    ...
    ...     def dynamics(self, network):
    ...         from am.dynamics.ode import Ode
    ...
    ...         return Ode(lambda time, x: -0.693 * x)
    >>> check_method(Shrinking)
    >>> class Blinking(Shrinking):
    ...     '''Particles that are somewhere else at once.'''
    ...
    ...     def dynamics(self, network):
    ...         from am.dynamics.dynamics import Explicit
    ...
    ...         return Explicit(lambda start, times, generator: start.expand(len(times), -1, -1) / 2)
    >>> check_method(Blinking)
    Traceback (most recent call last):
    am.testing.ContractError: shrinking: x[0] is not the start
    """
    _run(method_checks(kind, **settings))


def dataset_checks(kind: type[Dataset], **settings: Any) -> list[Check]:
    """What must hold of a data set: points of the right times, from the generator alone, and nothing learned twice.

    Parameters
    ----------
    settings
        Keys of its settings.

    Raises
    ------
    ConfigError
        There is no such setting.
    """
    return _checks([*_ABOUT, *_DATASET], _Dataset(kind, settings))


def check_dataset(kind: type[Dataset], **settings: Any) -> None:
    """Run all of :func:`dataset_checks`.

    Raises
    ------
    ContractError
        One of them does not hold.
    DataError
        A file that it is read from is not at hand.

    Examples
    --------
    >>> from am.datasets.petals import DATASET
    >>> from am.testing import check_dataset
    >>> check_dataset(DATASET)
    """
    _run(dataset_checks(kind, **settings))


def distance_checks(distance: Distance) -> list[Check]:
    """What must hold of a distance between samples: the controls bound it, on a path of which all is known."""
    return _checks(_DISTANCE, distance)


def check_distance(distance: Distance) -> None:
    """Run all of :func:`distance_checks`.

    Raises
    ------
    ContractError
        One of them does not hold.

    Examples
    --------
    >>> from am.testing import check_distance
    >>> check_distance(lambda x, y, generator: float((x.mean(0) - y.mean(0)).norm()))
    """
    _run(distance_checks(distance))


def _checks(functions: Iterable[Callable[[Any], None]], subject: Any) -> list[Check]:
    return [Check(function.__name__.strip("_"), partial(function, subject)) for function in functions]


def _run(checks: Iterable[Check]) -> None:
    for check in checks:
        check()


def _require(holds: bool, subject: str, sentence: str) -> None:
    if not holds:
        raise ContractError(f"{subject}: {sentence}")


# -- of methods and data sets ------------------------------------------------------------------------------


def _it_says_what_it_is(subject: _Method | _Dataset) -> None:
    first, _, _ = (subject.kind.__doc__ or "").partition("\n")
    said = len(first.split()) > 1 and first.endswith(".")
    _require(said, subject.title, "its docstring has no first line that ends with a full stop")


def _it_loads_without_torch(subject: _Method | _Dataset) -> None:
    module = subject.kind.__module__
    if subject.kind not in (getattr(sys.modules[module], name, None) for name in ("METHOD", "DATASET")):
        return  # it is not where a workflow finds one
    hidden = "import sys; sys.modules['torch'] = None; import importlib; importlib.import_module(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", hidden, module], capture_output=True, text=True, check=False, env=_with_path()
    )
    last = run.stderr.strip().rpartition("\n")[2]
    _require(run.returncode == 0, subject.title, f"its module {module} cannot be imported without torch ({last})")


def _with_path() -> dict[str, str]:
    """The environment of a Python that finds what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _every_setting_is_described(subject: _Method | _Dataset) -> None:
    def described(field: FieldInfo) -> bool:
        """By its own words, or as a section by those of its class."""
        annotation = field.annotation
        section = isinstance(annotation, type) and issubclass(annotation, Settings) and annotation.__doc__
        return bool(field.description or section)

    for model in _models_in(subject.kind.settings_type):
        silent = [name for name, field in model.model_fields.items() if not described(field)]
        _require(not silent, subject.title, f"these settings have no description: {', '.join(silent)}")


def _settings_have_defaults_and_are_closed(subject: _Method | _Dataset) -> None:
    kind = subject.kind.settings_type
    for model in _models_in(kind):
        closed = (model.model_config.get("extra"), model.model_config.get("frozen")) == ("forbid", True)
        _require(
            issubclass(model, Settings) and closed,
            subject.title,
            f"its settings {model.__name__} are no am.config.Settings, closed and frozen",
        )
    try:
        parse(kind, {"no_such_setting": 1}, "here")
    except ConfigError:
        pass
    else:
        raise ContractError(f"{subject.title}: it takes a setting that there is not")
    default = kind()
    again = parse(kind, json.loads(json.dumps(default.model_dump(mode="json"))), "here")
    _require(again == default, subject.title, "its settings do not come back from JSON as they were")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models_in(field.annotation)
    for argument in get_args(annotation):
        yield from _models_in(argument)


_ABOUT: list[Callable[[Any], None]] = [
    _it_says_what_it_is,
    _it_loads_without_torch,
    _every_setting_is_described,
    _settings_have_defaults_and_are_closed,
]


# -- of methods --------------------------------------------------------------------------------------------

# As large as the clouds of the experiments, for step sizes have units.
_PATH = Gaussian(lambda t: torch.stack([30 * t, -20 * t], -1), lambda t: 40 + 20 * t[:, None])
_N, _TIMES = 40, (0.0, 0.3, 1.0)
# Settings of these names take these values, wherever they stand, so that nothing takes long.
_SMALL = {
    **{"width": 8, "depth": 2, "iterations": 5, "batch_size": 32, "boundary_batch_size": 32, "snapshots": 1},
    **{"warmup": 0, "time_steps": 20, "steps": 20},
    **{"waves": 8, "degree": 3, "draws": 200},
}
_LENGTHS = {"sigma", "step_size", "p"}
"""Settings whose unit is one of length, or which make what is learned no linear function of lengths."""


class _Method:
    """A method with small settings, an untrained network or what stands for one, and a path scaled by a factor."""

    def __init__(self, kind: type[Method[Any]], settings: Mapping[str, Any], scale: float = 1.0) -> None:
        self.kind, self.given = kind, settings
        self.title = getattr(kind, "title", kind.__name__)
        small = _shrunk(kind.settings_type().model_dump(mode="json"))
        self.method = kind(parse(kind.settings_type, merge(small, settings), self.title))
        self.path = Gaussian(lambda t: scale * _PATH.mean(t), lambda t: scale * _PATH.scale(t))
        cells = [self.path.sample(torch.full((50,), t), generator("cells", t)) for t in _TIMES]
        self.learned: Marginals = SnapshotPath(cells, _TIMES) if kind.learns_from == "snapshots" else self.path
        self.start = self.path.sample(torch.zeros(_N), generator("start"))

    @property
    def learner(self) -> TrainedMethod[Any]:
        assert isinstance(self.method, TrainedMethod)  # noqa: S101  (for type checkers)
        return self.method

    def built(self, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: nn.Module = self.learner.build(self.learned, generator("build", seed))
        return network

    @cached_property
    def network(self) -> Any:
        if isinstance(self.method, TrainedMethod):
            return self.built()
        if isinstance(self.method, TruthMethod):
            return self.path
        return self.learned if self.method.learns_from == "snapshots" else None

    def sample(self, start: Tensor | None = None, times: tuple[float, ...] = _TIMES, seed: int = 0) -> Prediction:
        start = self.start if start is None else start
        return self.method.sample(self.network, start, torch.tensor(times), generator("sample", seed))


def _shrunk(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {name: _SMALL.get(name, _shrunk(value)) for name, value in settings.items()}
    return settings


def _its_title_is_short(subject: _Method) -> None:
    title = getattr(subject.kind, "title", "")
    _require(title.strip() == title and 0 < len(title) < 30, subject.title, "its title is no 1 to 29 characters")


def _settings_that_have_a_unit_say_so(subject: _Method) -> None:
    settings, stated = subject.method.settings.model_dump(), set(subject.method.dimensions)
    _require(stated >= {"sigma", "growth"} & set(settings), subject.title, "'dimensions' lack those of sigma or growth")
    numbers = {name for name, value in settings.items() if isinstance(value, float)}
    _require(stated <= numbers, subject.title, f"'dimensions' name no numbers: {', '.join(sorted(stated - numbers))}")


def _particles_go_from_their_start_to_every_time(subject: _Method) -> None:
    for times in (_TIMES, (0.4, 0.9)):
        given = subject.start.clone()
        prediction = subject.sample(times=times)
        _require(torch.equal(subject.start, given), subject.title, "it changes the start in place")
        _require(torch.equal(prediction.x[0], given), subject.title, "x[0] is not the start")
        _require(prediction.x.dtype == given.dtype, subject.title, f"x is of {prediction.x.dtype}, not of the start's")
        _require(not prediction.x.requires_grad, subject.title, "x still has a gradient")
        counted = isinstance(prediction.nfe, int) and prediction.nfe >= 0
        _require(counted, subject.title, f"nfe is {prediction.nfe!r}, not a number of evaluations")


def _particles_start_with_weight_one(subject: _Method) -> None:
    log_weight = subject.sample().log_weight
    if log_weight is not None:
        _require(not log_weight[0].any(), subject.title, "log_weight[0] is not 0")
        _require(not log_weight.requires_grad, subject.title, "log_weight still has a gradient")
        _require(bool(log_weight.isfinite().all()), subject.title, "log_weight is not finite")


def _times_that_nothing_was_learned_of_are_refused(subject: _Method) -> None:
    nan, infinite = float("nan"), float("inf")
    outside = [(0.0, 2.0), (0.0, 1.001), (-0.5, 1.0), (1.5, 2.0), (0.5, nan), (0.0, infinite)]
    for times in [*outside, (1.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.9, 0.4)]:
        _refuses(subject, lambda times=times: subject.sample(times=times), f"the times {times}")  # type: ignore[misc]


def _fields_are_not_told_at_times_that_nothing_was_learned_of(subject: _Method) -> None:
    method, network, x = subject.method, subject.network, subject.start
    fields: list[Any] = [partial(method.velocity, network), partial(method.growth_rate, network)]
    flow = method.flow(network)
    inside = torch.linspace(0, 1, _N)
    for field in [*fields, *([] if flow is None else [flow])]:
        if field(inside, x) is None:
            continue
        for time in (-0.01, 1.01, 2.0, float("nan")):
            times = torch.cat([inside[:-1], torch.tensor([time])])
            _refuses(subject, partial(field, times, x), f"a field at t = {time:g}")


def _refuses(subject: _Method, call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except DynamicsError:
        return
    raise ContractError(f"{subject.title}: it does not refuse {what} with a DynamicsError")


def _the_generator_is_the_only_randomness_of_a_method(subject: _Method) -> None:
    subject.network  # noqa: B018  (built before the state is looked at)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = subject.sample()
        _require(torch.equal(torch.get_rng_state(), before), subject.title, "sampling draws from torch's own generator")
        torch.manual_seed(2)
        second = subject.sample()
    same = torch.equal(first.x, second.x) and first.nfe == second.nfe
    _require(same, subject.title, "the same generator gives other samples")


def _particles_have_no_order(subject: _Method) -> None:
    """Where nothing is random. Where something is, other seeds must give other particles at every later time."""
    first, second = subject.sample(seed=0), subject.sample(seed=1)
    same = [torch.equal(a, b) for a, b in zip(first.x[1:], second.x[1:], strict=True)]
    if not all(same):
        _require(not any(same), subject.title, "another seed moves particles elsewhere at some times alone")
        return
    order = torch.randperm(_N, generator=generator("order"))
    there = subject.sample(subject.start[order]).x
    close = torch.allclose(there, first.x[:, order], rtol=1e-4, atol=1e-3)
    _require(close, subject.title, "where a particle goes depends on its place in the batch")


def _the_unit_of_length_is_the_readers(subject: _Method) -> None:
    """Data eight times as large, a power of two, move eight times as far; but for settings that are lengths."""
    lengths = _LENGTHS | {name for name, (length, _) in subject.method.dimensions.items() if length > 0}
    if _keys(subject.method.settings.model_dump()) & lengths:
        return
    large = _Method(subject.kind, subject.given, scale=8.0)
    near, far = subject.sample().x - subject.start, (large.sample().x - large.start) / 8
    close = torch.allclose(near, far, rtol=1e-3, atol=1e-3 * float(near.abs().max()))
    _require(
        close,
        subject.title,
        "data eight times as large do not move eight times as far; if a setting is a length, name it in 'dimensions'",
    )


def _keys(settings: Any) -> set[str]:
    below = settings.values() if isinstance(settings, dict) else []
    return {*(settings if isinstance(settings, dict) else ()), *(key for value in below for key in _keys(value))}


def _what_learns_never_sees_the_truth(subject: _Method) -> None:
    _require(not isinstance(subject.method, TruthMethod), subject.title, "it learns, so it must be no TruthMethod")


def _a_network_is_a_function_of_its_seed(subject: _Method) -> None:
    one, same, other = (subject.built(seed).state_dict() for seed in (0, 0, 1))
    _require(bool(one), subject.title, "its network has no weights")
    equal = all(torch.equal(one[key], same[key]) for key in one)
    _require(equal, subject.title, "the same seed builds another network")
    differs = any(not torch.equal(one[key], other[key]) for key in one)
    _require(differs, subject.title, "another seed builds the same network")


def _the_loss_is_a_finite_function_of_the_step(subject: _Method) -> None:
    network = subject.built()

    def loss(step: int) -> Tensor:
        value, parts = subject.learner.loss(network, subject.learned, Stream("key", step, 32, 32))
        for name, number in {"its loss": value, **parts}.items():
            good = number.shape == () and bool(number.isfinite())
            _require(good, subject.title, f"{name} is no finite number at step {step}: {number}")
        held = [name for name, number in parts.items() if number.requires_grad]
        _require(not held, subject.title, f"parts of its loss that are logged still have gradients: {', '.join(held)}")
        return value

    first = loss(0)
    _require(first.requires_grad, subject.title, "its loss has no gradient")
    _require(torch.equal(first, loss(0)), subject.title, "its loss draws from more than its stream")
    _require(not torch.equal(first, loss(1)), subject.title, "its loss is the same at every step")


def _training_moves_weights_and_what_follows_from_them(subject: _Method) -> None:
    before = {key: tensor.clone() for key, tensor in subject.built().state_dict().items()}
    untrained = subject.sample()

    def fit() -> dict[str, Tensor]:
        with TemporaryDirectory(prefix="am-") as state:
            network = subject.built()
            return subject.learner.train(network, subject.learned, key="key", state=Path(state)).weights

    weights, again = fit(), fit()
    _require(weights.keys() == before.keys(), subject.title, "training leaves other weights than there were")
    finite = all(bool(tensor.isfinite().all()) for tensor in weights.values())
    _require(finite, subject.title, "training leaves weights that are not finite")
    moved = any(not torch.equal(weights[key], before[key]) for key in weights)
    _require(moved, subject.title, "training moves no weight")
    same = all(torch.equal(weights[key], again[key]) for key in weights)
    _require(same, subject.title, "trained again with the same key, its weights are others")
    trained = _Method(subject.kind, subject.given)
    trained.network.load_state_dict(weights)
    differs = not torch.equal(trained.sample().x[-1], untrained.x[-1])
    _require(differs, subject.title, "particles move as they did before training")


_METHOD: list[Callable[[Any], None]] = [
    _its_title_is_short,
    _settings_that_have_a_unit_say_so,
    _particles_go_from_their_start_to_every_time,
    _particles_start_with_weight_one,
    _times_that_nothing_was_learned_of_are_refused,
    _fields_are_not_told_at_times_that_nothing_was_learned_of,
    _the_generator_is_the_only_randomness_of_a_method,
    _particles_have_no_order,
    _the_unit_of_length_is_the_readers,
]
_TRAINED: list[Callable[[Any], None]] = [
    _what_learns_never_sees_the_truth,
    _a_network_is_a_function_of_its_seed,
    _the_loss_is_a_finite_function_of_the_step,
    _training_moves_weights_and_what_follows_from_them,
]


# -- of data sets ------------------------------------------------------------------------------------------

_MANY, _FEW = 400, 20


class _Dataset:
    """A data set, and what the workflow prepares of it."""

    def __init__(self, kind: type[Dataset], settings: Mapping[str, Any]) -> None:
        self.kind, self.title = kind, kind.__name__
        self.dataset = kind(parse(kind.settings_type, settings, self.title))

    def prepared(self, folder: str, seeds: tuple[int, ...] = (0,), times: tuple[float, ...] | None = None) -> Path:
        """Few points, as ``am prepare`` writes them, for seeds and times."""
        times = times or (self.dataset.observed or (0.5, 1.0))[-2:]
        parts = [Snapshots.at(t, x, "train", -1) for t, x in self.dataset.training_points(3, 30, "check")]
        for seed in seeds:
            points = ((t, self.dataset.test_points(t, _FEW, seed, "check")) for t in sorted({0.0, *times}))
            parts += [Snapshots.at(t, x, "test", seed) for t, x in points]
        file = Path(folder) / f"{seeds}{times}.h5ad"
        data, columns = Snapshots.together(parts), self.dataset.columns
        width = data.x.shape[1]
        _require(width == len(columns), self.title, f"its points have {width} coordinates and {len(columns)} columns")
        write_snapshots(data, columns, file)
        return file

    def paths(self) -> Iterator[tuple[str, Marginals]]:
        """What is learned from, and what it is judged against."""
        with TemporaryDirectory(prefix="am-") as folder:
            file = self.prepared(folder)
            yield "the path to learn from", self.dataset.marginals(file)
            yield "the truth", self.dataset.truth(file)


def _times_to_ask(path: Marginals) -> Tensor:
    """Times to ask a path for; where points are finite, fewer than there are."""
    if isinstance(path, FiniteMarginals):
        return torch.tensor(list(path.points)).repeat_interleave(_FEW)
    return torch.linspace(0, 1, _MANY)


def _each_interval_between_snapshots_has_an_equal_share_of_time(subject: _Dataset) -> None:
    observed = subject.dataset.observed
    if observed is not None:
        equal = torch.linspace(0, 1, len(observed), dtype=torch.float64)
        close = torch.allclose(torch.tensor(observed, dtype=torch.float64), equal, rtol=0, atol=1e-12)
        _require(close, subject.title, "'observed' are no times at equal distances from 0 to 1")


def _points_have_the_coordinates_that_it_names(subject: _Dataset) -> None:
    columns = subject.dataset.columns
    _require(len(set(columns)) == len(columns), subject.title, "two columns have one name")
    for what, path in subject.paths():
        time = _times_to_ask(path)
        x = path.sample(time, generator("sample"))
        shape = (len(time), len(columns))
        _require(path.dimension == len(columns), subject.title, f"{what} has not as many coordinates as columns")
        good = x.shape == shape and x.dtype == torch.float32 and bool(x.isfinite().all())
        _require(good, subject.title, f"{what} does not give {shape} finite numbers in single precision")
        if isinstance(path, ScoredMarginals):
            score = path.score(time, x)
            good = score.shape == shape and bool(score.isfinite().all())
            _require(good, subject.title, f"the score of {what} is no {shape} finite numbers")


def _the_generator_is_the_only_randomness_of_points(subject: _Dataset) -> None:
    for what, path in subject.paths():
        time = _times_to_ask(path)
        with torch.random.fork_rng(devices=[]):
            before = torch.get_rng_state()
            first = path.sample(time, generator("sample"))
            untouched = torch.equal(torch.get_rng_state(), before)
            _require(untouched, subject.title, f"{what} draws from torch's own generator")
            torch.manual_seed(1)
            same = torch.equal(path.sample(time, generator("sample")), first)
        _require(same, subject.title, f"{what} gives other points to the same generator")
        differs = not torch.equal(path.sample(time, generator("other")), first)
        _require(differs, subject.title, f"{what} gives the same points to another generator")


def _each_point_has_its_own_time_whatever_stands_beside_it(subject: _Dataset) -> None:
    for what, path in subject.paths():
        n = _FEW if isinstance(path, FiniteMarginals) else _MANY
        early, late = torch.zeros(n), torch.full((n,), 1.0 if n == _FEW else 0.5)
        mixed = path.sample(torch.stack([early, late], -1).flatten(), generator("mixed"))
        for k, time in enumerate((early, late)):
            alone = path.sample(time, generator("alone", k))
            close = _p_value(mixed[k::2], alone) > 0.01
            _require(close, subject.title, f"points of {what} at t = {time[0]:g} depend on the times beside them")
        apart = _p_value(mixed[::2], mixed[1::2]) < 0.01
        _require(apart, subject.title, f"{what} does not move from t = 0 to t = {late[0]:g}")


def _p_value(x: Tensor, y: Tensor) -> float:
    """Probability that two samples of one distribution are at least so far apart, by permutations: energy distance."""
    distance = torch.cdist(torch.cat([x, y]), torch.cat([x, y])).double()
    sign = torch.cat([torch.full((len(x),), 1 / len(x)), torch.full((len(y),), -1 / len(y))]).double()
    rng = generator("permutations")
    signs = torch.stack([sign, *(sign[torch.randperm(len(sign), generator=rng)] for _ in range(499))])
    energies = -torch.einsum("pi,ij,pj->p", signs, distance, signs)
    return float((energies >= energies[0]).double().mean())


def _points_of_a_seed_and_a_time_do_not_depend_on_others(subject: _Dataset) -> None:
    with TemporaryDirectory(prefix="am-") as folder:
        many, one = (read_snapshots(subject.prepared(folder, *asked)) for asked in (((0, 1),), ((1,), (1.0,))))
    finite = isinstance(subject.dataset.truth(), FiniteMarginals)
    for time in (0.0, 1.0):
        same = bool((many.test(1, time) == one.test(1, time)).all())
        _require(same, subject.title, f"test points at t = {time:g} depend on which others are drawn")
        # Cells that are all there is are split once for all seeds.
        shared = bool((many.test(0, time) == many.test(1, time)).all())
        _require(shared == finite, subject.title, "seeds share test points where they should not, or have their own")
    training = [data.x[data.split == "train"] for data in (many, one)]
    same = training[0].shape == training[1].shape and bool((training[0] == training[1]).all())
    _require(same, subject.title, "training points depend on the seeds that are prepared")


def _no_point_is_both_learned_from_and_judged_by(subject: _Dataset) -> None:
    with TemporaryDirectory(prefix="am-") as folder:
        data = read_snapshots(subject.prepared(folder))
    learned, judging = ({row.tobytes() for row in data.x[data.split == split]} for split in ("train", "test"))
    _require(bool(learned and judging), subject.title, "there are no training points, or no test points")
    _require(not learned & judging, subject.title, f"{len(learned & judging)} points are learned from and judged by")


_DATASET: list[Callable[[Any], None]] = [
    _each_interval_between_snapshots_has_an_equal_share_of_time,
    _points_have_the_coordinates_that_it_names,
    _the_generator_is_the_only_randomness_of_points,
    _each_point_has_its_own_time_whatever_stands_beside_it,
    _points_of_a_seed_and_a_time_do_not_depend_on_others,
    _no_point_is_both_learned_from_and_judged_by,
]


# -- of distances ------------------------------------------------------------------------------------------

_SWARM = Gaussian(lambda t: torch.stack([2 * t, -t], -1), lambda t: 1 + 0.5 * t[:, None])


def _the_controls_bound_it(distance: Distance) -> None:
    """Who stands still is far beyond two samples of the truth, and half of the way lies between them."""

    def truth(name: str) -> Tensor:
        return _SWARM.sample(torch.ones(150), generator(name))

    def value(x: Tensor, name: str) -> float:
        return distance(x, truth(name), generator("metric"))

    start = _SWARM.sample(torch.zeros(150), generator("start"))
    floor = max(value(truth(f"a{i}"), f"b{i}") for i in range(20))
    still, half = value(start, "still"), value((start + truth("end")) / 2, "half")
    far = still > 2 * floor
    _require(far, "distance", f"that of no dynamics, {still:g}, is not twice that of two samples, {floor:g}")
    between = floor < half < still
    _require(between, "distance", f"that of half of the way, {half:g}, is not between {floor:g} and {still:g}")


def _it_is_a_function_of_its_generator(distance: Distance) -> None:
    x, y = (_SWARM.sample(torch.ones(50), generator(name)) for name in "xy")
    with torch.random.fork_rng(devices=[]):
        first = distance(x, y, generator("metric"))
        torch.manual_seed(1)
        second = distance(x, y, generator("metric"))
    _require(first == second, "distance", f"the same points and generator give {first:g} and {second:g}")


_DISTANCE: list[Callable[[Any], None]] = [_the_controls_bound_it, _it_is_a_function_of_its_generator]
