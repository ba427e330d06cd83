"""Data sets described in Croissant, the metadata format of MLCommons (http://mlcommons.org/croissant/1.0)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from am.io.registry import Publication, RemoteFile, Source

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
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".h5ad": "application/x-hdf5",
    ".npy": "application/octet-stream",
    ".npz": "application/zip",
}


CELLS = {
    "title": "Expression of 500 genes in 271 human skeletal muscle myoblasts at 0, 24, 48 and 72 hours",
    "licence": "Artistic-2.0",
    "citation": "Trapnell et al., Nature Biotechnology 32, 2014 (Bioconductor package HSMMSingleCell 1.18.0).",
}
"""About the cells that come with the library."""
_PUBLISHED = Publication(
    creators=("Cole Trapnell",), year=2014, page="https://bioconductor.org/packages/HSMMSingleCell"
)


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
    JSON-LD objects, one a data set: Croissant has one data set a file. Sources of the registry that were not published
    as data have none.

    Examples
    --------
    >>> from am.io.registry import Publication, RemoteFile, Source
    >>> file = RemoteFile(urls=("https://example.org/a.npz",), sha256="0" * 64)
    >>> published = Publication(creators=("Krizhevsky",), year=2009, page="https://example.org")
    >>> about = {"title": "A", "licence": "MIT", "citation": "Krizhevsky, 2009."}
    >>> dataset(about, published, [remote("a.npz", file)])["distribution"][0]["encodingFormat"]
    'application/zip'
    """
    found = {}
    for name, source in registry.items():
        if source.published is not None:
            about = source.model_dump(include={"title", "licence", "citation"})
            found[name] = dataset(about, source.published, [remote(*file) for file in source.files.items()])
    carried = (root / CARRIED).read_bytes()
    file = _file(Path(CARRIED).name, CARRIED, len(carried), hashlib.sha256(carried).hexdigest())
    return found | {"myoblast": dataset(CELLS, _PUBLISHED, [file])}


def dataset(about: Mapping[str, str], published: Publication, files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A data set of a title, a licence and a citation."""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": about["title"],
        "description": f"{about['title']}. {about['citation']}",
        "license": {"@type": "sc:CreativeWork", "name": about["licence"]},
        "url": published.page,
        "creator": [{"@type": "sc:Organization", "name": name} for name in published.creators],
        "datePublished": str(published.year),
        "citeAs": about["citation"],
        "distribution": list(files),
    }


def remote(name: str, file: RemoteFile) -> dict[str, Any]:
    """A file of the registry; one that only Git's digest is known of has that in its description."""
    told = _file(name, file.urls[0], file.bytes, file.sha256)
    if file.sha256 is None:
        told["description"] = f"Its sha256 is not known here; `git hash-object` gives {file.git_blob}."
    return told


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
