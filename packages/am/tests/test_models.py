"""The public names: settings in, a fitted model out."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import am
from am.training.checkpoint import CheckpointError

pytestmark = pytest.mark.trains

SMALL = {"width": 16, "depth": 2, "iterations": 30}


def doubling() -> am.Gaussian:
    """From (0, 0) to (2, -1) while it doubles its size."""
    return am.Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])


def clouds() -> am.SnapshotPath:
    rng = np.random.default_rng(0)
    return am.SnapshotPath([rng.normal(size=(60, 2)), rng.normal(size=(50, 2)) + np.array([3, 0])], [0, 1])


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [am, am.metrics], ids=lambda module: module.__name__)
def test_names_are_the_same_for_people_and_for_type_checkers(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(module.__all__) - {"__version__"}
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "pandas", "anndata", "pydantic", "yaml"]
    code = f"import am, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", [name for name in am.__all__ if name[0] != "_"])
def test_examples_run(name: str) -> None:
    thing = getattr(am, name)
    finder = doctest.DocTestFinder(recurse=False)
    text = inspect.getdoc(thing) or ""
    runner = doctest.DocTestRunner()
    for test in finder.find(thing, name):
        runner.run(test)
    assert runner.failures == 0
    if inspect.isclass(thing) and issubclass(thing, am.Model):
        assert runner.tries, f"{name} has no example: {text}"


def test_the_example_of_the_library_runs() -> None:
    assert doctest.testmod(am).failed == 0
    assert doctest.testmod(am.metrics).failed == 0


# -- settings --------------------------------------------------------------------------------------


def test_settings_find_their_section() -> None:
    model = am.ActionMatching(width=7, iterations=9, sampling={"method": "rk4"}, steps=5, weight="decreasing")
    settings: Any = model.method.settings
    assert settings.potential.width == 7
    assert settings.training.iterations == 9
    assert (settings.sampling.method, settings.sampling.steps) == ("rk4", 5)
    assert settings.weight == "decreasing"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"widht": 3}, "am: there is no setting 'widht'; did you mean 'width'?"),
        ({"width": -1}, "am: potential.width: input should be greater than 0"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(am.ConfigError, match=sentence.replace("?", r"\?")):
        am.ActionMatching(**settings)


def test_an_unknown_method_is_one_sentence() -> None:
    with pytest.raises(am.ConfigError, match="there is no 'otcmf'; did you mean 'otcfm'"):
        am.Model("otcmf")


# -- fitting ---------------------------------------------------------------------------------------


def test_action_matching_learns_the_field_of_a_gaussian() -> None:
    """v = m' + s'/s (x - m), as the marginals' own page derives it."""
    model = am.ActionMatching(width=32, depth=2, iterations=600, learning_rate=5e-3).fit(doubling())
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
    exact = torch.tensor([2.0, -1.0]) + x  # at t = 0
    found = model.velocity(0, x)
    assert float((found - exact).square().mean().sqrt()) < 0.25
    assert float(exact.square().mean().sqrt()) > 1.5


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    x = torch.zeros(3, 2)
    first, again, other = (am.ActionMatching(**SMALL).fit(doubling(), seed=seed).velocity(0.5, x) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fitting_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    am.ActionMatching(**SMALL).fit(doubling())
    assert torch.equal(torch.rand(2), expected)


def test_arrays_are_taken_where_tensors_are() -> None:
    model = am.ActionMatching(**SMALL).fit(clouds())
    x = np.zeros((4, 2))
    assert torch.equal(model.velocity(0.5, x), model.velocity(torch.full((4,), 0.5), torch.zeros(4, 2)))
    assert model.sample(x, np.linspace(0, 1, 3)).x.shape == (3, 4, 2)  # type: ignore[arg-type]
    y = np.arange(8.0).reshape(4, 2)
    assert am.metrics.energy_distance(y, y[::-1] + 9) == am.metrics.energy_distance(
        torch.from_numpy(y), torch.from_numpy(y[::-1] + 9)
    )


def test_losses_are_those_of_training() -> None:
    rows = am.ActionMatching(**SMALL, log_every=10).fit(doubling()).losses
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert all(np.isfinite(row["loss"]) for row in rows)


def test_the_likelihood_of_a_flow_integrates_to_one() -> None:
    model = am.ActionMatching(width=16, depth=2, iterations=300, learning_rate=5e-3).fit(doubling())
    side = torch.linspace(-9, 13, 45)
    grid = torch.cartesian_prod(side, side)
    cell = float(side[1] - side[0]) ** 2
    assert float(model.log_likelihood(grid).exp().sum() * cell) == pytest.approx(1, abs=0.03)


def test_what_a_method_lacks_is_one_sentence() -> None:
    model = am.Model("otcfm", width=8, depth=2, iterations=3)
    with pytest.raises(am.NotFittedError, match="otcfm: fit it first"):
        model.velocity(0, torch.zeros(1, 2))
    with pytest.raises(am.ConfigError, match=r"otcfm: it learns from snapshots, so its path must be an am\.Snapshot"):
        model.fit(doubling())
    model.fit(clouds())
    with pytest.raises(ValueError, match="otcfm: it learns no action"):
        model.action(0, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="otcfm: it weighs no particles"):
        model.growth_rate(0, torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"points must be \(n, 2\), got \(1, 3\)"):
        model.velocity(0, torch.zeros(1, 3))
    with pytest.raises(ValueError, match="give log_start_density"):
        model.log_likelihood(torch.zeros(1, 2))


def test_controls_are_models_too() -> None:
    start = torch.randn(20, 2)
    still = am.Model("no_dynamics").fit(doubling()).sample(start, [0, 1])
    assert torch.equal(still.x[1], start)
    drawn = am.Model("oracle").fit(doubling()).sample(start, [0, 1])
    assert not torch.equal(drawn.x[1], start)


# -- saving ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["am", "eam", "uam", "cam", "icfm", "otcfm", "sbcfm", "sf2m", "neural_sde", "nlsb"])
def test_a_saved_model_says_the_same(name: str, tmp_path: Path) -> None:
    small = {"training": {"iterations": 2, "batch_size": 16, "boundary_batch_size": 16}}
    model = am.Model(name, **small).fit(clouds())
    again = am.load(model.save(tmp_path / "run"))
    start = torch.randn(10, 2)
    assert torch.equal(again.sample(start, [0, 0.5, 1], seed=4).x, model.sample(start, [0, 0.5, 1], seed=4).x)


def test_a_named_model_is_loaded_as_itself(tmp_path: Path) -> None:
    folder = am.ActionMatching(**SMALL).fit(doubling()).save(tmp_path / "run")
    assert type(am.load(folder)) is am.ActionMatching


def test_folders_without_a_model_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(am.ConfigError, match="no such file"):
        am.load(tmp_path)
    (tmp_path / "settings.yaml").write_text("method: am\n")
    with pytest.raises(am.ConfigError, match="these are no settings of a saved model"):
        am.load(tmp_path)
    with pytest.raises(am.NotFittedError, match="fit it before it is saved"):
        am.ActionMatching().save(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    folder = am.ActionMatching(**SMALL).fit(doubling()).save(tmp_path / "run")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no such file of weights"):
        am.load(folder)


# -- data sets -------------------------------------------------------------------------------------


def test_cells_of_a_data_set_are_all_there() -> None:
    cells = am.datasets.load("myoblast", dimensions=4)
    assert cells.shape == (271, 4)
    assert cells.obs.groupby("time").size().tolist() == [69, 74, 79, 49]
    assert (cells.obs["split"] == "test").sum() == 4 * 24
    assert np.array_equal(cells.obsm["X_pca"], cells.X)


def test_points_of_a_known_path_are_drawn_anew_for_each_seed() -> None:
    first, again, other = (am.datasets.load("hydrogen", times=3, size=50, seed=seed) for seed in (0, 0, 1))
    assert first.shape == (150, 3)
    assert sorted(first.obs["time"].unique()) == [0, 0.5, 1]
    assert "X_pca" not in first.obsm
    assert np.array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)


def test_an_unknown_data_set_is_one_sentence() -> None:
    with pytest.raises(am.ConfigError, match="there is no 'myoblsat'; did you mean 'myoblast'"):
        am.datasets.load("myoblsat")
    with pytest.raises(am.ConfigError, match="myoblast: dimension: unknown key; did you mean 'dimensions'"):
        am.datasets.load("myoblast", dimension=3)


# -- devices ---------------------------------------------------------------------------------------

LEARNED = {"width": 16, "depth": 2, "iterations": 200, "learning_rate": 1e-2, "warmup": 10, "batch_size": 128}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("am", LEARNED),
        ("am", {**LEARNED, "estimator": "conditional"}),
        ("eam", {**LEARNED, "sigma": 0.1}),
        ("uam", LEARNED),
        ("icfm", {**LEARNED, "sigma": 0.0}),
        ("otcfm", {**LEARNED, "sigma": 0.0}),
        ("am_closed", {"waves": 10}),
    ],
)
def test_a_model_learns_and_samples_on_any_device(name: str, settings: dict[str, Any], device: str) -> None:
    path = clouds()
    model = am.Model(name, **settings).fit(path, device=device)
    moved = model.sample(path.points[0], [0, 1])
    log_weight = torch.zeros(1, len(path.points[0])) if moved.log_weight is None else moved.log_weight.cpu()
    reached = log_weight[-1].softmax(0) @ moved.x[-1].cpu()
    assert (reached - path.points[1].mean(0)).norm() < 0.5  # of 3
    velocity = model.velocity(0.5, moved.x[-1])
    assert velocity.isfinite().all()
    if "iterations" in settings:
        assert velocity.device.type == device


def test_weights_push_particles_alike_on_any_device(device: str) -> None:
    model = am.ActionMatching(**SMALL, sampling={"method": "rk4", "steps": 10}).fit(doubling())
    start = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    here = model.sample(start, [0, 0.5, 1]).x
    model.network.to(device)
    torch.testing.assert_close(model.sample(start, [0, 0.5, 1]).x.cpu(), here, rtol=1e-3, atol=1e-3)
