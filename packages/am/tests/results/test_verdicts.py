"""Each branch of the rule, from rows of metrics to what people read."""

import io
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from am.results import tables, verdicts
from am.results.labels import Label
from am.results.provenance import Origin, sidecar
from am.results.published import Published
from am.results.tidy import METRIC_COLUMNS
from am.results.verdicts import Judgement, Verdict

LABELS = [Label("am", "AM"), Label("none", "no dynamics", control=True)]
ORIGIN = Origin(inputs={}, commit="abc", code_digest="def")


def metrics(values: list[float], method: str = "am") -> pd.DataFrame:
    return pd.DataFrame(
        [("e", method, seed, 0.5, "mmd", value, 10) for seed, value in enumerate(values)], columns=METRIC_COLUMNS
    )


def entry(value: float | None = 1.0, **changes: object) -> Published:
    base = {"method": "am", "metric": "mmd", "value": value, "confidence": "official", "source": "s", "claim": "c"}
    return Published.model_validate(base | changes)


FLOOR = metrics(list(np.linspace(0.1, 0.3, 101)), "floor")


def judge(
    values: list[float],
    published: list[Published],
    scale: str = "laptop",
    floor: pd.DataFrame = FLOOR,
    higher: tuple[str, ...] = (),
) -> list[Judgement]:
    controls = metrics([9.0, 9.2], "none")
    data = pd.concat([metrics(values), controls]) if values else controls
    summary = tables.summarise("e", data, floor, LABELS, published, higher=higher)
    return verdicts.judge("e", summary, LABELS, published, scale)


# Two seeds at m - h and m + h have the interval m -+ 12.706 h.
@pytest.mark.parametrize(
    ("values", "published", "verdict", "why"),
    [
        ([1.005, 0.995], entry(), Verdict.REPRODUCED, "10 %"),
        ([0.836 - 0.001, 0.836 + 0.001], entry(), Verdict.BETTER, "below [0.90, 1.10]"),
        ([0.836 - 0.006, 0.836 + 0.006], entry(), Verdict.REPRODUCED, "overlaps"),
        ([1.16 - 0.001, 1.16 + 0.001], entry(), Verdict.WORSE, "above"),
        ([1.16 - 0.006, 1.16 + 0.006], entry(), Verdict.REPRODUCED, "overlaps"),
        ([1.16 - 0.001, 1.16 + 0.001], entry(spread=0.1, spread_of="seeds"), Verdict.REPRODUCED, "over seeds"),
        ([1.16 - 0.001, 1.16 + 0.001], entry(spread=0.05, spread_of="seeds"), Verdict.WORSE, "[0.90, 1.10]"),
        ([1.05], entry(), Verdict.REPRODUCED, "one seed without an interval, lies in [0.90, 1.10]"),
        ([1.15], entry(), Verdict.CANNOT_SAY, "one seed without an interval, lies outside of [0.90, 1.10]"),
        ([1.0, math.nan], entry(), Verdict.CANNOT_SAY, "finite"),
        ([1.0, math.inf], entry(), Verdict.CANNOT_SAY, "finite"),
        ([1.0, 1.0], entry(confidence="unverified"), Verdict.CANNOT_SAY, "unverified"),
        ([1.0, 1.0], entry(None, confidence="not recovered"), Verdict.CANNOT_SAY, "not recovered"),
        ([1.0, 1.0], entry(scale="paper"), Verdict.CANNOT_SAY, "'paper'"),
        ([1.0, 1.0], entry(scale=["laptop", "paper"]), Verdict.REPRODUCED, "overlaps"),
        ([], entry(), Verdict.NOT_RUN, "'laptop'"),
        ([], entry(None, confidence="not recovered"), Verdict.NOT_RUN, "'laptop'"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_each_branch(values: list[float], published: Published, verdict: Verdict, why: str) -> None:
    (judgement,) = judge(values, [published])
    assert judgement.verdict == verdict
    assert why in judgement.why
    assert judgement.why.endswith(".")
    assert "no dynamics 9.10" in judgement.controls


def test_a_method_about_which_nothing_is_published_is_not_left_out() -> None:
    (judgement,) = judge([1.0, 1.1], [])
    assert judgement.verdict == Verdict.CANNOT_SAY
    assert "published" in judgement.why
    (first, second) = judge([1.0, 1.1], [entry(method="of somebody")])
    assert (first.method, first.verdict) == ("am", Verdict.CANNOT_SAY)
    assert (second.method, second.verdict) == ("of somebody", Verdict.NOT_RUN)


def test_several_published_values_are_judged_one_by_one() -> None:
    found = judge([1.0, 1.001], [entry(0.5), entry(1.0), entry(2.0)])
    assert [judgement.verdict for judgement in found] == [Verdict.WORSE, Verdict.REPRODUCED, Verdict.BETTER]


@pytest.mark.parametrize(("level", "warned"), [(0.104, True), (0.106, False)])
def test_below_the_floor_is_a_warning(level: float, warned: bool) -> None:
    (judgement,) = judge([level, level], [entry(level)])  # the 2.5 % quantile is 0.105
    assert judgement.verdict == Verdict.REPRODUCED
    assert ("a bug until explained" in judgement.warning) is warned


@pytest.mark.parametrize(
    ("value", "verdict", "why"),
    [(0.8, Verdict.WORSE, "below"), (1.2, Verdict.BETTER, "above"), (1.0, "reproduced", "")],
)
def test_where_higher_is_better_all_turns_around(value: float, verdict: Verdict, why: str) -> None:
    (judgement,) = judge([value - 1e-3, value + 1e-3], [entry()], higher=("mmd",))
    assert (judgement.verdict, judgement.better) == (verdict, "higher")
    assert f"wholly {why} [0.90, 1.10]" * bool(why) in judgement.why
    assert "above the floor's 97.5 % quantile, 0." in judgement.warning
    (row,) = verdicts.rows([judgement])
    assert row[verdicts.HEADINGS.index("metric")] == "mmd, higher is better"
    assert not judge([0.2, 0.2], [entry()], higher=("mmd",))[0].warning
    assert not judge([0.01, 0.01], [entry()], higher=("mmd",))[0].warning


def test_an_absent_floor_is_a_warning() -> None:
    (judgement,) = judge([1.0, 1.0], [entry()], floor=FLOOR[:0])
    assert "No floor" in judgement.warning


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def test_files_say_the_same_and_cannot_be_broken_by_what_they_say(tmp_path: Path) -> None:
    nasty = entry(claim="<script>alert('x')</script> & \"so\" | on", source="<a href='x'>here</a>")
    found = judge([1.0, 1.001], [nasty, entry(2.0, confidence="restated")])
    csv, markdown, page = (tmp_path / f"verdict.{suffix}" for suffix in ("csv", "md", "html"))
    verdicts.write_verdicts(found, csv, markdown, page, ORIGIN)

    table = pd.read_csv(csv)
    assert list(table["verdict"]) == ["reproduced", "better"]
    assert list(table["claim"]) == [nasty.claim, "c"]

    cells = Cells()
    cells.feed(page.read_text(encoding="utf-8"))
    assert not cells.tags & {"script", "a", "link", "img"}
    assert cells.links == []
    head, *body = cells.rows
    assert tuple(head) == verdicts.HEADINGS
    assert [row[head.index("verdict")] for row in body] == ["reproduced", "better"]
    assert nasty.claim in body[0][head.index("published")]

    lines = [line for line in markdown.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert [line.split(" | ")[head.index("verdict")] for line in lines[2:]] == ["reproduced", "better"]
    assert all(sidecar(path).exists() for path in (csv, markdown, page))


@pytest.mark.parametrize("width", [60, 200])
def test_the_terminal_shows_every_verdict_and_reason(width: int) -> None:
    found = judge([0.01, 0.0101], [entry(0.01), entry(2.0)])
    console = Console(file=io.StringIO(), width=width)
    console.print(verdicts.for_terminal(found))
    assert isinstance(console.file, io.StringIO)
    shown = " ".join(console.file.getvalue().split())
    for judgement in found:
        assert f"{judgement.title}: {judgement.verdict}. {judgement.why}" in shown
        assert judgement.warning
        assert judgement.warning in shown
