"""Finds methods and data sets: one file each, in this library or in any installed package."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType

from am.config import ConfigError, nearest

_NOT_PLUGINS = {"cells", "closed_form", "contract", "images", "synthetic"}
"""Modules that plug-ins build on."""


def names(package: str) -> list[str]:
    """Names of the plug-ins of ``package`` (say ``am.methods``), without importing them.

    A plug-in is a module of the package, or an entry point of another distribution whose group is
    the package's name; one of the library's own cannot be replaced.
    """
    return sorted(own_names(package) | {point.name for point in entry_points(group=package)})


def own_names(package: str) -> set[str]:
    """Names of the plug-ins that this library itself has."""
    folder = importlib.import_module(package)
    return {module.name for module in pkgutil.iter_modules(folder.__path__)} - _NOT_PLUGINS


def release(package: str, name: str) -> str:
    """Name and version of the other distribution that a plug-in comes from."""
    distributions = [point.dist for point in entry_points(group=package, name=name)]
    return " ".join(f"{dist.name} {dist.version}" for dist in distributions if dist)


def load(package: str, name: str) -> ModuleType:
    """Import the plug-in ``name`` of ``package``.

    Raises
    ------
    ConfigError
        There is none of that name; the nearest one is named.
    """
    if name in own_names(package):
        return importlib.import_module(f"{package}.{name}")
    for point in entry_points(group=package, name=name):
        return point.load()
    raise ConfigError(f"{package.rpartition('.')[2]}: there is no '{name}'; {nearest(name, names(package))}")
