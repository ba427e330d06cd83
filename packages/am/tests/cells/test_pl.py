"""Figures of a fit to cells, on matplotlib axes."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt

import am
from am.config import ConfigError

pytestmark = pytest.mark.trains

SHIFT = np.array([4.0, 0.0])


@pytest.fixture(scope="module", autouse=True)
def _no_window() -> Iterator[None]:
    matplotlib.use("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Two days, a shift of all cells apart; a second basis is the first, turned and ten times as large."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    x[100:] = x[:100] + SHIFT
    table = AnnData(np.zeros((200, 1), np.float32))
    table.obs["day"] = np.repeat([0.0, 2.0], 100)
    table.obsm["X_pca"] = x
    table.obsm["X_umap"] = 10 * np.column_stack([-x[:, 1], x[:, 0]])
    return table


@pytest.fixture(scope="module")
def model(cells: AnnData) -> am.CellModel:
    return am.fit(cells, "day")


def test_quality_shows_what_the_table_says(cells: AnnData, model: am.CellModel) -> None:
    ax = am.pl.quality(cells)
    shown = {line.get_label(): line.get_xdata() for line in ax.get_lines()}
    assert np.asarray(shown["pushed forward"]) == pytest.approx(model.quality["pushed"].to_numpy())
    assert np.asarray(shown["no dynamics"]) == pytest.approx(model.quality["no_dynamics"].to_numpy())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0 to 2: noise"]


def test_trajectories_lead_cells_along_the_shift_on_both_bases(cells: AnnData, model: am.CellModel) -> None:
    for basis, shift in ((None, SHIFT), ("X_umap", 10 * np.array([0.0, 4.0]))):
        ax = am.pl.trajectories(model, cells, basis, lines=20)
        lines = [np.column_stack(line.get_data()) for line in ax.get_lines()[:20]]
        moved = np.mean([line[-1] - line[0] for line in lines], 0)
        assert moved == pytest.approx(shift, abs=0.1 * np.abs(shift).max())


def test_streamlines_run_along_the_shift_on_both_bases(cells: AnnData, model: am.CellModel) -> None:
    for basis, direction in ((None, [1.0, 0.0]), ("X_umap", [0.0, 1.0])):
        ax = am.pl.streamlines(model, cells, basis)
        lines = next(part for part in ax.collections if len(part.get_paths()) > 1 and hasattr(part, "get_segments"))
        steps = np.concatenate([np.diff(segment, axis=0) for segment in lines.get_segments()])
        steps = steps[np.linalg.norm(steps, axis=1) > 0]
        cosines = steps @ np.array(direction) / np.linalg.norm(steps, axis=1)
        assert np.median(cosines) > 0.9


def test_growth_is_drawn_where_there_is_some(cells: AnnData) -> None:
    with pytest.raises(ConfigError, match="tells no growth"):
        am.pl.growth(cells)
    grown = cells.copy()
    grown.obs["am_growth"] = np.linspace(-1, 3, len(grown))
    ax = am.pl.growth(grown, "X_umap")
    assert ax.collections[0].get_clim() == (-3, 3)
    assert ax.get_xlabel() == "umap 1"


def test_what_is_missing_is_one_sentence(cells: AnnData, model: am.CellModel) -> None:
    with pytest.raises(ConfigError, match="there is no fit in"):
        am.pl.quality(AnnData(np.zeros((2, 1), np.float32)))
    with pytest.raises(ConfigError, match=r"obsm has no 'X_umpa'; .*X_umap"):
        am.pl.trajectories(model, cells, "X_umpa")


def test_figures_are_drawn_on_axes_that_are_given(cells: AnnData) -> None:
    ax = plt.subplots()[1]
    assert am.pl.quality(cells, ax) is ax
