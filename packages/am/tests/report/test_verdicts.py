"""Each branch of the rule, from rows of metrics to what people read."""

import io
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from am.io.provenance import Origin, sidecar
from am.io.tidy import METRIC_COLUMNS
from am.report import tables, verdicts
from am.report.estimates import estimate, seeds_needed
from am.report.labels import Label
from am.report.published import Published
from am.report.verdicts import Judgement, Verdict

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
        ([1.005, 0.995], entry(), Verdict.REPRODUCED, "within [0.90, 1.10]: 10 %"),
        ([1.01, 0.99], entry(), Verdict.CANNOT_SAY, "reaches across an end of [0.90, 1.10]: 10 %"),
        ([0.836 - 0.001, 0.836 + 0.001], entry(), Verdict.BETTER, "below [0.90, 1.10]"),
        ([0.836 - 0.006, 0.836 + 0.006], entry(), Verdict.CANNOT_SAY, "seeds would tell"),
        ([1.16 - 0.001, 1.16 + 0.001], entry(), Verdict.WORSE, "above"),
        ([1.16 - 0.006, 1.16 + 0.006], entry(), Verdict.CANNOT_SAY, "seeds would tell"),
        ([1.16 - 0.001, 1.16 + 0.001], entry(spread=0.2, spread_of="seeds"), Verdict.REPRODUCED, "over seeds"),
        ([1.16 - 0.001, 1.16 + 0.001], entry(spread=0.1, spread_of="seeds"), Verdict.WORSE, "[0.90, 1.10]"),
        ([1.05], entry(), Verdict.CANNOT_SAY, "One seed has no interval. Ours lies in [0.90, 1.10]"),
        ([1.15], entry(), Verdict.CANNOT_SAY, "One seed has no interval. Ours lies outside of [0.90, 1.10]"),
        ([1.0, math.nan], entry(), Verdict.CANNOT_SAY, "finite"),
        ([1.0, math.inf], entry(), Verdict.CANNOT_SAY, "finite"),
        ([1.0, 1.0], entry(confidence="unverified"), Verdict.CANNOT_SAY, "unverified"),
        ([1.0, 1.0], entry(None, confidence="not recovered"), Verdict.CANNOT_SAY, "not recovered"),
        ([1.0, 1.0], entry(scale="paper"), Verdict.CANNOT_SAY, "'paper'"),
        ([1.0, 1.0], entry(scale=["laptop", "paper"]), Verdict.REPRODUCED, "within"),
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


def test_the_noisier_ours_is_the_less_is_reproduced() -> None:
    """Hydrogen's AM at three seeds: an interval from below zero to far above once counted as reproduced."""
    (judgement,) = judge([1.5e-4, 3.5e-4, 7.0e-4], [entry(5.66e-4, spread=3.06e-4, spread_of="checkpoints")])
    assert judgement.verdict == Verdict.CANNOT_SAY
    assert "seeds would tell" in judgement.why


def test_the_seeds_that_are_named_are_the_first_that_decide() -> None:
    """With the same mean and spread, that many seeds give a verdict, and one fewer none."""
    (judgement,) = judge([0.94, 1.02], [entry()])
    needed = int(judgement.why.split("About ")[1].split(" seeds")[0])
    spread, verdicts_ = 0.08 / math.sqrt(2), []
    for count in (needed - 1, needed):
        values = np.resize([-1.0, 1.0], count)
        values = 0.98 + (values - values.mean()) / values.std(ddof=1) * spread
        verdicts_ += [judge(values.tolist(), [entry()])[0].verdict]
    assert verdicts_ == [Verdict.CANNOT_SAY, Verdict.REPRODUCED]


def test_points_that_all_seeds_share_can_forbid_a_verdict() -> None:
    assert seeds_needed(0.1, 0.05, 0.2) is None
    assert seeds_needed(0.1, 0.05, math.nan) == 4


@pytest.mark.parametrize(("true", "most"), [(1.1, 0.035), (0.9, 0.035), (1.3, 0.002), (0.7, 0.002)])
@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("shape", [4.0, 100.0])
def test_what_is_not_within_the_margin_is_hardly_ever_reproduced(
    true: float, most: float, seeds: int, shape: float
) -> None:
    """Gamma values, from skewed (spread half of the mean) to nearly normal; docs/decisions/verdicts.md tells these."""
    rates = error_rates(true, seeds, shape)
    assert rates.get("reproduced", 0.0) <= most
    wrong = "better" if true > 1 else "worse"
    assert rates.get(wrong, 0.0) <= 0.03


def test_the_page_tells_the_rates_that_are_simulated_here() -> None:
    page = (Path(__file__).parents[4] / "docs/decisions/verdicts.md").read_text(encoding="utf-8")
    for shape, spread in ((4.0, "50 %"), (100.0, "10 %")):
        for seeds in (3, 10):
            for true in (0.7, 1.0, 1.1):
                rates = error_rates(true, seeds, shape)
                shown = [f"{100 * rates.get(verdict, 0.0):.1f}" for verdict in ("reproduced", "better", "worse")]
                assert f"| {spread} | {seeds} | {true:g} | {' | '.join(shown)} |" in page


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.02), (10, 0.55)])
def test_what_is_reproduced_is_found_with_enough_seeds(seeds: int, least: float) -> None:
    assert error_rates(1.0, seeds, 100.0).get("reproduced", 0.0) >= least


def error_rates(true: float, seeds: int, shape: float, times: int = 1000) -> dict[str, float]:
    """How often each verdict comes of a published 1 with the margin .1, where the values of ours have this mean."""
    values = np.random.default_rng(0).gamma(shape, true / shape, (times, seeds))
    counts: dict[str, float] = {}
    for row in values:
        found = estimate(pd.Series(row), positive=True) | {"better": "lower"}
        verdict, _ = verdicts._compare(found, entry(), 1.0)
        counts[verdict] = counts.get(verdict, 0) + 1 / times
    return counts


def test_counts_come_first_and_what_is_unverified_is_apart() -> None:
    found = judge(
        [1.0, 1.001], [entry(1.0), entry(2.0), entry(None, confidence="not recovered"), entry(1.0, scale="paper")]
    )
    found += judge([], [entry(1.0), entry(1.0, confidence="unverified")])
    assert verdicts.counted(found) == (
        "1 of 4 published numbers reproduced, 1 better, 1 cannot say, 1 not run."
        " 1 more are unverified, and not counted."
    )
    order = [(one.verdict, one.confidence) for one in verdicts.ordered(found)]
    assert [verdict for verdict, _ in order[:2]] == ["reproduced", "better"]
    assert order[-1] == ("not run", "unverified")


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


@pytest.mark.parametrize(("level", "warned"), [(0.083, True), (0.084, False)])
def test_below_the_floor_is_a_warning(level: float, warned: bool) -> None:
    (judgement,) = judge([level, level], [entry(level)])  # one more of the floor is above 0.0832 with 97.5 %
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
    assert "above the floor's 95 % interval, which ends at 0." in judgement.warning
    (row,) = verdicts.rows([judgement])
    assert row[verdicts.HEADINGS.index("metric")] == "mmd, higher is better"
    assert not judge([0.2, 0.2], [entry()], higher=("mmd",))[0].warning
    assert not judge([0.01, 0.01], [entry()], higher=("mmd",))[0].warning


def test_what_else_is_to_be_known_stands_beside_the_reason() -> None:
    (judgement,) = judge([1.0, 1.001], [entry(note="ours has fewer cells")])
    (row,) = verdicts.rows([judgement])
    assert row[verdicts.HEADINGS.index("why")] == f"{judgement.why} Note: ours has fewer cells."
    (judgement,) = judge([1.0, 1.001], [entry()])
    (row,) = verdicts.rows([judgement])
    assert row[verdicts.HEADINGS.index("why")] == judgement.why


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


def unbroken(text: str) -> Counter[str]:
    """Intervals, numbers with their spread, and other numbers that a terminal shows of a text, line by line."""
    number = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?"
    return Counter(re.findall(rf"\[{number}, {number}\]|(?<!\w){number} ± {number}|(?<!\w){number}(?!\w)", text))


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize(
    ("show", "headings"),
    [
        (verdicts.claims, ("method", "metric", "experiment", "published", "ours", "floor", "controls", "why")),
        (verdicts.for_terminal, ("method", "ours", "why")),
    ],
)
def test_no_line_of_the_terminal_breaks_a_number(
    width: int, show: Callable[[list[Judgement]], object], headings: tuple[str, ...]
) -> None:
    (one,) = judge([0.01, 0.0101], [entry(5.66e-4, spread=3.06e-4, spread_of="checkpoints of one run")])
    found = [
        replace(one, title="a method of 250 steps", metric="m2", experiment="hydrogen (laptop)", claim="It is so."),
        replace(one, mean=-2.5e-4, low=-9.99e-4, high=-1.23e-6, floor_mean=-4.56e-5),
        replace(one, mean=99999.0, low=-99999.0, high=99999.0, controls="no dynamics 123; the oracle -4.56e-05"),
        *judge([0.9, 1.2, 1.3], [entry()]),
        *judge([0.12, 6.6], [entry()]),
        *judge([1.0], [entry()]),
    ]
    console = Console(file=io.StringIO(), width=width)
    console.print(show(found))
    assert isinstance(console.file, io.StringIO)
    shown = unbroken(console.file.getvalue())
    for row in verdicts.rows(found):
        told = " | ".join(dict(zip(verdicts.HEADINGS, row, strict=True))[heading] for heading in headings)
        shown_of_row = unbroken(told)
        assert shown_of_row
        shown.subtract(shown_of_row)
    assert not [number for number, count in shown.items() if count < 0]
