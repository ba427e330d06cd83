"""One set of versions: asked for, locked, installed by conda, declared and imported by the library, and released."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from am.extras import EXTRAS

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "packages/am"
PYTHON = "3.11"
# What conda calls a package, where that is not its name in requirements.in.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
# What the channels have in older versions only, with the newest that their pages listed in mid 2026.
OLD_ON_CONDA = {"torchdiffeq": "0.2.2", "geomloss": "0.2.6"}
# What the library declares and does not import itself, with what does so for it.
BACK_ENDS = {"tensorboard": "torch.utils.tensorboard, which writes its events"}
# Parts of the conda environment that are no requirement of the project.
CONDA_ALONE = {"python", "pip"}


@pytest.fixture(scope="module")
def wanted() -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.in").read_text().splitlines())
    return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}


@pytest.fixture(scope="module")
def locked() -> dict[str, Version]:
    """Versions that the lock gives for Linux and the project's Python."""
    environment = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "sys_platform": "linux"}
    pins: dict[str, Version] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if not line.startswith(" "):
            pin = Requirement(line.removesuffix("\\").strip())
            if pin.marker is None or pin.marker.evaluate(environment):
                (exact,) = pin.specifier
                assert exact.operator == "=="
                assert canonicalize_name(pin.name) not in pins, f"{pin.name} is locked twice"
                pins[canonicalize_name(pin.name)] = Version(exact.version)
    return pins


def test_lock_holds_all_that_is_wanted(wanted: dict[str, Requirement], locked: dict[str, Version]) -> None:
    assert {name for name in wanted if name not in locked} == set()
    assert {str(r) for name, r in wanted.items() if locked[name] not in r.specifier} == set()


def test_every_pin_has_a_hash_and_no_line_names_a_host() -> None:
    text = (ROOT / "requirements.lock").read_text()
    for block in re.split(r"\n(?=\S)", text):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert not re.search(r"://|--index|--extra|--find-links|--trusted|^#|@", text, re.MULTILINE)


def test_conda_installs_the_locked_versions(wanted: dict[str, Requirement], locked: dict[str, Version]) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    plain = (entry for entry in environment["dependencies"] if isinstance(entry, str))
    conda = {name: version for name, _, version in (entry.partition("=") for entry in plain)}
    assert conda["python"] == PYTHON
    versions = {name: Version(version) for name, version in conda.items() if name not in CONDA_ALONE}
    versions |= {r.name: Version(str(r.specifier).removeprefix("==")) for r in map(Requirement, pip)}
    assert versions == {CONDA.get(name, name): locked[name] for name in wanted}


def test_conda_is_not_asked_for_what_it_does_not_have() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = dict(entry.split("=") for entry in environment["dependencies"] if isinstance(entry, str) and "=" in entry)
    asked = {name: plain[name] for name in OLD_ON_CONDA.keys() & plain.keys()}
    assert {name for name, version in asked.items() if Version(version) > Version(OLD_ON_CONDA[name])} == set()


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is a matter of each machine's own settings; the index of torch for CPUs is public."""
    hosts = ["deb" + "ian.org", "py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com"]
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in run.stdout.split("\0") if name]
    assert len(files) > 100
    found = {
        (str(file.relative_to(ROOT)), host)
        for file in files
        if file.is_file()
        for host in hosts
        if host.encode() in file.read_bytes()
    }
    assert found == set()


def declared() -> dict[str, list[Requirement]]:
    """What the library's own pyproject.toml asks for: core under no name, and each extra but ``all``."""
    project = tomllib.loads((LIBRARY / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: list(map(Requirement, group)) for name, group in groups.items() if name != "all"}


def every_declared() -> dict[str, Requirement]:
    found: dict[str, Requirement] = {}
    for group in declared().values():
        for requirement in group:
            name = canonicalize_name(requirement.name)
            assert str(found.setdefault(name, requirement)) == str(requirement), f"{name} has two bounds"
    return found


def imported() -> set[str]:
    """Modules of others that the library imports anywhere."""
    modules: set[str] = set()
    for path in (LIBRARY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules.add(node.module.partition(".")[0])
    return modules - sys.stdlib_module_names - {"am"}


def test_lock_meets_all_that_the_library_declares(wanted: dict[str, Requirement], locked: dict[str, Version]) -> None:
    """Core and every extra: so the environment of the project, which is made from the lock, has them all."""
    assert every_declared().keys() <= wanted.keys()
    assert {str(r) for name, r in every_declared().items() if locked[name] not in r.specifier} == set()


def test_library_declares_what_it_imports_and_imports_what_it_declares() -> None:
    distributions = packages_distributions()
    packages = {module: set(map(canonicalize_name, distributions.get(module, []))) for module in imported()}
    known = every_declared().keys()
    assert {module for module, names in packages.items() if not names & known} == set()
    assert known - set().union(*packages.values()) == BACK_ENDS.keys()


def test_extras_are_those_that_messages_name() -> None:
    extras = {name: [r.name for r in group] for name, group in declared().items() if name}
    assert extras == {name: list(packages) for name, packages in EXTRAS.items()}
    project = tomllib.loads((LIBRARY / "pyproject.toml").read_text())["project"]
    (everything,) = map(Requirement, project["optional-dependencies"]["all"])
    assert (everything.name, everything.extras) == (project["name"], extras.keys())
    core = {r.name for r in declared()[""]}
    assert {package for packages in extras.values() for package in packages} & core == set()


def test_page_says_what_each_extra_is_for() -> None:
    page = (LIBRARY / "README.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page.partition("## Extras")[2].partition("\n## ")[0], re.MULTILINE) == [
        *EXTRAS,
        "all",
    ]


def test_citation_names_the_version_and_licence_of_the_library() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((LIBRARY / "pyproject.toml").read_text())["project"]
    code, _, data = project["license"].partition(" AND ")
    assert (citation["version"], citation["license"]) == (project["version"], code)
    assert f"**Licence.** {data}," in (LIBRARY / "src/am/datasets/myoblast.md").read_text()
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    (author,) = citation["authors"]
    assert author["name"] in (ROOT / "LICENSE").read_text()


# -- a release ---------------------------------------------------------------------------------------

RELEASED = ("CHANGELOG.md", "CITATION.cff", "Containerfile", "apptainer.def", "codemeta.json", "LICENSE")


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script of `make release-check`."""
    monkeypatch.syspath_prepend(ROOT / ".ci")
    return importlib.import_module("release")


@pytest.fixture
def ready(release: Any, tmp_path: Path) -> Path:
    """A project in git to which nothing is missing."""
    root = tmp_path / "project"
    (root / "packages/am/src/am/datasets").mkdir(parents=True)
    for name in RELEASED:
        shutil.copy(ROOT / name, root)
    for name in ("LICENSE", "README.md", "pyproject.toml", "src/am/__init__.py", "src/am/datasets/myoblast.md"):
        shutil.copy(LIBRARY / name, root / "packages/am" / name)
    change(root, "packages/am/README.md", r"\]\((?!https?:|#)[^)]*\)", "](https://example.org)")
    change(
        root, "packages/am/pyproject.toml", r"\[project.scripts\]", '[project.urls]\nHome = "https://a.org"\n\n\\g<0>'
    )
    change(root, "CHANGELOG.md", "(?s)## Unreleased.*?(?=## )", "")
    change(root, "CHANGELOG.md", "## 0.1.0", "## 0.1.0 (2026-12-01)")
    more = 'date-released: 2026-12-01\ndoi: 10.5281/zenodo.1\nrepository-code: "https://a.org"\n'
    change(root, "CITATION.cff", r"\Z", more)
    (root / "codemeta.json").write_text(release.written(root))
    git(root, "init", "--quiet")
    commit(root)
    return root


def change(root: Path, name: str, pattern: str, by: str) -> None:
    text, changes = re.subn(pattern, by, (root / name).read_text())
    assert changes, f"{name}: no {pattern}"
    (root / name).write_text(text)


def git(root: Path, *arguments: str) -> None:
    me = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *me, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a")


def missing(release: Any, root: Path) -> list[str]:
    """What is to do; the checks that build nothing."""
    checks = [check for check in release.CHECKS if check is not release.built]
    return [found.what for check in checks for found in check(root) if found.to_do]


def test_nothing_is_missing_where_all_is_there(release: Any, ready: Path) -> None:
    assert missing(release, ready) == []


@pytest.mark.parametrize(
    ("name", "pattern", "by", "expected"),
    [
        ("CITATION.cff", "(?m)^version: .*", "version: 9.0.0", ["version of CITATION.cff"]),
        ("Containerfile", 'version="0.1.0"', 'version="0.0.9"', ["version of Containerfile"]),
        ("apptainer.def", "Version 0.1.0", "Version 0.0.9", ["version of apptainer.def"]),
        ("codemeta.json", "0.1.0", "0.0.9", ["codemeta.json"]),
        ("CHANGELOG.md", r" \(2026-12-01\)", "", ["section of CHANGELOG.md", "date of CITATION.cff"]),
        ("CHANGELOG.md", "2026-12-01", "2026-12-02", ["date of CITATION.cff"]),
        ("CHANGELOG.md", "## 0.1.0", "## Unreleased\n\n- more\n\n## 0.1.0", ["changes without a version"]),
        ("CITATION.cff", "(?m)^doi: .*", "", ["codemeta.json", "DOI"]),
        ("CITATION.cff", "(?m)^repository-code: .*", "", ["codemeta.json", "repository"]),
        ("packages/am/README.md", r"\Z", "[a](b.md)", ["links of the library's page"]),
    ],
)
def test_what_is_missing_is_named(
    release: Any, ready: Path, name: str, pattern: str, by: str, expected: list[str]
) -> None:
    change(ready, name, pattern, by)
    commit(ready)
    assert missing(release, ready) == expected


def test_changed_files_and_a_taken_tag_are_named(release: Any, ready: Path) -> None:
    git(ready, "tag", "v0.1.0")
    (ready / "new").touch()
    assert missing(release, ready) == ["clean tree", "tag v0.1.0"]


def test_distributions_are_built_and_a_fault_of_their_metadata_is_named(release: Any, ready: Path) -> None:
    found = list(release.built(ready))
    assert len(found) == 3
    assert [one.to_do for one in found] == [None, None, None]
    change(ready, "packages/am/pyproject.toml", 'readme = "README.md"\n', "")
    assert next(iter(release.built(ready))).to_do == "it has no description in Markdown"
    change(ready, "packages/am/pyproject.toml", 'version = "0.1.0"', 'version = "next"')
    assert "they do not build" in next(iter(release.built(ready))).to_do
    assert release._fault(b"Metadata-Version: 2.4\nName: a\nVersion: 1\nLicense-Expression: free\n", "1")
    assert release._fault(b"Metadata-Version: 2.4\nName: a\nVersion: 1\n", "2") == "its version is 1, not 2"


def test_versions_and_codemeta_are_right_here(release: Any) -> None:
    assert [found for found in release.versions(ROOT) if found.to_do] == []


def test_images_copy_what_is_there_and_have_the_python_of_the_project() -> None:
    container, apptainer = ((ROOT / name).read_text() for name in ("Containerfile", "apptainer.def"))
    copied = [line.split()[1:-1] for line in container.splitlines() if line.startswith("COPY ")]
    files = apptainer.partition("%files\n")[2].partition("\n\n")[0]
    paths = [*(name for names in copied for name in names), *(line.split()[0] for line in files.splitlines())]
    assert len(paths) > 10
    tracked = subprocess.run(["git", "ls-files", *paths], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in paths:
        assert any(name == path or name.startswith(f"{path}/") for name in tracked.splitlines()), path
    for text, tag in ((container, r"^FROM python:([\d.]+)"), (apptainer, r"^From: python:([\d.]+)")):
        assert re.findall(tag, text, re.MULTILINE) == [PYTHON]
        assert re.findall(r"PYTHON=python([\d.]+)", text) == [PYTHON]
    for needed in ("Makefile", "requirements.lock", "packages/am"):  # by `make environment`
        assert paths.count(needed) == 2
