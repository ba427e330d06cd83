"""Particles that cannot be drawn afresh: none comes twice, and none of a time that was not seen."""

from __future__ import annotations

import pytest
import torch

from am.io.snapshots import DataError
from am.marginals.finite import FiniteMarginals
from am.randomness import generator

EARLY = torch.arange(10.0)[:, None].expand(10, 2)
LATE = 100 + torch.arange(4.0)[:, None].expand(4, 2)
PATH = FiniteMarginals({0.0: EARLY, 1 / 3: LATE})


def test_all_are_drawn_before_one_comes_twice() -> None:
    time = torch.tensor(10 * [0.0] + 4 * [1 / 3])[torch.randperm(14, generator=generator("order"))]
    x = PATH.sample(time, generator("draw"))
    assert sorted(x[time == 0, 0].tolist()) == EARLY[:, 0].tolist()
    assert sorted(x[time > 0, 0].tolist()) == LATE[:, 0].tolist()


def test_each_is_as_likely_as_another() -> None:
    draws = torch.stack([PATH.sample(torch.zeros(3), generator("draw", i))[:, 0] for i in range(2000)]).long()
    expected = 2000 * 3 / 10
    chi_squared = ((torch.bincount(draws.flatten(), minlength=10) - expected) ** 2 / expected).sum()
    assert chi_squared < 27.9  # its 99.9 % quantile at 9 degrees of freedom
    assert (torch.bincount(draws[:, 0], minlength=10) > 130).all()  # no order is left either


def test_what_there_is_not_is_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match=r"^5 different cells asked for at time 0\.333333, there are 4$"):
        PATH.sample(torch.full((5,), 1 / 3), generator("draw"))
    with pytest.raises(DataError, match=r"^nothing was observed at time 0\.5; observed times: 0, 0\.333333$"):
        PATH.sample(torch.full((1,), 0.5), generator("draw"))
