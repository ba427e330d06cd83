"""Where experiments stand: files, the variants inside them, and the numbers that were published about them.

``experiments/<name>.yaml`` is an experiment. Each of its ``variants`` is one too, called ``<name>_<variant>``. A file
that says ``preset: true`` is none itself: its variants, and files that extend it, build on it. Numbers that were
published about an experiment stand in ``published/<experiment>.csv``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from am.config import ConfigError, merge, nearest, read_yaml
from am.report.published import read_published

log = logging.getLogger(__name__)

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Of experiments, variants, scales and runs: they become folders, and words in commands."""
_OWN = ("variants", "preset", "published")
"""Keys that hold for the file that they stand in, and are not inherited."""
_RENAMED = {"like": ("extends",), "weights_of": ("reuse_weights_of",), "pictured": ("figures", "methods")}
"""Keys that had another name in the last release, and where their values belong now."""


@dataclass(frozen=True)
class Written:
    """An experiment as it is written down, complete: with what it extends, and with the values of the scale."""

    name: str
    file: Path
    where: str
    """The file, the scale's if it has a say, and the variant: how messages begin."""
    data: dict[str, Any]
    numbers: tuple[str, ...] = field(default=())
    """File and line of each published number; empty where they stand in the experiment's own file."""


class ExperimentFiles(Collection[str]):
    """Names of the experiments of a project; their files are read when they are first asked for.

    Parameters
    ----------
    folder
        Holds ``experiments/`` and ``published/``.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from am.config import write_yaml
    >>> variants = {"long": {"evaluation": {"n_samples": 500}}}
    >>> with TemporaryDirectory() as folder:
    ...     write_yaml({"title": "T", "variants": variants}, Path(folder, "experiments/mine.yaml"))
    ...     files = ExperimentFiles(Path(folder))
    ...     print(list(files), files.read("mine_long").data)
    ['mine', 'mine_long'] {'title': 'T', 'evaluation': {'n_samples': 500}}
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._published = folder / "experiments", folder / "published"
        self._files = {file.stem: file for file in sorted(self._folder.glob("*.yaml"))}
        self._contents: dict[str, dict[str, Any]] = {}

    @cached_property
    def _names(self) -> list[str]:
        names = {stem for stem in self._files if not self._content(stem).get("preset")}
        return sorted(names | {f"{stem}_{variant}" for stem in self._files for variant in self._variants(stem)})

    def __iter__(self) -> Iterator[str]:
        """All experiments in alphabetical order; no presets."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many experiments there are; no presets."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether there is an experiment or a preset of this name; reads as few files as that needs."""
        return isinstance(name, str) and (name in self._files or bool(self._places(name)))

    def read(self, name: str, overrides: Mapping[str, Mapping[str, Any]] | None = None, scale: str = "") -> Written:
        """An experiment with all that it extends.

        Parameters
        ----------
        overrides
            Values of a scale, by the experiments whose values they override.
        scale
            The file that they stand in.

        Raises
        ------
        ConfigError
            There is no such experiment, it extends itself or one that there is not, or its numbers cannot be read.
        """
        overrides = overrides or {}
        stem, variant = self._place(name)
        if variant is None and self._content(stem).get("preset"):
            of_it = [f"{stem}_{one}" for one in self._variants(stem)]
            hint = nearest(name, of_it) if of_it else "extend it in a file of its own"
            raise ConfigError(f"{self._files[stem]}: preset: '{name}' is a preset, not an experiment; {hint}")
        data = self._merged(name, overrides)
        where = f"{self._files[stem]} with {scale}" if overrides.get(name) else str(self._files[stem])
        numbers = read_published(file) if (file := self._published / f"{name}.csv").exists() else []
        if numbers and self._own(stem, variant)[0].get("published"):
            raise ConfigError(f"{where}: published: numbers stand in {file} already; move these there")
        told = "published" in overrides.get(name, {})
        if numbers and not told:
            data["published"] = [entry.model_dump() for _, entry in numbers]
        return Written(
            name=name,
            file=self._files[stem],
            where=where if variant is None else f"{where}: variants.{variant}",
            data=data,
            numbers=() if told else tuple(f"{file}: line {line}" for line, _ in numbers),
        )

    def check_published(self) -> None:
        """Check that each file of published numbers is about an experiment.

        Raises
        ------
        ConfigError
            One is not.
        """
        for file in sorted(self._published.glob("*.csv")):
            if file.stem not in self:
                raise ConfigError(f"{file}: there is no experiment '{file.stem}'; {nearest(file.stem, self)}")

    def _merged(self, name: str, overrides: Mapping[str, Mapping[str, Any]], *users: str) -> dict[str, Any]:
        stem, variant = self._place(name)
        own, where = self._own(stem, variant)
        if name in users:
            raise ConfigError(f"{where}: extends: '{users[-1]}' extends '{name}' already")
        data = {key: value for key, value in own.items() if key not in ("variants", "preset")}
        base = own.get("extends", None if variant is None else stem)
        if isinstance(base, str):
            inherited = self._merged(base, overrides, *users, name)
            data = merge({key: value for key, value in inherited.items() if key not in _OWN}, data)
        return merge(data, overrides.get(name, {}))

    def _own(self, stem: str, variant: str | None) -> tuple[dict[str, Any], str]:
        """What stands at the place itself, and where that is."""
        if variant is None:
            return self._content(stem), str(self._files[stem])
        return self._variants(stem)[variant], f"{self._files[stem]}: variants.{variant}"

    def _place(self, name: str) -> tuple[str, str | None]:
        """Stem of the file, and the variant in it."""
        found = self._places(name)
        if not found:
            raise ConfigError(f"there is no experiment '{name}' in {self._folder}; {nearest(name, self)}")
        if len(found) > 1:
            places = " and ".join(self._own(*place)[1] for place in found)
            raise ConfigError(f"{places} are both called '{name}'; rename one of them")
        if not re.fullmatch(NAME, name):
            raise ConfigError(f"{self._own(*found[0])[1]}: its name may have letters, digits, _ and - only")
        return found[0]

    def _places(self, name: str) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = [(name, None)] if name in self._files else []
        for stem in self._files:
            variant = name.removeprefix(f"{stem}_")
            if variant != name and variant in self._variants(stem):
                found.append((stem, variant))
        return found

    def _content(self, stem: str) -> dict[str, Any]:
        if stem not in self._contents:
            file = self._files[stem]
            content = with_new_names(read_yaml(file), str(file))
            variants = content.get("variants") or {}
            if not isinstance(variants, Mapping):
                raise ConfigError(f"{file}: variants: expected a mapping, got {type(variants).__name__}")
            for name, own in variants.items():
                if not isinstance(name, str):
                    raise ConfigError(f"{file}: variants.{name}: a name is text; write '{name}' with the quotes")
                if not isinstance(own, Mapping):
                    raise ConfigError(f"{file}: variants.{name}: expected a mapping, got {type(own).__name__}")
                for key in ("variants", "preset"):
                    if key in own:
                        raise ConfigError(f"{file}: variants.{name}.{key}: this key is of a file, not of a variant")
            if not isinstance(content.get("preset", False), bool):
                raise ConfigError(f"{file}: preset: it is true or false (got {content['preset']!r})")
            renamed = {name: with_new_names(own, f"{file}: variants.{name}") for name, own in variants.items()}
            self._contents[stem] = {**content, "variants": renamed}
        return self._contents[stem]

    def _variants(self, stem: str) -> dict[str, dict[str, Any]]:
        variants: dict[str, dict[str, Any]] = self._content(stem)["variants"]
        return variants


def with_new_names(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings of an experiment whose keys have the names of today; each old name is one warning.

    Raises
    ------
    ConfigError
        An old name stands beside the new one.

    Examples
    --------
    >>> with_new_names({"like": "hydrogen", "pictured": ["am"]}, "mine.yaml")
    {'extends': 'hydrogen', 'figures': {'methods': ['am']}}
    """
    data = dict(content)
    for old, new in _RENAMED.items():
        if old not in data:
            continue
        if new[0] in data:
            raise ConfigError(f"{where}: {old}: this is the old name of {'.'.join(new)}, which is given too")
        value = data.pop(old)
        for key in reversed(new[1:]):
            value = {key: value}
        data[new[0]] = value
        log.warning(
            "%s: the key '%s' is now called '%s', and its old name will not be read after this release.",
            *(where, old, ".".join(new)),
        )
    return data
