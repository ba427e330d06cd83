"""Descriptions of data sets: what Croissant 1.0 requires is there, and files are those of the registry."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from am.io.registry import ARCHIVES, read_registry
from am.report.croissant import CARRIED, described

ROOT = Path(__file__).parents[4]
REGISTRY = read_registry(ROOT / "data/registry.yaml")
NETWORKS = {"inception"}
# https://docs.mlcommons.org/croissant/docs/croissant-spec.html, required of a data set, then of a file
REQUIRED = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
OF_FILES = {"@type", "@id", "name", "contentUrl", "encodingFormat"}


def test_every_data_set_with_files_has_what_croissant_requires() -> None:
    told = described(REGISTRY, ROOT)
    assert told.keys() == REGISTRY.keys() - NETWORKS - {ARCHIVES} | {"myoblast"}
    for one in told.values():
        assert REQUIRED | {"distribution"} <= one.keys()
        assert all(one.values())
        assert (one["@type"], one["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
        assert one["@context"]["conformsTo"] == "dct:conformsTo"
        assert one["@context"]["dct"] == "http://purl.org/dc/terms/"
        assert re.fullmatch(r"https://\S+", one["url"])
        assert re.fullmatch(r"\d{4}", one["datePublished"])
        for file in one["distribution"]:
            assert file.keys() >= OF_FILES
            assert file["@type"] == "cr:FileObject"
            assert re.fullmatch(r"[0-9a-f]{64}", file.get("sha256", "")) or "git hash-object" in file["description"]


def test_files_are_those_of_the_registry_and_of_the_library() -> None:
    told = described(REGISTRY, ROOT)
    for name, source in REGISTRY.items():
        if name in told:
            files = {file["name"]: file for file in told[name]["distribution"]}
            assert {key: file["contentUrl"] for key, file in files.items()} == {
                key: file.urls[0] for key, file in source.files.items()
            }
            assert {key: file.get("sha256") for key, file in files.items()} == {
                key: file.sha256 for key, file in source.files.items()
            }
            assert told[name]["license"]["name"] == source.licence
    (cells,) = told["myoblast"]["distribution"]
    content = (ROOT / CARRIED).read_bytes()
    assert (cells["sha256"], cells["contentSize"]) == (hashlib.sha256(content).hexdigest(), f"{len(content)} B")
