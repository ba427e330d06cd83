"""What the pages say exists: links, files, commands and targets."""

from __future__ import annotations

import hashlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
import yaml

from am import plugins
from am.cli import app
from am.io.registry import ARCHIVES, read_registry
from am.report.croissant import CARRIED, described

from ..project import ROOT
from .pages import anchors, commands, pages, prose

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
MADE = ("results/", ".venv/", "logs/")
"""Folders that only exist once something has run."""


def test_the_pages_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in pages()}
    assert {"README.md", "docs/architecture.md", "docs/decisions/randomness.md", "packages/am/README.md"} <= names


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text()))
    links += re.findall(r"(?:src|href)=\"([^\"]+)\"", prose(page.read_text()))
    for link in links:
        if re.match(r"https?://|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} does not exist"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page: Path) -> None:
    """Paths from the root that stand in backticks, and have no placeholder."""
    tops = {path.name for path in ROOT.iterdir()}
    if page.name in ("adding-a-method.md", "adding-an-experiment.md"):  # whose files are made by tests that follow them
        return
    for name in re.findall(r"`([\w./-]+/[\w./-]*)`", prose(page.read_text())):
        if name.split("/")[0] in tops and not name.startswith(MADE):
            assert (ROOT / name).exists() or (page.parent / name).exists(), f"{name} does not exist"


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: Path) -> None:
    text = commands(page.read_text())
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|&& |; )make ([a-z-]+)", text, re.MULTILINE)) <= targets
    steps = typer.main.get_command(app).commands.keys()  # type: ignore[attr-defined]
    assert set(re.findall(r"(?:^|&& |; )am ([a-z]+)", text, re.MULTILINE)) <= steps
    scales = {path.stem for path in (ROOT / "config/scales").glob("*.yaml")}
    if page.name != "adding-a-method.md":  # which makes a scale of its own
        assert set(re.findall(r"(?:scale|SCALE)=(\w+)", text)) <= scales


@pytest.mark.trains
def test_example_of_the_library_does_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "packages/am/README.md").read_text()
    example, cells, methods = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    check = "assert moved.x.shape == (3, 1000, 2)\n"
    check += "assert (moved.x[-1].mean(0) - torch.tensor([2.0, -1.0])).abs().max() < 0.3, moved.x[-1].mean(0)\n"
    check += "assert (moved.x[-1].std(0) - 2).abs().max() < 0.3, moved.x[-1].std(0)\n"
    cells += "assert 'do not interpret' not in model.verdict\nassert cells.obsm['X_am_velocity'].shape == (271, 5)\n"
    methods += "assert found.verdict.startswith('Held-out cells: ')\n"
    run = subprocess.run(
        [sys.executable, "-c", example + check + cells + methods],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.trains
def test_examples_of_the_readme_run(tmp_path: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    checks = ("assert later.x.shape == (10, 5)", "assert 'do not interpret' not in str(model)")
    code = "\n".join([examples[0], *checks, examples[1], "assert moved.x.shape == (3, 1000, 2)"])
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr


def test_readme_and_citation_name_the_same_paper() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    for fact in (paper["title"], str(paper["year"]), str(paper["volume"]), f"{paper['start']}--{paper['end']}"):
        assert fact in readme
    for author in paper["authors"]:
        assert author["family-names"] in readme


def test_every_data_set_has_a_licence_in_the_table() -> None:
    page = (ROOT / "docs/catalogue.md").read_text().partition("\n## Licences\n")[2].partition("<!-- table")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(plugins.names("am.datasets"))
    sources = read_registry(ROOT / "data/registry.yaml").values()
    assert page.count("in the next table") == sum(source.published is not None for source in sources)


def test_readme_tells_the_minutes_that_were_measured() -> None:
    measured = re.findall(r"`make reproduce` takes (\d+ minutes)", (ROOT / "docs/performance.md").read_text())
    told = re.findall(r"^\| `make reproduce` \|.*?(\d+ minutes)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert told == measured
    assert len(told) == 1


def test_sentences_are_as_short_as_the_style_asks() -> None:
    run = subprocess.run([sys.executable, "benchmarks/prose.py"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_sentences_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    prose_of = importlib.import_module("prose")
    page = (
        "# A heading, of no words\n\nThe first, of `five, six` words. It has 2.5 numbers, e.g. [3, 4](x.md)!\n\n"
        "- an item\n- *another*\n\n| a | table, 5 |\n\n```bash\ncode, 6\n```\n\n    indented, 7\n\n"
        "<!-- table: t -->\ntable, 8\n<!-- end -->\nIt is <!--v a b c-->9<!--/v-->.\n"
    )
    said = ["The first, of code words.", "It has 2.5 numbers, e.g 3, 4!", "an item", "another", "It is 9."]
    assert prose_of.sentences(page) == said
    assert prose_of.measure(page) == (18 / 5, 7, 3 / 5, 100 * 4 / 18)
    assert prose_of.beyond(prose_of.measure("One word, two, three, four, five.")) == ["commas"]
    assert prose_of.beyond(prose_of.measure("word " * 26)) == ["words", "longest"]


def test_no_file_names_the_machine_that_it_was_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Put together here, so that this file passes too.
    places = re.compile("|".join(["/wor" + "k/(main|shared)", "/tm" + "p/w/", "/ro" + "ot/"]))
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".gif", ".pdf", ".npz", ".lock"):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{name}: {match[0]}" for match in places.finditer(text)]
    assert found == []


# -- Croissant -----------------------------------------------------------------------------------------

REGISTRY = read_registry(ROOT / "data/registry.yaml")
NETWORKS = {"inception"}
# https://docs.mlcommons.org/croissant/docs/croissant-spec.html, required of a data set, then of a file
REQUIRED = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
OF_FILES = {"@type", "@id", "name", "contentUrl", "encodingFormat"}


def test_every_data_set_with_files_has_what_croissant_requires() -> None:
    told = described(REGISTRY, ROOT)
    assert told.keys() == REGISTRY.keys() - NETWORKS - {ARCHIVES} | {"myoblast"}
    for one in told.values():
        assert REQUIRED | {"distribution"} <= one.keys()
        assert all(one.values())
        assert (one["@type"], one["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
        assert one["@context"]["conformsTo"] == "dct:conformsTo"
        assert one["@context"]["dct"] == "http://purl.org/dc/terms/"
        assert re.fullmatch(r"https://\S+", one["url"])
        assert re.fullmatch(r"\d{4}", one["datePublished"])
        for file in one["distribution"]:
            assert file.keys() >= OF_FILES
            assert file["@type"] == "cr:FileObject"
            assert re.fullmatch(r"[0-9a-f]{64}", file.get("sha256", "")) or "git hash-object" in file["description"]


def test_files_are_those_of_the_registry_and_of_the_library() -> None:
    told = described(REGISTRY, ROOT)
    for name, source in REGISTRY.items():
        if name in told:
            files = {file["name"]: file for file in told[name]["distribution"]}
            assert {key: file["contentUrl"] for key, file in files.items()} == {
                key: file.urls[0] for key, file in source.files.items()
            }
            assert {key: file.get("sha256") for key, file in files.items()} == {
                key: file.sha256 for key, file in source.files.items()
            }
            assert told[name]["license"]["name"] == source.licence
    (cells,) = told["myoblast"]["distribution"]
    content = (ROOT / CARRIED).read_bytes()
    assert (cells["sha256"], cells["contentSize"]) == (hashlib.sha256(content).hexdigest(), f"{len(content)} B")
