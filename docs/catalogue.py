"""The directive ``catalogue``: tables of experiments and of methods, from the settings and the plug-ins themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from am import plugins
from am.config import read_yaml
from am.experiment_files import ExperimentFiles
from am.experiments import Project
from am.report.tables import markdown_table

CONFIG = Path(__file__).parents[1] / "config"


def experiments() -> str:
    """A row for each experiment of config/experiments, at the scale of a laptop."""
    names = list(ExperimentFiles(CONFIG))
    run = read_yaml(CONFIG / "config.yaml")["experiments"]
    known = Project(CONFIG, {"scale": "laptop", "experiments": names}).experiments

    def rows() -> Iterator[tuple[str, ...]]:
        for name, experiment in known.items():
            contestants, published = len(experiment.labels()), len(experiment.published)
            counts = (str(contestants), str(published or ""))
            yield f"`{name}`", experiment.title, *counts, "yes" * (name in run)

    head = ("experiment", "what it asks", "methods", "published", "in the main run")
    return markdown_table(head, rows())


def methods() -> str:
    """A row for each method that is found."""

    def rows() -> Iterator[tuple[str, ...]]:
        for name in plugins.names("am.methods"):
            kind = plugins.load("am.methods", name).METHOD
            first = (getdoc(kind) or "").partition("\n\n")[0]
            yield f"`{name}`", kind.title, kind.learns_from, "control" * kind.control, first

    return markdown_table(("method", "in tables", "learns from", "", "what it is"), rows())


class Catalogue(SphinxDirective):
    """``{catalogue} experiments`` or ``{catalogue} methods``."""

    required_arguments = 1
    tables: ClassVar[dict[str, Callable[[], str]]] = {"experiments": experiments, "methods": methods}

    def run(self) -> list[nodes.Node]:
        """The table, parsed like the page that it stands in."""
        parent = nodes.Element()
        lines = self.tables[self.arguments[0]]().splitlines()
        self.state.nested_parse(StringList(lines, self.arguments[0]), self.content_offset, parent)
        return parent.children


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("catalogue", Catalogue)
    return {"parallel_read_safe": True}
