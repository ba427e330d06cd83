"""Every public name of the library says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..project import ROOT

LIBRARY = ROOT / "packages/am/src"
Named = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public(node: Named, name: str) -> Iterator[tuple[str, Named]]:
    """A module, its public classes and functions, their public methods; not what is inside a function."""
    yield name, node
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
                yield from public(child, f"{name}.{child.name}")


def silent(source: str, name: str) -> list[str]:
    return [name for name, node in public(ast.parse(source), name) if not ast.get_docstring(node)]


@pytest.mark.parametrize("file", sorted(LIBRARY.rglob("*.py")), ids=lambda file: str(file.relative_to(LIBRARY)))
def test_every_public_name_has_a_docstring(file: Path) -> None:
    assert silent(file.read_text(), file.stem) == []


def test_a_name_without_one_is_found() -> None:
    source = '"""A module."""\nclass A:\n    "It."\n    def f(self): ...\n    def _g(self): ...\ndef h(): ...\n'
    assert silent(source, "m") == ["m.A.f", "m.h"]
