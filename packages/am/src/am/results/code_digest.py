"""What a result depends on in this library: a digest of code that comments and layout leave alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

_LIBRARY = Path(__file__).parents[1]


def code_digest(modules: Iterable[str], root: Path | None = None) -> str:
    """Sha256 over the syntax trees of modules and of all that they import from their own package.

    Comments, docstrings, formatting and imports for type checkers alone do not count. Imports are
    followed wherever they stand, inside functions too; a module that is imported by a computed name
    (a plug-in) must be given. Nothing is imported to find this out.

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
        if name in found:
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
    """Digest of one module, and the names it may import."""
    tree = _Stripped().visit(ast.parse(path.read_bytes(), filename=str(path)))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return sha256(ast.dump(tree).encode()).hexdigest(), tuple(_imports(tree, package))


class _Stripped(ast.NodeTransformer):
    """Removes what does not run: strings that stand alone, and branches for type checkers."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            return node.orelse
        return node


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
