"""With core alone the library works, and what needs an extra says in one sentence which command installs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

import am
from am import extras, plugins
from am.extras import EXTRAS, MissingExtraError, brought_by, explained, folder_of, require, require_packages

pytestmark = pytest.mark.trains

HIDDEN = """
import sys
hidden = {hidden}
class Without:
    # A finder as it is, less some packages: they look as if they were not installed.
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
"""What stands before a program that must not find some packages."""

CORE = """
import numpy as np, tempfile, torch
import am
for name in am.__all__:
    getattr(am, name)
clouds = [np.random.default_rng(k).normal(k, 1, (40, 2)) for k in range(2)]
path = am.SnapshotPath(clouds, [0, 1], coupling="unbalanced")
small = dict(width=8, depth=2, iterations=3)
for kind, settings in [
    (am.ActionMatching, small), (am.EntropicActionMatching, small), (am.UnbalancedActionMatching, small),
    (am.ConvexActionMatching, small), (am.ClosedFormActionMatching, {}),
]:
    model = kind(**settings).fit(path)
    assert torch.isfinite(model.sample(clouds[0], [0, 0.5, 1]).x).all()
    assert torch.equal(am.load(model.save(tempfile.mkdtemp())).action(0.5, clouds[0]), model.action(0.5, clouds[0]))
known = am.Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])
assert am.ActionMatching(**small).fit(known).log_likelihood(clouds[0]).shape == (40,)
rng = torch.Generator().manual_seed(0)
for name in am.metrics.__all__:
    if name not in ("MetricError", "sinkhorn_divergence"):
        more = {"mmd_squared": ((0.5, 1.0),), "sliced_wasserstein": (rng,)}.get(name, ())
        assert getattr(am.metrics, name)(*clouds, *more) > 0, name
"""


EVERY = {package for packages in EXTRAS.values() for package in packages}


def run(program: str, hidden: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program that finds none of the packages ``hidden``."""
    code = HIDDEN.format(hidden=set(map(extras._module, hidden))) + program
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300)


def command(*arguments: str, hidden: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Call ``am`` where the packages ``hidden`` are not installed."""
    return run(f"sys.argv = {['am', *arguments]}\nfrom am.__main__ import main; main()", hidden)


# -- core alone ------------------------------------------------------------------------------------

LACKING = {
    "am.datasets.load('myoblast')": "am.datasets.load needs anndata, pandas, which are not installed: "
    "pip install 'action-matching[cells]'",
    "am.OptimalTransportFlowMatching()": "the method 'otcfm' needs torchcfm, which is not installed: "
    "pip install 'action-matching[rivals]'",
    "am.Model('nlsb')": "the method 'nlsb' needs geomloss, which is not installed: "
    "pip install 'action-matching[rivals]'",
    "am.metrics.sinkhorn_divergence([[0.0]], [[1.0]])": "a Sinkhorn divergence needs geomloss, which is not installed: "
    "pip install 'action-matching[rivals]'",
    "plugins.load('am.datasets', 'digits').DATASET(None).sources()": "the data set 'digits' needs scikit-learn, which "
    "is not installed: pip install 'action-matching[images]'",
    "plugins.load('am.datasets', 'natural_patches').DATASET(None).sources()": "the data set 'natural_patches' needs "
    "scikit-image, which is not installed: pip install 'action-matching[images]'",
    "am.pl.quality(types.SimpleNamespace(uns={'am': {'quality': None}}))": "am.pl needs matplotlib, pandas, pillow, "
    "rich, rocrate, seaborn, which are not installed: pip install 'action-matching[report]'",
    "am.Model('am', potential={'kind': 'unet'}).fit(images)": "a U-Net needs torchcfm, which is not "
    "installed: pip install 'action-matching[images]'",
}
"""What needs an extra, and what it says without."""

TELL = """
import json, types
from am import plugins
assert {{"icfm", "nlsb", "otcfm", "sbcfm"}} <= set(am.method_names())
class images:
    dimension, image_shape = 64, (1, 8, 8)
    sample = staticmethod(lambda time, generator: torch.randn(len(time), 64, generator=generator))
said = {{}}
for call in {calls}:
    try:
        eval(call)
    except am.MissingExtraError as error:
        said[call] = str(error)
said["loaded"] = list(am.load({folder!r}).velocity(0.5, clouds[0]).shape)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is said where no package of an extra is installed, once core has done all that it is for."""
    folder = tmp_path_factory.mktemp("rival")
    clouds = [torch.zeros(8, 2), torch.ones(8, 2)]
    am.Model("icfm", width=8, depth=2, iterations=2).fit(am.SnapshotPath(clouds, [0, 1])).save(folder)
    told = run(CORE + TELL.format(calls=list(LACKING), folder=str(folder)), EVERY)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_core_alone_fits_samples_saves_and_measures(said: dict[str, Any]) -> None:
    assert said


@pytest.mark.parametrize("call", LACKING)
def test_what_needs_an_extra_is_listed_and_says_so_when_it_is_used(said: dict[str, Any], call: str) -> None:
    assert said[call] == LACKING[call]


def test_methods_need_packages_of_extras_alone() -> None:
    kinds = {name: plugins.load("am.methods", name).METHOD for name in plugins.own_names("am.methods")}
    needs = {name: kind.needs for name, kind in kinds.items() if kind.needs}
    assert set(needs) >= {"icfm", "otcfm", "sbcfm", "neural_sde", "nlsb"}
    assert set().union(*needs.values()) <= set(EXTRAS["rivals"])


def test_what_a_rival_has_learned_is_used_without_the_package_that_it_was_trained_with(said: dict[str, Any]) -> None:
    assert said["loaded"] == [40, 2]


# -- the command -----------------------------------------------------------------------------------


def test_the_command_without_its_extra_is_one_sentence() -> None:
    told = command("methods", hidden=EVERY)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        "am: the command am needs typer, which is not installed: pip install 'action-matching[cli]'\n"
    )


def test_commands_of_cli_alone_work_with_it_alone(tmp_path: Path) -> None:
    others = EVERY - set(EXTRAS["cli"])
    told = command("methods", hidden=others)
    assert told.returncode == 0, told.stderr
    assert "otcfm" in told.stdout
    told = command("schema", "--out", str(tmp_path / "schema.json"), hidden=others)
    assert told.returncode == 0, told.stderr


def test_a_fit_asks_for_all_that_it_will_need_before_it_begins(tmp_path: Path) -> None:
    told = command("fit", str(tmp_path / "absent.h5ad"), "--time-key", "day", hidden=EVERY - set(EXTRAS["cli"]))
    assert told.returncode == 1
    assert told.stderr == (
        "am: am fit needs anndata, h5py, matplotlib, pandas, pillow, rocrate, scanpy, seaborn, zarr, which are not "
        "installed: pip install 'action-matching[cells,report]'\n"
    )


def test_an_import_that_fails_inside_a_command_is_one_sentence_too() -> None:
    program = "import am.cli; sys.argv = ['am', 'methods']\nam.cli.app = lambda **_: __import__('{}')\nam.cli.main()"
    told = run(program.format("torchcfm"), EXTRAS["rivals"])
    assert told.stderr == (
        "am: this command needs torchcfm, which is not installed: pip install 'action-matching[rivals]'\n"
    )
    told = run(program.format("no_such_module"))
    assert told.stderr.startswith("Traceback")


# -- parts -----------------------------------------------------------------------------------------


@pytest.fixture
def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "EXTRAS", {"one": ("absent-a", "numpy"), "two": ("absent-b",), "three": ("torch",)})


@pytest.mark.usefixtures("_absent")
def test_a_requirement_names_each_missing_package_and_the_extras_that_bring_them() -> None:
    require("this", "three")
    with pytest.raises(MissingExtraError) as caught:
        require("this", "one", "two", "three")
    assert str(caught.value) == (
        "this needs absent-a, absent-b, which are not installed: pip install 'action-matching[one,two]'"
    )
    require_packages("this", "numpy", "torch")
    with pytest.raises(MissingExtraError, match=r"^this needs absent-b, which is not .*\[two\]'$"):
        require_packages("this", "torch", "absent-b")


@pytest.mark.usefixtures("_absent")
def test_only_a_missing_package_of_an_extra_is_explained() -> None:
    with pytest.raises(MissingExtraError, match=r"^this needs absent-b, .*\[two\]'$"), brought_by("two", "this"):
        import absent_b.part  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name"), brought_by("three", "this"):
        from torch import absent  # noqa: F401
    assert str(explained(ModuleNotFoundError(name="absent_a.part"), "this")).startswith("this needs absent-a, ")
    assert explained(ModuleNotFoundError(name="another"), "this") is None


def test_a_package_lies_where_it_is_imported_from() -> None:
    import sklearn

    assert folder_of("scikit-learn", "this") == Path(sklearn.__file__).parent
