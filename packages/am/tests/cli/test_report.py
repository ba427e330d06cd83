"""The page of all results, in a real browser without network: it opens, its tables sort, its images show."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

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
    table = pd.read_csv(KEPT / "laptop/tables/hydrogen.csv").iloc[[0, 0, 0]]
    table = table.assign(metric="mmd", title=list(VALUES), control=False, mean=list(VALUES.values()), seeds=3)
    (results / "tables").mkdir(parents=True)
    table.to_csv(results / "tables/tiny.csv", index=False)
    verdicts = pd.read_csv(KEPT / "verdict.csv")
    verdicts.to_csv(results / "verdict.csv", index=False)
    (results / "figures").mkdir()
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(results / "figures/tiny_times.png")
    run = results / "tiny/am/seed0"
    run.mkdir(parents=True)
    (run.parent / "config.yaml").write_text(yaml.safe_dump({"secret": "a & b"}))
    (run / "provenance.json").write_text(json.dumps({"commit": "c1", "device": "cpu", "versions": {"torch": "9.9"}}))
    out = tmp_path / "report.html"
    told = am("report", "--project", str(config), "--scale", "tiny", "--results", str(results), "--out", str(out))
    assert told.code == 0, told.err
    return out


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


def test_without_a_verdict_it_says_what_to_run(am: Any, page: Path) -> None:
    results = page.parent / "results/tiny"
    (results / "verdict.csv").unlink()
    config = page.parent / "config"
    told = am("report", "--project", str(config), "--scale", "tiny", "--results", str(results), "--out", str(page))
    assert told.code == 1
    assert "verdict.csv: no such file; run the workflow to its verdict first" in told.err


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
    told = json.loads(body[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert told["faults"] == []
    assert told["images"] == [[True, 9, 7]]
    assert told["order"] == (expected or ["other", "AM <b>", "rival"])
