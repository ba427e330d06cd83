"""Numbers in the pages are those of the store of reference results; no result is typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from am.steps.pages import Store, render

from ..project import ROOT
from .pages import pages, prose

RESULTS = [
    "README.md",
    *(f"docs/{name}.md" for name in ("hydrogen", "cells", "digits", "patches", "synthetic", "growth")),
    *("docs/leaderboard.md", "docs/claims.md"),
]
"""Pages of results. A measurement stands between the comments that `am pages` fills, a setting in backticks."""
STORE = Store(ROOT / "results/expected")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_what_the_store_gives(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text()
    found = render(text, STORE)
    assert found.text == text, "run `make pages`"
    assert found.broken == []


def bare(text: str) -> list[str]:
    """Decimals and percentages that are neither written from the store nor settings; but for the level of intervals."""
    text = re.sub(r"^<!-- table:.*?^<!-- end -->$|<!--v .*?<!--/v-->", "", prose(text), flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->|<[^>\n]*>|`[^`]*`|\]\([^)]*\)|\b95 %", "", text, flags=re.DOTALL)
    return re.findall(r"(?<![\w.])-?\d*\.\d+(?:e-?\d+)?|\d+ ?%|\de-?\d+", text)


@pytest.mark.parametrize("name", RESULTS)
def test_no_result_is_typed_by_hand(name: str) -> None:
    assert bare((ROOT / name).read_text()) == []


def test_a_result_that_was_typed_is_found() -> None:
    page = "<!--v e am mmd-->0.1<!--/v--> of 0.25, .3, 4e-5 and 6 %; `sigma: 0.5`, 2 of 1,000, a 95 % interval"
    assert bare(page) == ["0.25", ".3", "4e-5", "6 %"]
