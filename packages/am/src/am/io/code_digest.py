"""What a result depends on in this library: a digest of code that comments and layout leave alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_LIBRARY = Path(__file__).parents[1]


def code_digest(modules: Iterable[str], root: Path | None = None) -> str:
    """Sha256 over the syntax trees of modules and of all that they import from their own package.

    Comments, docstrings, formatting and imports for type checkers alone do not count. Imports are
    followed wherever they stand, inside functions too; a module that is imported by a computed name
    (a plug-in) must be given. Nothing is imported to find this out.

    The package's own ``__init__`` does not count, since it only offers names, each loaded when it is asked for. Nor
    does this module, which computes no result.

    Parameters
    ----------
    modules
        Dotted names, such as ``am.methods.am``.
    root
        Folder of the package; its name is the first part of the modules' names. This library by default.

    Raises
    ------
    ValueError
        There is no such module.
    """
    root = _LIBRARY if root is None else root
    found: dict[str, str] = {}
    pending = list(modules)
    for name in pending:
        if _file(name, root) is None:
            raise ValueError(f"there is no module {name} in {root}")
    while pending:
        name = pending.pop()
        if name in found or name in (root.name, __name__):
            continue
        path = _file(name, root)
        if path is None:  # a name of a module, not a module
            continue
        found[name], imports = _summary(path, name, path.stat().st_mtime_ns)
        pending += [name.rpartition(".")[0], *imports]
    return sha256("\n".join(f"{name} {found[name]}" for name in sorted(found)).encode()).hexdigest()


def _file(name: str, root: Path) -> Path | None:
    package, *parts = name.split(".")
    if package != root.name:
        return None
    path = root.joinpath(*parts)
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@cache
def _summary(path: Path, name: str, mtime: int) -> tuple[str, tuple[str, ...]]:
    """Digest of one module, and the names it may import; ``mtime`` keeps the cache true."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    running = _Running(package)
    tree = running.visit(ast.parse(path.read_bytes(), filename=str(path)))
    return sha256(_written(tree).encode()).hexdigest(), tuple(running.imports)


def _written(node: object) -> str:
    """A tree in words. Fields without a value are left out: `ast.dump` writes those that its version of Python has."""
    if isinstance(node, list):
        return f"[{', '.join(map(_written, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{name}={_written(value)}" for name, value in ast.iter_fields(node) if value is not None and value != [])
    return f"{type(node).__name__}({', '.join(fields)})"


class _Running(ast.NodeTransformer):
    """Keeps what runs, and notes what it imports: no strings that stand alone, no branches for type checkers."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.imports: list[str] = []

    def visit(self, node: ast.AST) -> Any:
        # All of this is about statements, and expressions hold none.
        return node if isinstance(node, ast.expr) else super().visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node.body = []
            self.generic_visit(node)
            return node.orelse
        self.generic_visit(node)
        return node

    def visit_Import(self, node: ast.Import) -> ast.Import:
        self.imports += [alias.name for alias in node.names]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        base = self.package.rsplit(".", node.level - 1)[0] if node.level else ""
        module = ".".join(filter(None, (base, node.module)))
        # What is imported from a package may be one of its modules.
        self.imports += [module, *(f"{module}.{alias.name}" for alias in node.names)]
        return node
