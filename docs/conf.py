"""The documentation as a site: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

sys.path.insert(0, str(Path(__file__).parent))

project = "Action Matching"
html_title = project
html_theme = "furo"
html_static_path: list[str] = []
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.apidoc", "catalogue"]
exclude_patterns = ["images", "site"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_use_type_comments = False
# What people import or extend; the rest of the code is told by architecture.md and by itself.
inner = [
    "__main__.py",
    "cli.py",
    "extras.py",
    "lazy.py",
    "plan.py",
    "plugins.py",
    "schemas.py",
    "io",
    "report",
    "steps",
    "training",
]
apidoc_modules = [
    {
        "path": "../packages/am/src/am",
        "destination": "api",
        "max_depth": 2,
        "exclude_patterns": [f"../packages/am/src/am/{name}" for name in inner],
    }
]
toc_object_entries = False  # the navigation of each page would hold every function of the library
# Attributes of many classes share a name, such as "time": no link is better than one to any of them.
suppress_warnings = ["ref.python"]


def plain_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write norms as |x|, which reStructuredText takes for substitutions outside of formulas."""
    inside = False
    for i, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            inside = False
        inside = inside or line.lstrip().startswith(".. math::")
        if not inside:
            lines[i] = re.sub(r"(?<!\\)\|", r"\\|", line)


def plain_options(app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any) -> Any:
    """Options of commands are annotated with objects that print as addresses: only their types are shown."""
    if signature:
        signature = re.sub(r"~?\w+\.Annotated\[((?:(?!Annotated).)+?), <typer\.[^>]+>\]", r"\1", signature)
    return signature, returns


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", plain_bars)
    app.connect("autodoc-process-signature", plain_options)
    app.add_lexer("layers", TextLexer)
