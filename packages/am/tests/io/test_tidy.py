"""Tables are read as they were written, and refused in one sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from am.io.tidy import (
    BLOCK_COLUMNS,
    HISTORY_COLUMNS,
    METRIC_COLUMNS,
    TableError,
    blocks_beside,
    read_blocks,
    read_history,
    read_metrics,
    write_tidy,
)


def metrics(method: str) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    values = rng.lognormal(sigma=20, size=50)
    return pd.DataFrame(
        [("e", method, 0, 0.1 * k, "mmd", value, 5000) for k, value in enumerate(values)], columns=METRIC_COLUMNS
    )


def test_numbers_survive_to_the_last_bit(tmp_path: Path) -> None:
    # A method may be called what pandas takes for a missing value.
    frames = {name: metrics(name) for name in ("am", "42", "nan")}
    for name, frame in frames.items():
        write_tidy(frame, tmp_path / f"{name}.csv")
    back = read_metrics(tmp_path / f"{name}.csv" for name in frames)
    pd.testing.assert_frame_equal(back, pd.concat(frames.values(), ignore_index=True), check_exact=True)


def test_blocks_are_found_beside_metrics_where_there_are_some(tmp_path: Path) -> None:
    some = metrics("am").assign(block=3)
    for name, frame in (("some", some), ("none", some[:0]), ("no file", None)):
        (tmp_path / name).mkdir()
        if frame is not None:
            write_tidy(frame, tmp_path / name / "blocks.csv")
    beside = blocks_beside(tmp_path / name / "metrics.csv" for name in ("some", "none", "no file"))
    assert [path.parent.name for path in beside] == ["some"]
    pd.testing.assert_frame_equal(read_blocks(beside), some)
    assert list(read_blocks([]).columns) == list(BLOCK_COLUMNS)


def test_no_files_are_an_empty_table() -> None:
    assert list(read_history([]).columns) == list(HISTORY_COLUMNS)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such table"),
        ("", "not a table"),
        (b"\xff\xfe\x00", "not a table"),
        ("experiment,method,seed\n", "column 'time' is missing"),
        (",".join(METRIC_COLUMNS) + "\n", "no rows"),
        (",".join(METRIC_COLUMNS) + "\ne,m,0,0.1,mmd,oops,5\n", "column 'value' holds something that is not a number"),
        (",".join(METRIC_COLUMNS) + "\ne,m,0,0.1,mmd,1,5\na,b,c,d,e,f,g,h,i\n", "not a table"),
    ],
)
def test_a_bad_table_is_one_clear_sentence(tmp_path: Path, content: str | bytes | None, sentence: str) -> None:
    path = tmp_path / "metrics.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TableError, match=sentence) as caught:
        read_metrics([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
