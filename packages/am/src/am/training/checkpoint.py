"""Weights and state on disk: safetensors, whole or not at all, checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from am.config import nearest
from am.io.files import atomic


class CheckpointError(RuntimeError):
    """A file of weights that cannot be used; its text is one sentence for the user."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> None:
    """Write named tensors and plain facts about them, with a digest over both.

    The same content makes the same file, byte for byte.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = json.dumps(dict(about or {}))
    metadata = {"about": facts, "sha256": _digest(tensors, facts)}
    content = memoryview(save(tensors, metadata))
    # The library writes metadata in an order that changes from process to process.
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(bytes(content[8:data])), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        file.write(content[data:])


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; loading never runs code.

    Raises
    ------
    CheckpointError
        The file is missing, truncated, of another format, or its content was changed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file of weights") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); delete it to train again") from None
    facts = metadata.get("about", "{}")
    if metadata.get("sha256") != _digest(tensors, facts):
        raise CheckpointError(f"{path}: its content does not match its digest; delete it to train again")
    try:
        about = json.loads(facts)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise CheckpointError(f"{path}: its header holds no facts as JSON; delete it to train again")
    return tensors, about


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put tensors into a network.

    Raises
    ------
    CheckpointError
        They belong to another network: says which tensor is missing, unknown or of another shape.
    """
    own = network.state_dict()
    for name, tensor in own.items():
        if name not in tensors:
            raise CheckpointError(f"{where}: weights of another network: '{name}' is missing")
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{where}: weights of another network: '{name}' is {tuple(tensors[name].shape)}, "
                f"this one needs {tuple(tensor.shape)}"
            )
    for name in tensors:
        if name not in own:
            raise CheckpointError(f"{where}: weights of another network: '{name}' has no place; {nearest(name, own)}")
    network.load_state_dict(dict(tensors))


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    state = sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        state.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        state.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return state.hexdigest()
