"""The report: one file that needs nothing else."""

from __future__ import annotations

import base64
import json
import re

from ..project import ProjectCopy

FIGURES = {
    "tiny_iterations.png": "The experiment's first metric against training iterations",
    "tiny_times.png": "The experiment's first metric at each time",
    "tiny_ranks.png": "Ranks of methods by each distance",
    "tiny_losses.png": "Training losses",
    "tiny_histograms.png": "Where particles are",
    "tiny_animation.gif": "Where particles are over time",
}


def test_the_report_is_made_offline_and_holds_every_figure_with_its_caption(changed: ProjectCopy) -> None:
    changed.go_offline()
    attempt = changed.call("python", "-c", "import urllib.request as u; u.urlopen('http://example.org')")
    assert "offline, by a test" in attempt.stdout

    run = changed.snakemake("--report", "report.html")
    assert run.returncode == 0, run.stdout
    page = (changed.folder / "report.html").read_text()
    assert not re.search(r"<(script|img|link|iframe)[^>]* (src|href)=\"?http", page)

    (found,) = re.findall(r"^\s*var results = (\{.*\});$", page, re.MULTILINE)
    shown = json.loads(found)
    assert shown.keys() == {*(f"results/tiny/figures/{name}" for name in FIGURES), "results/tiny/verdict.html"}
    for path, entry in shown.items():
        content = base64.b64decode(entry["data_uri"].partition("base64,")[2])
        assert content == (changed.folder / path).read_bytes()
        caption = FIGURES.get(entry["name"], "Every published number beside ours")
        assert caption in " ".join(entry["caption"].split())
