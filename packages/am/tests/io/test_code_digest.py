"""The digest changes with code that is used, and with nothing else."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import am
from am.io.code_digest import code_digest

PACKAGE = {
    "__init__": '"""A package."""',
    "main": """
        '''Uses others in every way there is.'''
        import typing
        from typing import TYPE_CHECKING
        import pkg.plain
        from pkg import module
        from pkg.deep.inner import value
        from . import sibling
        from .deep import cousin
        if TYPE_CHECKING:
            from pkg.typed import Type
        if typing.TYPE_CHECKING:
            import pkg.typed
        else:
            import pkg.otherwise

        class Thing:
            '''A thing.'''

            x: int = 1
            '''A field.'''

            def run(self) -> float:
                '''Run.'''
                from pkg import late
                return value + 1  # a comment
    """,
    "plain": "a = 1",
    "module": "b = 1",
    "deep/__init__": "",
    "deep/inner": "from .. import up\nvalue = 1",
    "deep/cousin": "c = 1",
    "sibling": "d = 1",
    "late": "e = 1",
    "otherwise": "f = 1",
    "up": "g = 1",
    "typed": "class Type: ...",
    "unused": "h = 1",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "pkg"
    for name, text in PACKAGE.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ("'''Run.'''", "'''Run, and say how in many words.'''"),
        ("'''A thing.'''", ""),
        ("'''A field.'''", "'''Another field.'''"),
        ("'''Uses others in every way there is.'''", ""),
        ("value + 1", "(\n        value\n        + 1)"),
        ("from pkg.typed import Type", "from pkg.unused import h"),
    ],
)
def test_what_does_not_run_does_not_count(package: Path, old: str, new: str) -> None:
    before = code_digest(["pkg.main"], package)
    edit(package / "main.py", old, new)
    assert code_digest(["pkg.main"], package) == before


@pytest.mark.parametrize("name", sorted(set(PACKAGE) - {"__init__", "typed", "unused"}))
def test_code_of_every_used_module_counts(package: Path, name: str) -> None:
    before = code_digest(["pkg.main"], package)
    path = package / f"{name}.py"
    path.write_text(path.read_text() + "\nnew = 2\n")
    assert code_digest(["pkg.main"], package) != before


@pytest.mark.parametrize("name", ["typed", "unused"])
def test_code_of_other_modules_does_not(package: Path, name: str) -> None:
    before = code_digest(["pkg.main"], package)
    (package / f"{name}.py").write_text("raise SystemExit('nothing is imported')")
    assert code_digest(["pkg.main"], package) == before


@pytest.mark.parametrize(("name", "counts"), [("__init__", False), ("deep/__init__", True)])
def test_of_a_package_the_names_that_its_root_offers_do_not_count(package: Path, name: str, counts: bool) -> None:
    before = code_digest(["pkg.main"], package)
    with (package / f"{name}.py").open("a") as file:
        file.write("\noffered = 1\n")
    assert (code_digest(["pkg.main"], package) != before) == counts


def test_the_root_of_this_library_only_offers_names() -> None:
    """It does not count in digests, so that it must not hold what can change a number."""
    root = Path(am.__file__)
    told = {"__all__", "__getattr__", "__version__"}
    for statement in ast.parse(root.read_text()).body:
        match statement:
            case ast.Expr(ast.Constant()) | ast.ImportFrom() | ast.FunctionDef(name="__dir__"):
                pass
            case ast.If(ast.Name("TYPE_CHECKING")):
                pass
            case ast.Assign([ast.Name(name)]) if name in told:
                pass
            case _:
                pytest.fail(f"{root}, line {statement.lineno}: more than a name that is offered")


def test_every_version_of_python_finds_the_same(package: Path) -> None:
    """Trees have other fields in each; the value is that of Python 3.11, 3.12 and 3.13."""
    assert code_digest(["pkg.main"], package) == "80b9af226155d5f6dcb50e4f4baa11f8ee390285c4eee90598379e154ad0b335"


def test_a_change_of_one_number_counts(package: Path) -> None:
    before = code_digest(["pkg.main"], package)
    edit(package / "main.py", "value + 1", "value + 2")
    after = code_digest(["pkg.main"], package)
    assert after != before
    edit(package / "main.py", "value + 2", "value + 1")
    assert code_digest(["pkg.main"], package) == before


def test_the_order_and_repetition_of_modules_do_not_count(package: Path) -> None:
    assert code_digest(["pkg.up", "pkg.late"], package) == code_digest(["pkg.late", "pkg.up", "pkg.late"], package)
    assert code_digest(["pkg.up"], package) != code_digest(["pkg.late"], package)


def test_an_unknown_module_is_named(package: Path) -> None:
    with pytest.raises(ValueError, match=r"pkg\.mani"):
        code_digest(["pkg.mani"], package)


def test_this_library_is_found_without_importing_it() -> None:
    script = """
import sys
from am.io.code_digest import code_digest
loss, data = code_digest(["am.objectives.action_matching"]), code_digest(["am.io.files"])
assert loss != data
assert not [m for m in sys.modules if m in ("torch", "numpy", "am.objectives")]
"""
    subprocess.run([sys.executable, "-c", script], check=True)
