"""Learning time: every interval has an equal share, and evenly spaced times stay as they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from am.io.clock import LearningClock

MINUTES = np.array([0.0, 5, 15, 60, 1440, 10080])


def test_each_interval_has_an_equal_share_and_the_way_back_is_the_inverse() -> None:
    clock = LearningClock(MINUTES)
    assert clock.learning(MINUTES).tolist() == clock.knots.tolist() == (np.arange(6) / 5).tolist()
    assert clock.user(clock.knots).tolist() == MINUTES.tolist()
    assert float(clock.learning(10)) == pytest.approx(0.3)
    t = np.linspace(0, 1, 1001)
    assert (np.diff(clock.user(t)) > 0).all()
    np.testing.assert_allclose(clock.learning(clock.user(t)), t, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [0, -3, 7])
@pytest.mark.parametrize("step", [1, 2.5, 24])
@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_for_evenly_spaced_times_it_is_exactly_the_share_of_the_clock_that_has_passed(
    first: float, step: float, count: int
) -> None:
    times = first + step * np.arange(count)
    clock, span = LearningClock(times), times[-1] - times[0]
    assert clock.learning(times).tolist() == ((times - times[0]) / span).tolist()
    assert {clock.pace(time) for time in times.tolist()} == {span}


def test_paces_are_those_of_the_intervals_and_their_mean_in_between() -> None:
    clock = LearningClock(np.array([2.0, 3, 7]))
    assert clock.paces.tolist() == [2, 8]
    assert [clock.pace(time) for time in (2, 2.5, 3, 4, 7)] == [2, 2, 5, 8, 8]


@pytest.mark.parametrize("outside", [-1e-3, 10080.001, math.nan, math.inf])
def test_times_outside_of_the_course_are_refused(outside: float) -> None:
    clock = LearningClock(MINUTES)
    for read in (clock.learning, clock.pace):
        with pytest.raises(ValueError, match="times must be between 0 and 10080, got"):
            read(outside)
    with pytest.raises(ValueError, match="times must be between 0 and 1, got"):
        clock.user([0.5, 1.001])


@pytest.mark.parametrize("times", [[], [1], [1, 1], [2, 1], [0, math.nan], [0, math.inf], [[0, 1]]])
def test_times_that_make_no_course_are_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two times that increase"):
        LearningClock(np.array(times, float))
