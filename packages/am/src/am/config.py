"""Typed settings: read from YAML, merged, checked, and explained when they are wrong.

Nothing here imports torch, so that the workflow can check every setting before it builds its DAG.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """A setting that cannot be used; its text is one sentence for the user."""


class Settings(BaseModel):
    """Base of all settings: immutable, closed to keys that it does not declare, and with finite numbers only."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )


S = TypeVar("S", bound=Settings)


def nearest(word: str, words: Iterable[str]) -> str:
    """A clause that names the closest of ``words``, or lists them all when none is close."""
    words = sorted(set(words))
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"choose from: {', '.join(words)}" if words else "nothing can stand here"


def parse(model: type[S], data: Any, where: str) -> S:
    """Build ``model`` from plain data.

    Raises
    ------
    ConfigError
        Names ``where``, the key, what is wrong with it and the nearest valid key.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = error.errors()
        # A mistyped key explains why the right one is missing.
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        path = [str(part) for part in first["loc"]]
        key = ".".join(path) or "the whole"
        if first["type"] == "extra_forbidden":
            fields = _fields_at(model, path[:-1])
            raise ConfigError(f"{where}: {key}: unknown key; {nearest(path[-1], fields)}") from None
        if first["type"] == "union_tag_not_found":
            key += "." + first["ctx"]["discriminator"].strip("'")
        if first["type"] in ("missing", "union_tag_not_found"):
            raise ConfigError(f"{where}: {key}: this key is required") from None
        given = "" if isinstance(first["input"], (Mapping, list)) else f" (got {first['input']!r})"
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {key}: {reason[0].lower() + reason[1:]}{given}") from None


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Names of the fields that may stand at ``path`` below ``model``."""
    models = {model}
    for part in path:
        inner: set[type[BaseModel]] = set()
        for candidate in models:
            fields = candidate.model_fields
            if part in fields:
                inner |= _models_in(fields[part].annotation)
            elif any(part in get_args(field.annotation) for field in fields.values()):
                inner.add(candidate)  # the member of a union that this tag stands for
        # A step that is neither is an index of a list or a key of a mapping.
        models = inner or models
    return [name for candidate in models for name in candidate.model_fields]


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in _models_in(argument)}


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that also refuses a key given twice, which would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConfigError(f"line {key_node.start_mark.line + 1}: the key {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


# "1e-4" is a number to everybody but YAML 1.1.
_UniqueKeyLoader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|nan))$"),
    list("-+0123456789."),
)


class _Dumper(yaml.SafeDumper):
    """Quotes the words that the loader above would take for numbers."""

    yaml_implicit_resolvers = _UniqueKeyLoader.yaml_implicit_resolvers


MOST_VALUES = 100_000
"""That a file may stand for, aliases written out: nine lines of aliases to aliases would make a billion."""


def _values(node: yaml.Node, counted: dict[yaml.Node, float]) -> float:
    """How many values a node stands for; infinitely many where it holds itself."""
    if node not in counted:
        counted[node] = math.inf
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = (part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,)))
        counted[node] = 1 + sum(_values(part, counted) for part in parts)
    return counted[node]


def _plain(text: str) -> Any:
    """The plain data that a YAML text stands for."""
    loader = _UniqueKeyLoader(text)
    node = loader.get_single_node()
    if node is None:
        return None
    if _values(node, {}) > MOST_VALUES:
        raise ConfigError(f"with its aliases written out it holds more than {MOST_VALUES:,} values")
    return loader.construct_document(node)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises
    ------
    ConfigError
        The file is missing, is not YAML, gives a key twice, is not a mapping, or multiplies itself by aliases.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = path.parent
        others = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        raise ConfigError(f"{path}: no such file; {nearest(path.name, others)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        data = _plain(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except Exception as error:  # the loader also lets errors of int(), date() and the like pass
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(data).__name__}")
    return data


def write_yaml(data: Mapping[str, Any], path: Path) -> None:
    """Write plain data so that :func:`read_yaml` gives it back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False), encoding="utf-8")


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``override``, mapping by mapping; a null removes the key (RFC 7386)."""
    merged = dict(base)
    for key, value in override.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def digest(data: Any) -> str:
    """Sha256 of plain data, independent of the order of keys."""
    return sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()
