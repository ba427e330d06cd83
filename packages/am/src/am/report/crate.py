"""What an archive of results tells of itself: the metadata of a Workflow Run RO-Crate.

Profiles: RO-Crate 1.1, Workflow RO-Crate 1.0, and Process and Workflow Run Crate 0.5
(https://www.researchobject.org/workflow-run-crate/), the newest that all work together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

METADATA = "ro-crate-metadata.json"
"""Where it stands in the archive."""
WORKFLOW = "Snakefile"

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_TYPES = {
    ".cff": "application/yaml",
    ".csv": "text/csv",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".h5ad": "application/x-hdf5",
    ".html": "text/html",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".md": "text/markdown",
    ".npz": "application/zip",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".py": "text/x-python",
    ".safetensors": "application/octet-stream",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
"""By suffix; all others are text."""


@dataclass(frozen=True)
class Input:
    """A file that the run read and the archive does not hold."""

    name: str
    sha256: str | None
    url: str | None = None
    licence: str | None = None
    citation: str | None = None

    def entity(self) -> dict[str, Any]:
        """Its properties, without those that nobody told."""
        told = {"sha256": self.sha256, "url": self.url, "license": self.licence, "citation": self.citation}
        return {"@type": "CreativeWork", "name": self.name} | {key: value for key, value in told.items() if value}


@dataclass(frozen=True)
class RunStory:
    """What ran, on what, with what, and when."""

    name: str
    description: str
    started: str
    """ISO 8601, as ``finished``, which is when the archive counts as published."""
    finished: str
    commits: Sequence[str]
    versions: Mapping[str, Sequence[str]]
    """Of software, by its name; jobs may have run with several."""
    inputs: Sequence[Input]
    read: Sequence[str]
    """Files of the archive that the run read."""
    results: Sequence[str]
    """Files of the archive that it wrote."""
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """More properties of some files."""


def describe(files: Mapping[str, tuple[Path, str]], story: RunStory, citation: Mapping[str, Any]) -> str:
    """The text of ``ro-crate-metadata.json``: the same for the same files and the same story.

    Parameters
    ----------
    files
        Where each file lies now and its sha256, by its path in the archive; ``Snakefile``, ``LICENSE`` and
        ``README.md`` among them.
    citation
        The content of ``CITATION.cff``: authors, licence, abstract, and the paper.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"

    def add(identifier: str, **properties: Any) -> ContextEntity:
        return crate.add(ContextEntity(crate, identifier, properties))

    authors = _one([_author(add, author) for author in citation["authors"]])
    licence = add(
        f"https://spdx.org/licenses/{citation['license']}", **{"@type": "CreativeWork", "name": citation["license"]}
    )
    entities = {}
    for path, (source, sha256) in files.items():
        about = {
            "name": path,
            "sha256": sha256,
            "contentSize": str(source.stat().st_size),
            "encodingFormat": _TYPES.get(Path(path).suffix, "text/plain"),
            **story.about.get(path, {}),
        }
        if path == WORKFLOW:
            about |= {
                "version": ", ".join(story.commits),
                "license": licence,
                "author": authors,
                "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"},
                "url": "https://snakemake.github.io",
            }
            versions = story.versions.get("snakemake")
            version = ", ".join(versions) if versions else None
            entities[path] = crate.add_workflow(
                source, path, properties=about, main=True, lang="snakemake", lang_version=version
            )
        else:
            entities[path] = crate.add_file(source, path, properties=about)
    entities["LICENSE"]["about"] = licence
    entities["README.md"]["about"] = crate.root_dataset
    entities[WORKFLOW]["softwareRequirements"] = [
        add(f"pkg:pypi/{name}@{version}", **{"@type": "SoftwareApplication", "name": name, "softwareVersion": version})
        for name, versions in sorted(story.versions.items())
        for version in versions
    ]
    inputs = [add(f"#{one.name}", **one.entity()) for one in story.inputs]
    run = add(
        "#run",
        **{"@type": "CreateAction", "name": story.name, "description": story.description},
        instrument=entities[WORKFLOW],
        object=_one([*(entities[path] for path in story.read), *inputs]),
        result=_one([entities[path] for path in story.results]),
        agent=authors,
        startTime=story.started,
        endTime=story.finished,
        actionStatus="http://schema.org/CompletedActionStatus",
    )
    root = crate.root_dataset
    root["name"] = story.name
    root["description"] = f"{' '.join(citation['abstract'].split())} {story.description}"
    root["datePublished"] = story.finished
    root["license"] = licence
    root["author"] = root["publisher"] = authors
    root["keywords"] = ", ".join(citation["keywords"])
    root["mentions"] = run
    root["citation"] = _paper(add, citation["preferred-citation"])
    root["conformsTo"] = [
        add(profile, **{"@type": "CreativeWork", "name": name, "version": version})
        for profile, (name, version) in _PROFILES.items()
    ]
    return json.dumps(crate.metadata.generate(), indent=2, sort_keys=True) + "\n"


def _author(add: Any, author: Mapping[str, str]) -> Any:
    """A person, or what CITATION.cff calls an entity."""
    if "name" in author:
        return add("#authors", **{"@type": "Organization", "name": author["name"]})
    name = f"{author['given-names']} {author['family-names']}"
    return add(author.get("orcid", f"#{name.replace(' ', '-')}"), **{"@type": "Person", "name": name})


def _paper(add: Any, paper: Mapping[str, Any]) -> Any:
    where = next(one["value"] for one in paper["identifiers"] if one["value"].startswith("arXiv:"))
    return add(
        f"https://arxiv.org/abs/{where.removeprefix('arXiv:')}",
        **{"@type": "ScholarlyArticle", "name": paper["title"], "datePublished": str(paper["year"])},
        author=_one([_author(add, author) for author in paper["authors"]]),
    )


def _one(values: list[Any]) -> Any:
    """JSON-LD of RO-Crates writes a single value without brackets."""
    return values[0] if len(values) == 1 else values
