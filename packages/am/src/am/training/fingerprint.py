"""A digest of data in memory: of paths of marginals, whose tensors, numbers and functions weights depend on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property, partial
from hashlib import sha256
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor


def fingerprint(value: Any) -> str:
    """Sha256 of what a value is made of: the same in every process, another where any part is another.

    Tensors and arrays count by content. Functions count by their code, defaults and what they close over, but not by
    the global names that they use. Other objects count by their attributes; those that an object fills while it is used
    are left out if its class names them in ``not_fingerprinted``, or has them as cached properties.
    """
    return _digest(value, {}).hex()


_Seen = dict[int, tuple[Any, bytes]]
"""Objects by their ids, held so that no other takes one, with their digests: many functions close over the same."""


def _digest(value: Any, seen: _Seen) -> bytes:
    if id(value) not in seen:
        seen[id(value)] = value, _hash("cycle", [str(len(seen)).encode()])  # for parts that hold this again
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        parts = [part if isinstance(part, bytes) else _digest(part, seen) for part in _parts(value, seen)]
        seen[id(value)] = value, _hash(kind, parts)
    return seen[id(value)][1]


def _parts(value: Any, seen: _Seen) -> list[Any]:
    """Bytes, and values that a value is made of, in an order that no process changes."""
    if value is None or isinstance(value, str | bytes | int | float | complex):
        return [repr(value).encode()]
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        return [f"{array.dtype}{tuple(array.shape)}".encode(), array.flatten().view(torch.uint8).numpy().tobytes()]
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return [str(value.shape).encode(), *value.ravel().tolist()]
        return [f"{value.dtype.str}{value.shape}".encode(), np.ascontiguousarray(value).tobytes()]
    if isinstance(value, np.generic | torch.dtype | torch.device):
        return [repr(value).encode()]
    if isinstance(value, BaseModel):
        return [value.model_dump(mode="json")]
    if isinstance(value, Mapping):
        keyed = sorted(((_digest(key, seen), item) for key, item in value.items()), key=lambda pair: pair[0])
        return [part for pair in keyed for part in pair]
    if isinstance(value, set | frozenset):
        return sorted(_digest(item, seen) for item in value)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, ModuleType | BuiltinFunctionType):
        return [value.__name__]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, value.co_varnames, value.co_consts]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__code__, value.__defaults__, value.__kwdefaults__, cells]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, type):
        return [f"{value.__module__}.{value.__qualname__}".encode()]
    if isinstance(value, torch.nn.Module):
        return [value.state_dict()]
    return [_attributes(value)]


def _attributes(value: Any) -> dict[str, Any]:
    left_out = set(getattr(type(value), "not_fingerprinted", ()))
    for kind in type(value).__mro__:
        left_out |= {name for name, member in vars(kind).items() if isinstance(member, cached_property)}
    names = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
    names |= set(getattr(value, "__dict__", ()))
    return {name: getattr(value, name) for name in names - left_out}


def _hash(kind: str, parts: list[bytes]) -> bytes:
    state = sha256(kind.encode())
    for part in parts:
        state.update(f"|{len(part)}|".encode())
        state.update(part)
    return state.digest()
