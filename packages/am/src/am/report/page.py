"""Pages in HTML that a person can read without anything else, on a telephone too."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from typing import Any

from am.report.unbroken import STYLE, in_html, wide


def sorting(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table that sorts: a cell is a text, or a number to sort by and the text for it."""
    lines = []
    for row in rows:
        cells = (cell if isinstance(cell, tuple) else (None, cell) for cell in row)
        lines.append(
            "".join(
                f"<td{'' if key is None else f' data-key={chr(34)}{key}{chr(34)}'}>{in_html(str(shown))}</td>"
                for key, shown in cells
            )
        )
    heading = "".join(f'<th><button type="button">{in_html(name)}</button></th>' for name in head)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return wide(f"<table><thead><tr>{heading}</tr></thead><tbody>\n{body}</tbody></table>")


def section(title: str, content: str) -> str:
    """What lies under a heading; its content is HTML."""
    return f"<section><h2>{text(title)}</h2>\n{content}</section>\n"


def picture(content: bytes, kind: str, caption: str, name: str | None = None) -> str:
    """A figure inside of the page, by its bytes and the type of them."""
    words, file = text(caption), "" if name is None else f" <code>{text(name)}</code>"
    return (
        f'<figure><img alt="{words}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
        f"<figcaption>{words}{file}</figcaption></figure>\n"
    )


def text(value: object) -> str:
    """What is shown as it is, whatever it holds."""
    return html.escape(str(value))


_SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const column = button.parentElement.cellIndex;
    const body = button.closest("table").tBodies[0];
    const up = button.dataset.order !== "up";
    for (const other of button.closest("tr").querySelectorAll("button")) delete other.dataset.order;
    button.dataset.order = up ? "up" : "down";
    const key = (row) => {
      const cell = row.cells[column], value = cell.dataset.key;
      if (value === undefined) return cell.textContent;
      const number = parseFloat(value);
      return Number.isNaN(number) ? Infinity : number;
    };
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
    const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * compare(key(a), key(b)));
    body.append(...rows);
  });
}
"""
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; color: #1a1a1a; margin: 2em auto; max-width: 90em; padding: 0 1em; }
h1, h2, h3, summary, figcaption { overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .5em 0 1.5em; }
th, td { text-align: left; vertical-align: top; padding: .3em .7em; border-bottom: 1px solid #ccc; }
th { border-bottom: 2px solid #1a1a1a; }
th button { font: inherit; font-weight: bold; border: 0; padding: 0; background: none; text-align: left; }
th button { cursor: pointer; }
th button[data-order=up]::after { content: " \\2191"; }
th button[data-order=down]::after { content: " \\2193"; }
img { max-width: 100%; }
p, li { max-width: 50em; }
figure { margin: 1em 0; }
figcaption { color: #555; max-width: 50em; }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto; }
"""


def page(title: str, lead: str, parts: Iterable[str]) -> str:
    """The whole of it: sections below a lead, which are HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>{STYLE}{_STYLE}</style>
</head>
<body>
<h1>{text(title)}</h1>
{lead}
{"".join(parts)}
<script>{_SCRIPT}</script>
</body>
</html>
"""
