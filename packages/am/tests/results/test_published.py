"""Published numbers are complete, or refused by name."""

from typing import Any

import pytest

from am.config import ConfigError, parse
from am.results.published import Published, most_trusted

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
