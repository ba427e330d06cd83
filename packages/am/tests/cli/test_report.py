"""The page of all results, in a real browser without network: it opens, its tables sort, its images show."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from am.io.provenance import Provenance, collect, origin, sidecar, write_origin, write_provenance
from am.report.verdicts import Judgement, Verdict, write_verdicts

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[4]
KEPT = ROOT / "results/expected"
VALUES = {"AM <b>": 0.3, "rival": -1.5, "other": 20.0}
BROWSER = shutil.which("chromium")


class Opened(HTMLParser):
    """Elements in their order, and what they refer to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def page(am: Any, tmp_path: Path) -> Path:
    """A report of one experiment with three methods, of which one has a name that HTML must not read."""
    config, results = tmp_path / "config", tmp_path / "results/tiny"
    (config / "experiments").mkdir(parents=True)
    (config / "scales").mkdir()
    tiny = ROOT / "tests/dag/tiny"
    shutil.copy(tiny / "experiment.yaml", config / "experiments/tiny.yaml")
    shutil.copy(tiny / "scale.yaml", config / "scales/tiny.yaml")
    (config / "config.yaml").write_text("scale: tiny\nexperiments: [tiny]\n")
    table = pd.read_csv(KEPT / "laptop/tables.csv").iloc[[0, 0, 0]]
    table = table.assign(metric="mmd", title=list(VALUES), control=False, mean=list(VALUES.values()), seeds=3)
    (results / "tables").mkdir(parents=True)
    write_recorded(table, results / "tables/tiny.csv")
    write_recorded(pd.read_csv(KEPT / "verdict.csv"), results / "verdict.csv")
    (results / "figures").mkdir()
    figure = results / "figures/tiny_times.png"
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(figure)
    write_origin(figure, origin([], "c0de"))
    run = results / "tiny/am/seed0"
    run.mkdir(parents=True)
    (run.parent / "config.yaml").write_text(yaml.safe_dump({"secret": "a & b"}))
    record = collect(
        code_digest="", config_sha256="", data=[], files=[], device="cpu", seed=0, started=datetime.now(UTC)
    )
    write_provenance(Provenance(**record | {"commit": "c1", "versions": {"torch": "9.9"}}), run / "provenance.json")
    out = tmp_path / "report.html"
    told = report(am, out)
    assert told.code == 0, told.err
    return out


def write_recorded(table: pd.DataFrame, file: Path) -> None:
    table.to_csv(file, index=False)
    write_origin(file, origin([], "c0de"))


def report(am: Any, page: Path) -> Any:
    config, results = page.parent / "config", page.parent / "results/tiny"
    return am("report", "--project", str(config), "--scale", "tiny", "--results", str(results), "--out", str(page))


def test_it_needs_nothing_else_and_begins_with_the_verdict(page: Path) -> None:
    text = page.read_text()
    found = Opened(text)
    for tag, attributes in found.tags:
        for name in ("src", "href"):
            if attributes.get(name) is not None:
                assert str(attributes[name]).startswith("data:"), (tag, attributes)
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == ["Verdicts", "Two methods and a control, on next to nothing", "Environment"]
    assert "AM &lt;b&gt;" in text
    assert "a &amp; b" in text
    for shown in ("c1", "9.9", "tiny_times.png"):
        assert shown in text


def test_project_scale_and_results_are_those_at_hand_unless_given(
    am: Any, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(page.parent)
    told = am("report", "--out", "again.html")
    assert told.code == 0, told.err
    assert "Two methods and a control, on next to nothing" in Path("again.html").read_text()
    assert am("report").code == 0
    assert Path("results/tiny/report.html").read_text() == Path("again.html").read_text()
    told = am("verify", "--out", "verdict.html")
    assert told.code == 1
    assert "there are no results of tiny to judge" in told.err  # whose metrics are not there


def test_without_a_verdict_it_says_what_to_run(am: Any, page: Path) -> None:
    results = page.parent / "results/tiny"
    (results / "verdict.csv").unlink()
    told = report(am, page)
    assert told.code == 1
    assert "verdict.csv: no such file; run the workflow to its verdict first" in told.err


def test_a_figure_that_is_not_as_recorded_is_left_out_with_a_sentence(am: Any, page: Path) -> None:
    figure = page.parent / "results/tiny/figures/tiny_times.png"
    Image.fromarray(np.ones((7, 9, 3), np.uint8)).save(figure)
    told = report(am, page)
    assert told.code == 1
    assert f"FAULT: {figure} is left out of the report: " in told.err
    assert "tiny_times.png is edited: it is not the file that was written" in page.read_text()
    figure.write_bytes(b"<svg onload='alert(1)'/>")
    write_origin(figure, origin([], "c0de"))
    assert report(am, page).code == 1
    assert "tiny_times.png is no PNG file" in page.read_text()
    sidecar(figure).write_text("[]")
    assert report(am, page).code == 1
    assert "tiny_times.png.provenance.json: not a record of provenance (not a mapping)" in page.read_text()
    sidecar(figure).unlink()
    assert report(am, page).code == 1
    text = page.read_text()
    assert "tiny_times.png is unrecorded: nothing tells what made it" in text
    assert "<img" not in text


@pytest.mark.parametrize("name", ["verdict.csv", "tables/tiny.csv"])
def test_a_table_that_is_not_as_recorded_is_left_out_with_a_sentence(am: Any, page: Path, name: str) -> None:
    file = page.parent / "results/tiny" / name
    pd.read_csv(file).assign(mean=0.123456).to_csv(file, index=False)
    told = report(am, page)
    assert told.code == 1
    assert f"{file} is left out of the report: " in told.err
    text = page.read_text()
    assert f"{file.name} is edited: it is not the file that was written" in text
    assert "0.123" not in text


def test_a_run_that_failed_is_shown_as_failed_with_its_reason(am: Any, page: Path) -> None:
    """One that left no seed, and one whose other seeds have a mean."""
    file = page.parent / "results/tiny/tables/tiny.csv"
    table = pd.read_csv(file).assign(failed=["seed 0: <killed>; seed 1: <killed>", "seed 2: disk full", ""])
    table.loc[0, ["mean", "low", "high"]] = np.nan
    table.loc[0, "seeds"] = 0
    write_recorded(table, file)
    assert report(am, page).code == 0
    words = re.sub(r"</?span[^>]*>", "", page.read_text())
    (shown,) = re.findall(r"<td>AM &lt;b&gt;</td><td[^>]*>([^<]*)</td>", words)
    assert shown == "failed"
    assert "<strong>failed</strong>: AM &lt;b&gt;, seed 0: &lt;killed&gt;; seed 1: &lt;killed&gt;</p>" in words
    assert "<strong>failed</strong>: rival, seed 2: disk full</p>" in words
    assert words.count("<strong>failed</strong>") == 2


def test_what_is_not_asked_for_is_no_part_of_it(am: Any, page: Path) -> None:
    runs = page.parent / "results/tiny/tiny"
    for left in ("am/seed5", "gone/seed0"):
        (runs / left).mkdir(parents=True)
        (runs / left / "provenance.json").write_text("no record")
    (runs / "gone/config.yaml").write_text("of: another run")
    assert report(am, page).code == 0
    assert "another run" not in page.read_text()


def test_a_mean_below_the_floor_is_marked_and_explained(am: Any, page: Path) -> None:
    file = page.parent / "results/tiny/tables/tiny.csv"
    table = pd.read_csv(file)
    for beyond in (False, True):
        write_recorded(table.assign(beyond_floor=[beyond, False, False]), file)
        assert report(am, page).code == 0
        assert page.read_text().count("(!)") == 2 * beyond  # beside the mean, and below the table


def test_a_cell_of_nothing_or_of_words_is_one_sentence(am: Any, page: Path) -> None:
    results = page.parent / "results/tiny"
    for file, columns in (
        (results / "verdict.csv", ("metric", "better", "published", "mean", "seeds")),
        (results / "tables/tiny.csv", ("metric", "title", "control", "mean", "nfe")),
    ):
        whole = file.read_text()
        table = pd.read_csv(file)
        for column in columns:
            for broken in (table.drop(columns=column), table.astype({column: object}).assign(**{column: "\t"})):
                broken.to_csv(file, index=False)
                told = report(am, page)
                if column in ("metric", "title", "better") and column in broken:
                    continue  # any word will do
                assert told.sentence.startswith(f"{file}: the column '{column}' "), column
        table.assign(mean=np.inf).to_csv(file, index=False)
        assert report(am, page).sentence == f"{file}: the column 'mean' holds a number that is not finite"
        table.assign(metric="").to_csv(file, index=False)
        assert report(am, page).sentence == f"{file}: the column 'metric' has an empty cell"
        for content in (b"", b"\0" * 20, b"\xff\xfe,", b'a,b\n"', whole.encode()[:200]):
            file.write_bytes(content)
            assert report(am, page).sentence.startswith(f"{file}: ")
        file.write_text(whole)
    assert report(am, page).code == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"commit": "c1", "device": "cpu", "versions": {}}'])
def test_a_record_that_is_none_is_one_sentence(am: Any, page: Path, content: str) -> None:
    (page.parent / "results/tiny/tiny/am/seed0/provenance.json").write_text(content)
    assert "provenance.json: not a record of provenance (" in report(am, page).sentence


def opened(page: Path) -> Any:
    """What a script in a page leaves as JSON, and as all that there is in its body."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    run = subprocess.run(
        [*command, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()],  # type: ignore[list-item]
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    body = re.search(r"<body>(.*?)</body>", run.stdout, re.DOTALL)
    assert body is not None, run.stdout[-500:]
    return json.loads(html.unescape(body[1]))


@pytest.fixture
def verdict_page(page: Path) -> Path:
    """The committed verdicts, with numbers of all shapes."""
    words = dict.fromkeys(Judgement.__dataclass_fields__, "")
    numbers = {"mean": -2.5e-4, "low": -9.99e-4, "high": -1.23e-6, "seeds": 3, "floor_mean": 4.56e-5}
    table = pd.read_csv(KEPT / "verdict.csv").fillna(words)
    table[["published", "published_spread"]] = 5.66e-4, 3.06e-4
    found = [
        Judgement(**row | numbers | {"verdict": Verdict(row["verdict"])})  # type: ignore[arg-type]
        for row in table.to_dict("records")
    ]
    out = page.with_name("verdict.html")
    write_verdicts(found, out.with_suffix(".csv"), out.with_suffix(".md"), out, origin([], "c0de"))
    return out


@pytest.mark.skipif(BROWSER is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("which", ["page", "verdict_page"])
def test_in_a_browser_no_line_breaks_a_number_and_no_page_scrolls_sideways(
    request: pytest.FixtureRequest, which: str, width: int
) -> None:
    page: Path = request.getfixturevalue(which)
    probe = r"""
    const inner = document.querySelector("iframe").contentDocument;
    const number = /\[-?\d[^\[\]]*\]|-?\d[\d.]*(?:e[-+]\d+)?(?: ± -?\d[\d.]*(?:e[-+]\d+)?)?/g;
    const told = {numbers: 0, broken: [], page: inner.documentElement.scrollWidth, tables: []};
    const texts = inner.createTreeWalker(inner.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      if (!texts.currentNode.parentElement.closest("td")) continue;
      for (const found of texts.currentNode.data.matchAll(number)) {
        const range = inner.createRange();
        range.setStart(texts.currentNode, found.index);
        range.setEnd(texts.currentNode, found.index + found[0].length);
        told.numbers += 1;
        if (range.getClientRects().length > 1) told.broken.push(found[0]);
      }
    }
    for (const table of inner.querySelectorAll("table")) told.tables.push(table.offsetWidth);
    document.body.innerHTML = "";
    document.body.append(JSON.stringify(told));"""
    frame = f'<iframe width="{width}" srcdoc="{html.escape(page.read_text())}"></iframe>'
    outer = page.with_name("outer.html")
    outer.write_text(f'<!DOCTYPE html>{frame}<script>addEventListener("load", () => {{{probe}}});</script>')
    told = opened(outer)
    assert told["numbers"] > 3
    assert told["broken"] == []
    assert told["page"] <= width
    assert max(told["tables"]) > 400


@pytest.mark.skipif(BROWSER is None, reason="needs Debian's chromium")
@pytest.mark.parametrize(("clicks", "expected"), [(0, list(VALUES)), (1, ["rival", "AM <b>", "other"]), (2, None)])
def test_in_a_browser_its_tables_sort_and_its_images_show(page: Path, clicks: int, expected: list[str] | None) -> None:
    probe = f"""
    <script>
    const faults = [];
    addEventListener("error", (event) => faults.push(String(event.message)), true);
    addEventListener("load", () => {{
      const table = document.querySelectorAll("table")[1];
      for (let i = 0; i < {clicks}; i++) table.tHead.rows[0].cells[1].firstChild.click();
      const told = {{
        order: [...table.tBodies[0].rows].map((row) => row.cells[0].textContent),
        images: [...document.images].map((image) => [image.complete, image.naturalWidth, image.naturalHeight]),
        faults,
      }};
      document.body.innerHTML = "";
      document.body.append(JSON.stringify(told));
    }});
    </script>"""
    page.write_text(page.read_text().replace("<head>", f"<head>{probe}", 1))
    told = opened(page)
    assert told["faults"] == []
    assert told["images"] == [[True, 9, 7]]
    assert told["order"] == (expected or ["other", "AM <b>", "rival"])
