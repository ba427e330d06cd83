"""Data sets described in Croissant, the metadata format of MLCommons (http://mlcommons.org/croissant/1.0)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from am.io.registry import RemoteFile, Source

VERSION = "http://mlcommons.org/croissant/1.0"
CARRIED = "packages/am/src/am/datasets/myoblast.h5ad"
"""The cells that come with the library, from the project's root."""

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "conformsTo": "dct:conformsTo",
}
_TYPES = {
    ".gz": "application/gzip",
    ".h5ad": "application/x-hdf5",
    ".npz": "application/zip",
}


class Published(NamedTuple):
    """What Croissant requires of a data set and the registry does not hold."""

    creators: tuple[str, ...]
    year: int
    url: str
    """A page about it."""


PUBLISHED: Mapping[str, Published] = {
    "embryoid": Published(("Moon et al.",), 2019, "https://doi.org/10.17632/v6n743h5ng"),
    "cifar10": Published(("Alex Krizhevsky",), 2009, "https://www.cs.toronto.edu/~kriz/cifar.html"),
    "open_problems": Published(("Burkhardt et al.", "Tong et al."), 2022, "https://doi.org/10.17632/hhny5ff7yj"),
    "myoblast": Published(("Cole Trapnell",), 2014, "https://bioconductor.org/packages/HSMMSingleCell"),
}
"""By source. A source of the registry that is not here is no data set, but a network or an archive of results."""


def described(registry: Mapping[str, Source], root: Path) -> dict[str, dict[str, Any]]:
    """The description of each data set with files, by name.

    Parameters
    ----------
    registry
        Of :func:`am.io.registry.read_registry`.
    root
        The project's folder, for the cells that the library carries.

    Returns
    -------
    JSON-LD objects, one a data set: Croissant has one data set a file.

    Examples
    --------
    >>> from am.io.registry import RemoteFile, Source
    >>> file = RemoteFile(urls=("https://example.org/a.npz",), sha256="0" * 64)
    >>> cifar10 = Source(title="CIFAR-10", licence="MIT", citation="Krizhevsky, 2009.", files={"a.npz": file})
    >>> dataset(cifar10, PUBLISHED["cifar10"], [remote("a.npz", file)])["distribution"][0]["encodingFormat"]
    'application/zip'
    """
    found = {
        name: dataset(source, PUBLISHED[name], [remote(*file) for file in source.files.items()])
        for name, source in registry.items()
        if name in PUBLISHED
    }
    carried = (root / CARRIED).read_bytes()
    cells = {
        "title": "Expression of 500 genes in 271 human skeletal muscle myoblasts at 0, 24, 48 and 72 hours",
        "licence": "Artistic-2.0",
        "citation": "Trapnell et al., Nature Biotechnology 32, 2014 (Bioconductor package HSMMSingleCell 1.18.0).",
    }
    file = _file(Path(CARRIED).name, CARRIED, len(carried), hashlib.sha256(carried).hexdigest())
    return found | {"myoblast": _dataset(cells, PUBLISHED["myoblast"], [file])}


def dataset(source: Source, published: Published, files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A data set of the registry."""
    return _dataset(source.model_dump(include={"title", "licence", "citation"}), published, files)


def remote(name: str, file: RemoteFile) -> dict[str, Any]:
    """A file of the registry; one that only Git's digest is known of has that in its description."""
    told = _file(name, file.urls[0], file.bytes, file.sha256)
    if file.sha256 is None:
        told["description"] = f"Its sha256 is not known here; `git hash-object` gives {file.git_blob}."
    return told


def _dataset(about: Mapping[str, str], published: Published, files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": about["title"],
        "description": f"{about['title']}. {about['citation']}",
        "license": {"@type": "sc:CreativeWork", "name": about["licence"]},
        "url": published.url,
        "creator": [{"@type": "sc:Organization", "name": name} for name in published.creators],
        "datePublished": str(published.year),
        "citeAs": about["citation"],
        "distribution": list(files),
    }


def _file(name: str, url: str, size: int | None, sha256: str | None) -> dict[str, Any]:
    told = {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": url,
        "contentSize": None if size is None else f"{size} B",
        "encodingFormat": _TYPES[Path(name).suffix],
        "sha256": sha256,
    }
    return {key: value for key, value in told.items() if value is not None}
