"""The documentation builds as a site without a warning, and every link on it leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from am import plugins
from am.experiment_files import ExperimentFiles

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """What a page links to, the places on it that can be linked to, and its words."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.words = ""
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            if value and (tag, name) in {("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")}:
                self.links.append(value)

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(out / ".doctrees")]
    done = subprocess.run([*build, "docs", str(out)], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {file: Page(file) for file in out.rglob("*.html")}


def named(site: dict[Path, Page], name: str) -> Page:
    (page,) = (page for file, page in site.items() if file.as_posix().endswith(f"/{name}.html"))
    return page


def test_every_page_is_there(site: dict[Path, Page]) -> None:
    top = min(site, key=lambda file: len(file.parts)).parent
    for source in (ROOT / "docs").rglob("*.md"):
        assert top / source.relative_to(ROOT / "docs").with_suffix(".html") in site


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site: dict[Path, Page]) -> None:
    counted = 0
    for file, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("http", "https", "mailto", "data"), f"{file}: {link}"
                assert parts.scheme == "data" or parts.netloc or parts.path, f"{file}: {link}"
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file(), f"{file.name} links to {link}"
            if parts.fragment and target in site:
                assert unquote(parts.fragment) in site[target].places, f"{file.name} links to {link}"
                counted += 1
    assert counted > 100


def test_the_catalogue_has_a_row_for_everything(site: dict[Path, Page]) -> None:
    words = named(site, "catalogue").words.split()
    names = [*ExperimentFiles(ROOT / "config"), *plugins.names("am.methods")]
    assert {name for name in names if name not in words} == set()


def test_docstrings_are_on_it_with_norms_as_they_are_written(site: dict[Path, Page]) -> None:
    assert "|found - exact| / |exact|" in named(site, "am.metrics").words
    assert "Action Matching: the unique gradient field" in named(site, "am.objectives").words


def test_no_page_tells_where_it_was_built(site: dict[Path, Page]) -> None:
    """Values of constants are shown, and a path from __file__ is another on every machine."""
    assert [file.name for file, page in site.items() if str(ROOT) in page.words] == []
