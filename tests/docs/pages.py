"""The project's pages, and what stands in them."""

from __future__ import annotations

import re
from pathlib import Path

from ..project import ROOT


def pages() -> list[Path]:
    """Every Markdown file that belongs to the project."""
    folders = (ROOT / name for name in ("docs", "config", "packages", "benchmarks", "workflow", "tests"))
    return sorted([*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))])


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page, as links give them."""
    headings = re.findall(r"^#+ (.*)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> str:
    """What a page shows as commands or names, a piece a line: shell blocks, indented lines, words in backticks."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}(.*)$", prose(text), re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", prose(text))
    return "\n".join([*blocks, *indented, *inline])


def section(page: Path, heading: str) -> str:
    """What stands between a heading and the next one of any level."""
    text = page.read_text()
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page} has no heading {heading!r}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(table: str) -> list[str]:
    """First cells of the rows of the only table in a text, without their backticks."""
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [row.split("|")[1].strip().strip("`") for row in rows[2:]]
