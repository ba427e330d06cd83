"""One set of versions: asked for, locked, installed by conda, declared and imported by the library."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

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
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    (author,) = citation["authors"]
    assert author["name"] in (ROOT / "LICENSE").read_text()
