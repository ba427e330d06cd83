"""What holds of every method, data set and distance, found as the library finds them: the checks of `am.testing`."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from am import plugins
from am.datasets import petals
from am.datasets.contract import Dataset
from am.dynamics.dynamics import Dynamics, Explicit
from am.io.snapshots import DataError
from am.methods.am import ActionMatching
from am.methods.contract import Method
from am.methods.eam import EntropicActionMatching
from am.metrics.evaluate import evaluate
from am.metrics.settings import IMAGE_METRICS, DistanceSettings
from am.testing import (
    Check,
    ContractError,
    check_dataset,
    check_distance,
    check_method,
    dataset_checks,
    distance_checks,
    method_checks,
)

pytestmark = pytest.mark.trains

DISTANCES = [kind for kind in get_args(DistanceSettings) if not issubclass(kind, IMAGE_METRICS)]
"""Those of images need images, and are tested where those are."""
SETTINGS = {"mmd": {"scales": [0.5]}}


def where_files_are(check: Check, dataset: Dataset) -> None:
    """Skip what asks for a file that is not here."""
    try:
        check()
    except DataError:
        try:
            dataset.sources()
        except DataError as absent:
            pytest.skip(str(absent))
        raise


def every_check() -> Iterator[Any]:
    for name in plugins.names("am.methods"):
        for check in method_checks(plugins.load("am.methods", name).METHOD):
            yield pytest.param(check, id=f"{name}-{check}")
    for name in plugins.names("am.datasets"):
        kind = plugins.load("am.datasets", name).DATASET
        for check in dataset_checks(kind):
            yield pytest.param(partial(where_files_are, check, kind(kind.settings_type())), id=f"{name}-{check}")
    for kind in DISTANCES:
        name = kind.model_fields["kind"].default
        for check in distance_checks(partial(evaluate, kind.model_validate(SETTINGS.get(name, {})))):
            yield pytest.param(check, id=f"{name}-{check}")


@pytest.mark.parametrize("check", [*every_check()])
def test_it_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def test_titles_tell_methods_apart() -> None:
    titles = [plugins.load("am.methods", name).METHOD.title for name in plugins.names("am.methods")]
    assert len(set(titles)) == len(titles)


# -- what breaks the contract is found -------------------------------------------------------------------


class Moved(Method[None]):
    """Particles that go where a function says."""

    title = "moved"
    positions: Any

    def dynamics(self, network: None) -> Dynamics:
        return Explicit(type(self).positions)


def lines(start: Tensor, times: Tensor) -> Tensor:
    return start * (1 + times - times[0])[:, None, None]


def in_place(start: Tensor, times: Tensor, rng: torch.Generator) -> Tensor:
    return lines(start.mul_(2), times)


def global_noise(start: Tensor, times: Tensor, rng: torch.Generator) -> Tensor:
    return lines(start, times) + torch.rand(()) * (times - times[0])[:, None, None]


def ordered(start: Tensor, times: Tensor, rng: torch.Generator) -> Tensor:
    return lines(start, times) + torch.arange(len(start))[:, None] * (times - times[0])[:, None, None]


@pytest.mark.parametrize(
    ("positions", "sentence"),
    [
        (lambda start, times, rng: lines(start, times) + 1, r"x\[0\] is not the start"),
        (lambda start, times, rng: lines(start, times).double(), "x is of torch.float64"),
        (lambda start, times, rng: lines(start, times) * torch.ones((), requires_grad=True), "x still has a gradient"),
        (in_place, "it changes the start in place"),
        (global_noise, "sampling draws from torch's own generator"),
        (ordered, "depends on its place in the batch"),
        (lambda start, times, rng: start + (times - times[0])[:, None, None], "do not move eight times as far"),
    ],
)
def test_a_motion_that_breaks_it(positions: Any, sentence: str) -> None:
    with pytest.raises(ContractError, match=rf"^moved: .*{sentence}"):
        check_method(type("Broken", (Moved,), {"__doc__": "It breaks.", "positions": staticmethod(positions)}))


class Noisy(ActionMatching):
    """Its loss draws from torch's own generator."""

    def loss(self, network: Any, path: Any, stream: Any) -> Any:
        loss, parts = super().loss(network, path, stream)
        return loss * (1 + torch.rand(())), parts


class Deaf(ActionMatching):
    """It learns nothing."""

    def loss(self, network: Any, path: Any, stream: Any) -> Any:
        loss, parts = super().loss(network, path, stream)
        return loss * 0 + stream.step, parts


class Seedless(ActionMatching):
    """Its network is the same for every seed."""

    def build(self, path: Any, generator: Any) -> Any:
        torch.manual_seed(0)
        return super().build(path, torch.Generator().manual_seed(0))


class Attached(ActionMatching):
    """What it logs holds the graph of every step."""

    def loss(self, network: Any, path: Any, stream: Any) -> Any:
        loss, _ = super().loss(network, path, stream)
        return loss, {"again": loss}


class Unitless(EntropicActionMatching):
    """Nobody knows the unit of its noise."""

    dimensions: ClassVar[Any] = {}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Noisy, "its loss draws from more than its stream"),
        (Deaf, "training moves no weight"),
        (Seedless, "another seed builds the same network"),
        (Attached, "that are logged still have gradients: again"),
        (Unitless, "'dimensions' lack those of sigma or growth"),
        (type("Untold", (ActionMatching,), {"__doc__": None}), "its docstring has no first line"),
        (type("Wordy", (ActionMatching,), {"__doc__": "A method.", "title": "m" * 30}), "its title is no 1 to 29"),
    ],
)
def test_a_method_that_breaks_it(kind: Any, sentence: str) -> None:
    with pytest.raises(ContractError, match=rf"^\S+: .*{sentence}"):
        check_method(kind)


class Leaky(petals.DATASET):
    """It is judged by what is learned from."""

    def test_points(self, time: float, size: int, seed: int, key: str) -> Any:
        x = super().test_points(time, size, seed, key)
        return np.concatenate([next(iter(self.training_points(3, 30, key)))[1][:1], x[1:]])


class Drawn(petals.DATASET):
    """All seeds have the same test points."""

    def test_points(self, time: float, size: int, seed: int, key: str) -> Any:
        return super().test_points(time, size, 0, key)


class Renamed(petals.DATASET):
    """It names a coordinate that there is not."""

    columns = ("x", "y", "z")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Leaky, "1 points are learned from and judged by"),
        (Drawn, "seeds share test points where they should not"),
        (Renamed, "its points have 2 coordinates and 3 columns"),
    ],
)
def test_a_data_set_that_breaks_it(kind: Any, sentence: str) -> None:
    with pytest.raises(ContractError, match=sentence):
        check_dataset(kind)


def largest_difference(x: Tensor, y: Tensor, rng: torch.Generator) -> float:
    return float((x.mean(0) - y.mean(0)).abs().max())


@pytest.mark.parametrize(
    ("distance", "sentence"),
    [
        (lambda x, y, rng: 1.0, "that of no dynamics, 1, is not twice that of two samples, 1"),
        (lambda x, y, rng: -largest_difference(x, y, rng), "that of no dynamics"),
        (lambda x, y, rng: float(largest_difference(x, y, rng) > 1.5), "that of half of the way, 0, is not between"),
        (lambda x, y, rng: largest_difference(x, y, rng) * float(1 + torch.rand(()) / 99), "the same points and gen"),
    ],
)
def test_a_distance_that_breaks_it(distance: Any, sentence: str) -> None:
    check_distance(largest_difference)
    with pytest.raises(ContractError, match=sentence):
        check_distance(distance)


@pytest.mark.parametrize("of", [check_method, check_dataset, check_distance])
def test_the_examples_of_the_checks_run(of: Any) -> None:
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(of, globs={}):
        runner.run(example)
    assert runner.summarize(verbose=False) == (0, runner.tries)
    assert runner.tries
