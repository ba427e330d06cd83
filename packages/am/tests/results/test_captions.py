"""Every figure has one caption, in words that need no markup."""

from __future__ import annotations

import pytest
from docutils.core import publish_parts

from am.results.figures.captions import caption, caption_file
from am.steps.draw import FIGURES


@pytest.mark.parametrize("figure", FIGURES)
def test_a_caption_reads_the_same_on_both_pages(figure: str) -> None:
    page = publish_parts(caption_file(figure).read_text(), writer="html", settings_overrides={"report_level": 5})
    assert caption(figure).endswith(".")
    assert " ".join(page["body"].split()) == f"<p>{caption(figure)}</p>"


def test_no_caption_is_of_no_figure() -> None:
    assert {file.stem for file in caption_file("times").parent.glob("*.rst")} == set(FIGURES)
