"""Fetch a file from outside, and check it against the registry."""

from __future__ import annotations

from pathlib import Path

from am.config import ConfigError
from am.io.raw import local_folders
from am.io.registry import find_file
from am.io.retrieve import retrieve as fetch


def retrieve(registry: Path, source: str, file: str, out: Path) -> None:
    """Fetch ``file`` of ``source``; folders in the environment variable AM_DATA are searched first."""
    if out.name != file:
        raise ConfigError(f"--out must end in the file's own name, {file}, got {out}")
    fetch(find_file(registry, source, file), out, local_folders(source))
