"""Published numbers are complete, or refused by name."""

from pathlib import Path
from typing import Any

import pytest

from am.config import ConfigError, parse
from am.report.published import Published, most_trusted, read_published

ENTRY = {"method": "am", "metric": "mmd", "value": 1.0, "confidence": "official", "source": "s", "claim": "c"}


@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"confidence": "not recovered"},
        {"spread": 0.1},
        {"spread_of": "seeds"},
        {"spread": -0.1, "spread_of": "seeds"},
        {"confidence": "certain"},
        {"confidance": "official"},
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^here: "):
        parse(Published, ENTRY | change, "here")


def test_a_scale_or_a_list_of_them_may_be_given() -> None:
    assert parse(Published, ENTRY | {"scale": "paper"}, "").scale == ("paper",)
    assert parse(Published, ENTRY | {"scale": ["laptop", "paper"]}, "").scale == ("laptop", "paper")


def test_the_most_trusted_of_several_is_shown() -> None:
    entries = [
        Published(**(ENTRY | {"value": value, "confidence": confidence}))
        for value, confidence in [(1, "unverified"), (2, "restated"), (3, "restated")]
    ]
    entries.append(Published(**(ENTRY | {"metric": "w1"})))
    chosen = most_trusted(entries, "am", "mmd")
    assert chosen is not None
    assert chosen.value == 2
    assert most_trusted(entries, "eam", "mmd") is None


# -- tables ----------------------------------------------------------------------------------------

HEADER = "method,metric,value,confidence,source,claim"
ROW = "am,mmd,1,official,s,c"


def table(folder: Path, text: str) -> Path:
    file = folder / "atom.csv"
    file.write_bytes(text.encode())
    return file


def test_a_table_gives_each_row_with_its_line_and_leaves_empty_cells_out(tmp_path: Path) -> None:
    text = f"""{HEADER},scale,at_times,expect,note
am,mmd,5.66e-4,official,"theirs, and ours",it works,laptop paper,,reproduced worse,"two
lines"

eam,mmd,,not recovered,s,c,,,,
cam,mmd,2,restated,s,c,paper,1 3,,
"""
    am, eam, cam = read_published(table(tmp_path, text))
    assert (am[0], eam[0], cam[0]) == (2, 5, 6)
    assert am[1] == parse(
        Published,
        {
            **{"method": "am", "metric": "mmd", "value": 5.66e-4, "confidence": "official"},
            **{"source": "theirs, and ours", "claim": "it works", "note": "two\nlines"},
            **{"scale": ["laptop", "paper"], "expect": ["reproduced", "worse"]},
        },
        "",
    )
    assert eam[1] == Published(method="eam", metric="mmd", confidence="not recovered", source="s", claim="c")
    assert (cam[1].scale, cam[1].at_times) == (("paper",), (1, 3))


def test_a_table_that_a_spreadsheet_wrote_is_read(tmp_path: Path) -> None:
    """With a byte order mark, and lines that end as on Windows."""
    assert read_published(table(tmp_path, f"\ufeff{HEADER}\r\n{ROW}\r\n")) == [(2, Published(**ENTRY))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: there is no header"),
        (HEADER.replace("claim", "clam"), "line 1, column clam: unknown column; did you mean 'claim'?"),
        (f"{HEADER},method", "line 1, column method: this column is given twice"),
        (HEADER.replace(",claim", ""), "line 1: the column 'claim' is missing"),
        (
            f"{HEADER}\n{ROW}\n{ROW},more",
            "line 3: the header has 6 columns, this row has 7; text with a comma stands in double quotes",
        ),
        (f"{HEADER}\n{ROW[:-1]}", "line 2, column claim: a value is required"),
        (
            f"{HEADER}\n\n{ROW.replace('official', 'offical')}",
            "line 3, column confidence: 'offical' may not stand here; did you mean 'official'?",
        ),
        (
            f"{HEADER},expect\n{ROW},reproduced bettr",
            "line 2, column expect: 'bettr' may not stand here; did you mean 'better'?",
        ),
        (f"{HEADER}\n{ROW.replace('1', '1O')}", "line 2, column value: input should be a valid number"),
        (f"{HEADER}\n{ROW.replace('1', 'nan')}", "line 2, column value: input should be a finite number"),
        (f"{HEADER},spread\n{ROW},0.1", "line 2: spread and spread_of are given together or not at all"),
        (f'{HEADER}\n"{ROW}', "line 2: not valid CSV: "),
    ],
)
def test_a_mistake_in_a_table_is_one_sentence_with_line_and_column(tmp_path: Path, text: str, expected: str) -> None:
    file = table(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_published(file)
    assert str(caught.value).startswith(f"{file}: {expected}")
    assert "\n" not in str(caught.value)


def test_a_table_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "atom.csv"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"atom\.csv: cannot be read"):
        read_published(file)
