"""Text for terminals and pages of which no line ends inside a number or an interval."""

from __future__ import annotations

import html
import re
from typing import Any

from rich.containers import Lines
from rich.text import Text

_NUMBER = r"(?<!\w)-?\d+(?:[.,]\d+)*(?:e[-+]\d+)?"
_WHOLE = re.compile(rf"(\[{_NUMBER}, {_NUMBER}\]|{_NUMBER}(?: ± {_NUMBER}| %)?)")
"""An interval, a number with its spread, a share, or any other number, as :mod:`am.report.numbers` writes them."""
_JOINT = "\ue000"
"""For private use: it stands where a blank would, but is none. Rich breaks lines at blanks of every kind."""


class Unbroken(Text):
    """A text for a terminal, which breaks between words but nowhere inside of what a reader takes for one number."""

    def wrap(self, *args: Any, **options: Any) -> Lines:
        """Into lines, as :meth:`rich.text.Text.wrap` does."""
        joined = self.copy()
        joined.plain = _WHOLE.sub(lambda found: found[0].replace(" ", _JOINT), self.plain)
        lines = joined.wrap(*args, **options)
        for line in lines:
            line.plain = line.plain.replace(_JOINT, " ")
        return lines


def in_html(text: str) -> str:
    """The same for a page that contains :data:`STYLE`."""
    parts = [html.escape(part) for part in _WHOLE.split(text)]
    parts[1::2] = [f'<span class="number">{part}</span>' for part in parts[1::2]]
    return "".join(parts)


def wide(table: str) -> str:
    """A table of such a page, in a box that scrolls sideways by itself where the window is narrow."""
    return f'<div class="wide">{table}</div>\n'


STYLE = """
.number { white-space: nowrap; }
.wide { overflow-x: auto; }
"""
