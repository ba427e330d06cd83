"""The registry of files from outside: ``data/registry.yaml``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from am.config import ConfigError, Settings, nearest, parse, read_yaml

ARCHIVES = "archive"
"""The source whose files are results that this project published."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
"""A name alone: it leads to no other folder, and means nothing to a shell."""
Url = Annotated[str, Field(pattern=r"^(https?|file)://")]


class RemoteFile(Settings):
    """One file, and what its content must be."""

    urls: tuple[Url, ...] = Field(min_length=1, description="where it is; later ones are mirrors")
    bytes: PositiveInt | None = Field(default=None, description="its size, where known")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    git_blob: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{40}$", description="what `git hash-object` prints: sha1 of header and content"
    )

    @model_validator(mode="after")
    def _checkable(self) -> RemoteFile:
        if not (self.sha256 or self.git_blob):
            raise ValueError("a file needs a sha256 or a git_blob to be checked against")
        return self

    def fault(self, path: Path) -> str | None:
        """What is wrong with the file at ``path``, in a few words; None where nothing is."""
        if path.exists() and not path.is_file():
            return "is no file"
        size = path.stat().st_size
        if self.bytes is not None and size != self.bytes:
            return f"has {size} bytes, expected {self.bytes}"
        sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
                blob.update(block)
        for name, expected, found in (("sha256", self.sha256, sha256), ("git blob", self.git_blob, blob)):
            if expected is not None and found.hexdigest() != expected:
                return f"has {name} {found.hexdigest()}, expected {expected}"
        return None


class Publication(Settings):
    """By whom, when and where a data set was published."""

    creators: tuple[str, ...] = Field(min_length=1)
    year: PositiveInt
    page: Url = Field(description="about it, for people")


class Source(Settings):
    """Files that belong together, with their licence and citation."""

    title: str
    licence: str
    citation: str
    published: Publication | None = Field(default=None, description="of a data set; networks and results have none")
    files: dict[FileName, RemoteFile] = Field(min_length=1)


def read_registry(path: Path) -> dict[str, Source]:
    """All sources, by name.

    Raises
    ------
    ConfigError
        The registry is missing or not valid; names the key.
    """
    return {name: parse(Source, entry, f"{path}: {name}") for name, entry in read_yaml(path).items()}


def find_file(registry: Path, source: str, file: str) -> RemoteFile:
    """The entry of a file.

    Raises
    ------
    ConfigError
        The registry is not valid, or has no such source or file; names the nearest.
    """
    sources = read_registry(registry)
    if source not in sources:
        raise ConfigError(f"{registry}: there is no source '{source}'; {nearest(source, sources)}")
    files = sources[source].files
    if file not in files:
        raise ConfigError(f"{registry}: {source} has no file '{file}'; {nearest(file, files)}")
    return files[file]


def archive_name(scale: str) -> str:
    """What the archive of a scale is called, as a file of the source :data:`ARCHIVES`."""
    return f"action-matching-{scale}.zip"


def published_archive(registry: Path, scale: str) -> RemoteFile:
    """The entry of the archive of results that the project published of a scale.

    Raises
    ------
    ConfigError
        The registry is not valid, or lists none.
    """
    sources = read_registry(registry)
    files = sources[ARCHIVES].files if ARCHIVES in sources else {}
    name = archive_name(scale)
    if name not in files:
        raise ConfigError(
            f"{registry} lists no published archive of the scale '{scale}' ({ARCHIVES}: {name}); "
            "train with `artifacts: build`, or see docs/reviewing.md for how one is published"
        )
    return files[name]
