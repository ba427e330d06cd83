"""What a release still lacks, a line each: `make release-check`. Exit status 1 where anything is missing.

python .ci/release.py [--write]

With --write, codemeta.json is written anew from CITATION.cff and the library's pyproject.toml.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from packaging.metadata import Metadata

ROOT = Path(__file__).parents[1]
LIBRARY = Path("packages/am")
UNRELEASED = "## Unreleased"
# A backend changes sys.argv, so the folder is taken first.
_BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]
build_meta.build_sdist(out)
build_meta.build_wheel(out)
"""


class Finding(NamedTuple):
    """One thing that a release needs."""

    what: str
    to_do: str | None
    """None where nothing is left to do."""


def project(root: Path) -> dict[str, Any]:
    """The library's own metadata, whose version all other files repeat."""
    return tomllib.loads((root / LIBRARY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def citation(root: Path) -> dict[str, Any]:
    """What CITATION.cff says."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def codemeta(root: Path) -> dict[str, Any]:
    """What codemeta.json has to say, by CITATION.cff and the library's metadata (https://codemeta.github.io/terms/)."""
    cited, library = citation(root), project(root)
    paper = cited["preferred-citation"]
    told = {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": cited["title"],
        "description": cited["abstract"],
        "version": library["version"],
        "license": f"https://spdx.org/licenses/{cited['license']}",
        "author": [{"@type": "Organization", "name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {library['requires-python']}",
        "softwareRequirements": library["dependencies"],
        "codeRepository": cited.get("repository-code"),
        "identifier": cited.get("doi"),
        "datePublished": str(cited["date-released"]) if "date-released" in cited else None,
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": paper["title"],
            "author": [
                {"@type": "Person", "familyName": author["family-names"], "givenName": author["given-names"]}
                for author in paper["authors"]
            ],
            "datePublished": str(paper["year"]),
        },
    }
    return {key: value for key, value in told.items() if value is not None}


def written(root: Path) -> str:
    """The text of codemeta.json."""
    return json.dumps(codemeta(root), indent=2, ensure_ascii=False) + "\n"


def versions(root: Path) -> Iterator[Finding]:
    """The version is the same in every file that tells it."""
    wanted = project(root)["version"]
    told = {"CITATION.cff": str(citation(root)["version"])}
    for name, pattern in (
        ("Containerfile", r'image\.version="([^"]*)"'),
        ("apptainer.def", r"^ *Version (\S+)$"),
    ):
        found = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        told[name] = found[1] if found else "no version"
    for name, version in told.items():
        yield Finding(f"version of {name}", None if version == wanted else f"it says {version}; write {wanted}")
    same = (root / "codemeta.json").read_text(encoding="utf-8") == written(root)
    yield Finding("codemeta.json", None if same else "call `python .ci/release.py --write`")


def changelog(root: Path) -> Iterator[Finding]:
    """CHANGELOG.md has a dated section of the version, and nothing above it."""
    version = project(root)["version"]
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(rf"^## {re.escape(version)}(?: \((.*)\))?$", text, re.MULTILINE)
    dated = heading is not None and re.fullmatch(r"\d{4}-\d\d-\d\d", heading[1] or "") is not None
    yield Finding("section of CHANGELOG.md", None if dated else f"write the heading `## {version} (YYYY-MM-DD)`")
    left = re.search(rf"^{UNRELEASED}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    full = left is not None and left[1].strip() != ""
    yield Finding("changes without a version", f"move what stands below `{UNRELEASED}`" if full else None)
    day = str(citation(root).get("date-released", ""))
    same = heading is not None and day != "" and day == heading[1]
    yield Finding("date of CITATION.cff", None if same else "write `date-released`, the date of CHANGELOG.md")


def commit(root: Path) -> Iterator[Finding]:
    """Everything is committed, and the tag is free."""
    changed = _git(root, "status", "--porcelain").splitlines()
    yield Finding("clean tree", f"commit or remove {len(changed)} changed files" if changed else None)
    tag = f"v{project(root)['version']}"
    yield Finding(f"tag {tag}", f"{tag} is taken; raise the version" if _git(root, "tag", "--list", tag) else None)


def addresses(root: Path) -> Iterator[Finding]:
    """What only an account can give is filled in."""
    cited, library = citation(root), project(root)
    yield Finding("DOI", None if "doi" in cited else "reserve one and write `doi` into CITATION.cff")
    yield Finding("repository", None if "repository-code" in cited else "write `repository-code` into CITATION.cff")
    urls = None if "urls" in library else f"write [project.urls] in {LIBRARY}/pyproject.toml"
    yield Finding("project's addresses", urls)
    page = (root / LIBRARY / "README.md").read_text(encoding="utf-8")
    relative = [link for link in re.findall(r"\]\(([^)\s]+)\)", page) if not re.match(r"https?://|#", link)]
    to_do = f"make {len(relative)} links of {LIBRARY}/README.md absolute; they end on a page of a package index"
    yield Finding("links of the library's page", to_do if relative else None)


def built(root: Path) -> Iterator[Finding]:
    """Wheel and sdist build without a network, and their metadata is valid."""
    with tempfile.TemporaryDirectory() as folder:
        copy, out = Path(folder, "library"), Path(folder, "dist")
        ignored = shutil.ignore_patterns("tests", "build", "*.egg-info", "__pycache__")
        shutil.copytree(root / LIBRARY, copy, ignore=ignored)
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, out], cwd=copy, check=False, capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            yield Finding("wheel and sdist", f"they do not build: {last}")
            return
        (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
        with zipfile.ZipFile(wheel) as content:
            members = {name: content.read(name) for name in content.namelist() if ".dist-info/" in name}
        about = next(text for name, text in members.items() if name.endswith("/METADATA"))
        yield Finding(f"metadata of {wheel.name}", _fault(about, project(root)["version"]))
        licence = any(name.endswith("/LICENSE") for name in members)
        yield Finding("licence in the wheel", None if licence else f"put LICENSE into {LIBRARY}")
        with tarfile.open(sdist) as content:
            file = content.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
            about = file.read() if file else b""
        yield Finding(f"metadata of {sdist.name}", _fault(about, project(root)["version"]))


def _fault(about: bytes, version: str) -> str | None:
    """What is wrong with the metadata of a distribution, in words."""
    try:
        found = Metadata.from_email(about, validate=True)
    except ExceptionGroup as group:
        return "; ".join(" ".join(str(error).split()) for error in group.exceptions)
    if str(found.version) != version:
        return f"its version is {found.version}, not {version}"
    if not found.description or found.description_content_type != "text/markdown":
        return "it has no description in Markdown"
    return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


CHECKS = (versions, changelog, commit, built, addresses)


def main() -> None:
    """Show what is there and what is to do, or write codemeta.json."""
    if sys.argv[1:] == ["--write"]:
        (ROOT / "codemeta.json").write_text(written(ROOT), encoding="utf-8")
        return
    findings = [finding for check in CHECKS for finding in check(ROOT)]
    for what, to_do in findings:
        print(f"{'ok' if to_do is None else 'TO DO':7}{what}{f': {to_do}' if to_do else ''}")
    missing = sum(to_do is not None for _, to_do in findings)
    if missing:
        sys.exit(f"{missing} of {len(findings)} things are missing for a release (docs/releasing.md)")


if __name__ == "__main__":
    main()
