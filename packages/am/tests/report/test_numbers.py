"""Numbers are short and readable at any size."""

import math

import pytest

from am.report.numbers import interval, number, with_spread


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.456e-4, "3.46e-04"),
        (-3.456e-4, "-3.46e-04"),
        (0.0123456, "0.0123"),
        (0.7, "0.700"),
        (12.345, "12.3"),
        (165.87, "166"),
        (5000, "5000"),
        (1234567, "1.23e+06"),
        (0, "0"),
        (math.nan, "—"),
        (None, "—"),
        (math.inf, "inf"),
    ],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_interval_is_written_like_its_mean() -> None:
    assert interval(3.5e-4, 2.1e-4, 4.9e-4, 3) == "3.50e-04 [2.10e-04, 4.90e-04]"
    assert interval(0.012, 0.0085, 0.0155, 3) == "0.0120 [0.0085, 0.0155]"
    assert interval(0.1, -0.0001, 0.2, 2) == "0.100 [-0.000, 0.200]"


def test_an_interval_that_does_not_exist_is_shown_as_such() -> None:
    assert interval(3.5e-4, math.nan, math.nan, 1) == "3.50e-04 [no interval: 1 seed]"
    assert interval(math.nan, math.nan, math.nan, 3) == "— [no interval: 3 seeds]"
    assert interval(math.nan, math.nan, math.nan, 0) == "not run"


def test_a_spread_says_what_it_is_over() -> None:
    assert with_spread(5.66e-4, 3.06e-4, "checkpoints") == "5.66e-04 ± 3.06e-04 over checkpoints"
    assert with_spread(0.78, None) == with_spread(0.78, math.nan) == "0.780"
