"""A rerun beside the reference: what is identical, what differs as seeds do, and what differs more."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from am.report.agreement import agreement

VALUES = {"near": (1.0, 2.0, 3.0), "far": (10.0, 10.1, 10.2), "fixed": (5.0, 5.0, 5.0)}


def table(shifts: dict[str, float] | None = None, seeds: int = 3, time: float = 0.5) -> pd.DataFrame:
    rows = [
        ("e", method, seed, time, "mmd", value + (shifts or {}).get(method, 0.0), 100)
        for method, values in VALUES.items()
        for seed, value in enumerate(values[:seeds])
    ]
    return pd.DataFrame(rows, columns=["experiment", "method", "seed", "time", "metric", "value", "n_samples"])


def test_the_same_numbers_are_identical() -> None:
    found = agreement(table(), table())
    assert (found.values, found.identical) == (9, 9)
    assert found.means["ratio"].tolist() == [0, 0, 0]
    assert len(found.lines()) == 2


@pytest.mark.parametrize(
    ("shift", "ratio"),
    [(0.5, 0.5), (-2.0, 2.0), (1e-9, 0.0)],  # in units of the standard deviation of 1, 2, 3; the last is rounding
)
def test_a_difference_is_measured_by_the_spread_over_seeds(shift: float, ratio: float) -> None:
    found = agreement(table(), table({"near": shift}))
    assert found.identical == 6
    assert found.means.set_index("method").loc["near", "ratio"] == pytest.approx(ratio)
    assert list(found.beyond["method"]) == ["near"] * (ratio > 1)


def test_what_is_beyond_the_spread_is_named_the_farthest_first() -> None:
    found = agreement(table(), table({"near": 1.5, "far": 0.4}))
    assert list(found.beyond["method"]) == ["far", "near"]
    assert found.lines()[1:] == [
        "Of 3 means over seeds, 1 are the same but for rounding, 0 differ within the spread over seeds, 2 beyond it.",
        "  e, far, mmd at t = 0.5: 10.5, reference 10.1 (4.0 standard deviations)",
        "  e, near, mmd at t = 0.5: 3.50, reference 2.00 (1.5 standard deviations)",
    ]


def test_where_all_seeds_give_one_value_any_other_is_beyond_the_spread() -> None:
    found = agreement(table(), table({"fixed": 1e-3}))
    assert list(found.beyond["ratio"]) == [math.inf]
    assert "(all seeds gave one value)" in found.lines()[2]


def test_one_seed_has_no_spread_and_is_counted_by_itself() -> None:
    found = agreement(table(seeds=1), table({"near": 5.0}, seeds=1))
    assert found.beyond.empty
    assert found.lines()[1].endswith("0 beyond it, and 1 of one seed differ.")


def test_only_seeds_of_both_are_compared() -> None:
    found = agreement(table(), table(seeds=2))
    assert (found.values, found.identical) == (6, 6)
    assert found.means["reference"].tolist() == [1.5, 10.05, 5.0]
    assert (found.only_reference, found.only_rerun) == ([], [])


def test_runs_of_one_side_are_named() -> None:
    reference, rerun = table(), table()
    found = agreement(reference[reference["method"] != "near"], rerun[rerun["method"] != "far"])
    assert (found.only_reference, found.only_rerun) == (["e, far"], ["e, near"])
    assert found.lines()[2:] == ["Runs not rerun: e, far.", "Runs without a reference: e, near."]


@pytest.mark.parametrize("time", [math.nan, 0.1 + 0.2])
def test_values_without_a_time_and_times_that_were_written_and_read_are_found_again(time: float) -> None:
    found = agreement(table(time=time), table(time=time if math.isnan(time) else 0.3))
    assert found.values == found.identical == 9
    assert len(found.means) == 3


def test_nan_agrees_with_nan_and_with_nothing_else() -> None:
    broken = table({"near": math.nan})
    assert agreement(broken, broken).identical == 9
    found = agreement(table(), broken)
    assert found.identical == 6
    assert len(found.lines()) == 2


def test_it_is_told_in_ten_lines_however_much_differs() -> None:
    many = pd.concat([table({"near": 9.0, "far": 9.0, "fixed": 9.0}).assign(metric=str(number)) for number in range(9)])
    reference = pd.concat([table().assign(metric=str(number)) for number in range(9)])
    gone = pd.concat([reference, *(table().assign(experiment=str(number)) for number in range(9))])
    new = pd.concat([many, *(table().assign(method=str(number)) for number in range(9))])
    assert len(agreement(gone, new).lines()) == 10
