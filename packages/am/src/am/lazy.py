"""Names of a package that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` for names that other modules define.

    Parameters
    ----------
    package
        Full name of the module that offers them.
    modules
        Names, parted by spaces, by the module that defines them; none for a submodule, which is offered itself.
    """
    home = {name: module for module, names in modules.items() for name in names.split()}

    def getattr_(name: str) -> Any:
        if name in home:
            return getattr(import_module(home[name]), name)
        if modules.get(f"{package}.{name}") == "":
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return getattr_
