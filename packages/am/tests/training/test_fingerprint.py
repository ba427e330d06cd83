"""The digest of data in memory: the same for the same content, another for any other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pytest
import torch

from am.marginals.snapshots import SnapshotPath
from am.training.fingerprint import fingerprint

pytestmark = pytest.mark.trains


def path(shift: float = 0.0, **options: Any) -> SnapshotPath:
    points = [torch.arange(20.0).view(10, 2) + shift * k for k in range(2)]
    return SnapshotPath(points, [0.0, 1.0], **options)


def times(factor: float) -> Callable[[Any], Any]:
    return lambda t: factor * t


@dataclass
class Holder:
    value: Any = None
    seen: list[int] = field(default_factory=list)

    @cached_property
    def made(self) -> int:
        return len(self.seen)


DIFFERENT: list[Any] = [
    *(None, 0, 1, 1.0, True, "1", b"1", 1j, [], (), {}, [1], (1,), [[1]], [1, 2], [2, 1], {1}, {"a": 1}, {"a": 2}),
    *(torch.zeros(2), torch.zeros(3), torch.zeros(2, 1), torch.zeros(2).double(), torch.ones(2)),
    *(np.zeros(2), np.zeros(2, np.float32), np.zeros((2, 1)), np.array(["a"], object), np.array(["b"], object)),
    *(times(1), times(2), partial(times, 1), partial(times, 2), times, len, Holder, Holder(), Holder(1), Holder([1])),
    *(path(), path(1.0), path(smoothing=0.1), path(coupling="independent"), path(masses=[1, 2]), path(relaxation=2.0)),
]


def test_other_content_has_another_digest() -> None:
    found = [fingerprint(value) for value in DIFFERENT]
    assert len(set(found)) == len(DIFFERENT)


def test_the_same_content_has_the_same() -> None:
    for make in (path, Holder, lambda: times(3), lambda: {"a": 1, "b": {1, 2, "c"}}, lambda: torch.arange(3)):
        assert fingerprint(make()) == fingerprint(make())
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(torch.arange(6).view(2, 3).T) == fingerprint(torch.arange(6).view(2, 3).T.contiguous())


def test_what_is_filled_in_use_does_not_count() -> None:
    used, holder = path(), Holder()
    before = fingerprint(used), fingerprint(holder)
    used.sample(torch.rand(5), torch.Generator())
    assert used._plans
    assert holder.made == 0
    assert (fingerprint(used), fingerprint(holder)) == before


def test_what_holds_itself_ends() -> None:
    one: list[Any] = [1]
    one.append(one)
    assert len(fingerprint(one)) == 64


@pytest.mark.parametrize("seed", ["0", "1"])
def test_it_is_the_same_in_every_process(seed: str) -> None:
    code = (
        "import torch; from am.marginals.gaussian import Gaussian; from am.training.fingerprint import fingerprint;"
        "print(fingerprint([Gaussian(lambda t: torch.stack([t, t]), lambda t: t[:, None]), {'a', 'b', 'c'}, {'x': 1}]))"
    )

    def said(hash_seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)

    assert said(seed) == said("2")
