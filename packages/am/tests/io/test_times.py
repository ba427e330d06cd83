"""Words for times: each with the numbers and the unit that it means, or the sentence that refuses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from am.io.snapshots import DataError
from am.io.times import read_times

UNDERSTOOD: list[tuple[list[Any], list[float], str | None]] = [
    ([2, 5.5], [2, 5.5], None),
    (["2", "5.5"], [2, 5.5], None),
    ([b"1", b"2"], [1, 2], None),
    ([True, False], [1, 0], None),
    (["t0", "T24"], [0, 24], None),
    (["time point 1", "tp2"], [1, 2], None),
    (["day 2", "Day_10"], [2, 10], "days"),
    (["D2", "d2.5"], [2, 2.5], "days"),
    (["day -2", "day \u22121", "D+3"], [-2, -1, 3], "days"),
    (["E8.5", "e9.25"], [8.5, 9.25], "days"),
    (["P0", "P7"], [0, 7], "days"),
    (["48h", "72 hours", "t96h"], [48, 72, 96], "hours"),
    (["12 hpf", "1dpf"], [12, 24], "hours"),
    (["3 days post infection", "day 7 post infection"], [3, 7], "days"),
    (["8 pcw", "PCW 9"], [8, 9], "weeks"),
    (["30 min", "2h"], [30, 120], "minutes"),
    (["12h", "2d"], [12, 48], "hours"),
    (["26.4h", "1.1d"], [26.4, 26.4], "hours"),
    (["0", "12h"], [0, 12], "hours"),
    (["week 3", "1 wk"], [3, 1], "weeks"),
    (["3 months old", "1 year old"], [3, 12], "months"),
    (["2020-01-31", "2020/02-02".replace("/", "-")], [0, 2], "days"),
    (["2020-01-01 10:00", "2020-01-02T00:00:00Z"], [0, 14], "hours"),
    ([20200131, 20200201], [0, 1], "days"),
    ([pd.Timestamp("2020-01-03"), pd.Timestamp("2020-01-01")], [2, 0], "days"),
    ([pd.Timestamp("2020-01-01 00:00"), pd.Timestamp("2020-01-01 00:30")], [0, 30], "minutes"),
    ([np.datetime64("2020-01-01"), np.datetime64("2020-01-08")], [0, 7], "days"),
    ([pd.Timedelta("2d"), pd.Timedelta("36h")], [48, 36], "hours"),
    (["2 days 00:00:00", "2 days, 12:30:00"], [2880, 3630], "minutes"),
]


@pytest.mark.parametrize("kind", [None, "category", object])
@pytest.mark.parametrize(("entries", "numbers", "unit"), UNDERSTOOD, ids=[str(case[0]) for case in UNDERSTOOD])
def test_words_mean_numbers_of_one_unit(entries: list[Any], numbers: list[float], unit: str | None, kind: Any) -> None:
    column = pd.Series([*entries, entries[0]], dtype=kind)
    times = read_times(column, "day", "cells")
    np.testing.assert_array_equal(times.values, [*numbers, numbers[0]])
    assert times.unit == unit
    assert times.words.keys() == set(numbers)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (["day-2", "day0"], "'day-2' in 1 of 2 cells, which may be 2 days after the start or before it"),
        (["1h", "30m"], "'30m' in 1 of 2 cells, which may be minutes or months"),
        (["12", "12h", "24h", "12"], "'12' in 2 of 4 cells, which has no unit where '12h' has one"),
        (["E18.5", "P0"], "'P0' in 1 of 2 cells, which does not count from the same moment as 'E18.5'"),
        (["48h", "72hpf"], "'72hpf' in 1 of 2 cells, which does not count from the same moment as '48h'"),
        (["month 2", "day 4"], "'day 4' in 1 of 2 cells, which does not convert to the unit of 'month 2'"),
        (["d2", "control", "control"], "'control' in 2 of 3 cells, which is not understood as a time"),
        (["nan", "3"], "'nan' in 1 of 2 cells, which is not understood as a time"),
        (["S1", "S2"], "'S1' in 1 of 2 cells, which is not understood"),
        (["2,5", "3"], "'2,5' in 1 of 2 cells, which is not understood"),
        (["Day 00-03", "Day 06-09"], "'Day 00-03' in 1 of 2 cells, which is not understood"),
        (["01/02/2020", "03/02/2020"], "'01/02/2020' in 1 of 2 cells, which is not understood"),
        (["2020-13-01", "2020-01-01"], "'2020-13-01' in 1 of 2 cells, which is not understood"),
        ([np.inf, 1.0], "'inf' in 1 of 2 cells, which is not understood"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_cells(entries: list[Any], sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        read_times(pd.Series(entries), "day", "cells")
    assert str(caught.value).startswith(f"cells holds {sentence}")
    line = str(caught.value).partition("column of their own: ")[2]
    assert line.startswith("adata.obs['day_number'] = adata.obs['day'].map({")
    compile(line, "line", "exec")


def test_a_missing_time_is_counted() -> None:
    with pytest.raises(
        DataError, match=r"cells is missing for 2 of 3 cells; leave them out: adata = adata\[adata\.obs"
    ):
        read_times(pd.Series([None, "2d", None]), "day", "cells")


def test_categories_of_no_cell_count_for_nothing() -> None:
    column = pd.Series(pd.Categorical(["2d", "3d"], ["control", "2d", "3d"]))
    assert read_times(column, "day", "cells").values.tolist() == [2, 3]
