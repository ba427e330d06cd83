"""What is told of genes through loadings, and what becomes of cells that are shifted, against closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, concat
from scipy import sparse, stats
from scipy.linalg import expm

import am
from am.cells import drivers, gene_velocity, perturb
from am.config import ConfigError
from am.io.snapshots import DataError

pytestmark = pytest.mark.trains

RISE = 1.5
"""Of gene 3, in two days."""


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Five genes of which the fourth alone rises, and one that no component holds; components are a rotation."""
    rng = np.random.default_rng(0)
    genes = rng.normal(size=(120, 6)) * [3, 2, 1, 0.5, 1, 9]
    genes[60:] = genes[:60]
    genes[60:, 3] += RISE
    turn = np.zeros((6, 5))
    turn[:5] = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    table = AnnData(genes.astype(np.float32))
    table.var_names = [f"gene{i}" for i in range(6)]
    table.obs["day"] = np.repeat([0.0, 2.0], 60)
    table.obsm["X_pca"] = genes @ turn
    table.varm["PCs"] = turn
    am.fit(table, "day", method="am_closed", held_out=0)
    return table


def test_the_gene_that_rises_is_the_one_that_moves_and_leads(cells: AnnData) -> None:
    found = gene_velocity(cells, ["gene3", "gene0"])
    assert found is not None
    assert found.mean().to_numpy() == pytest.approx([RISE / 2, 0], abs=0.03)
    assert list(found.index) == list(cells.obs_names)
    table = drivers(cells)
    assert table["gene"].tolist()[0] == "gene3"
    assert table["velocity"][0] == pytest.approx(RISE / 2, rel=0.03)
    assert np.isnan(table.set_index("gene").loc["gene5", ["velocity", "score"]].to_numpy(float)).all()


def test_scores_are_those_of_the_matrix_of_cells_and_genes(cells: AnnData) -> None:
    """By hand, through a matrix that the library never makes."""
    velocity = cells.obsm["X_am_velocity"].astype(float) @ cells.varm["PCs"][:5].T
    genes = np.asarray(cells.X, float)[:, :5]
    within = np.concatenate([part - part.mean(0) for part in (genes[:60], genes[60:])])
    expected = np.sqrt((velocity**2).mean(0) / (within**2).mean(0))
    found = drivers(cells).set_index("gene")["score"]
    assert found[[f"gene{i}" for i in range(5)]].to_numpy() == pytest.approx(expected, rel=1e-4)


def test_the_layer_is_the_table_of_all_genes_whatever_the_chunks(
    cells: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = cells.copy()
    copy.varm["PCs"] = sparse.csr_matrix(copy.varm["PCs"])
    monkeypatch.setattr("am.cells.genes.CHUNK", 7)
    assert gene_velocity(copy, layer="am_velocity") is None
    found = gene_velocity(cells, list(cells.var_names))
    assert found is not None
    np.testing.assert_allclose(copy.layers["am_velocity"], found.to_numpy(), rtol=1e-5, atol=1e-6)
    assert np.isnan(copy.layers["am_velocity"][:, 5]).all()


def test_one_gene_needs_no_list(cells: AnnData) -> None:
    pd.testing.assert_frame_equal(gene_velocity(cells, "gene3"), gene_velocity(cells, ["gene3"]))


def test_cells_that_were_not_fitted_do_not_count_among_drivers(cells: AnnData) -> None:
    """As `am fit --where` leaves them, without numbers."""
    more = concat([cells, cells], merge="same", uns_merge="same")
    more.obs_names_make_unique()
    more.obsm["X_am_velocity"][len(cells) :] = np.nan
    more.obsm["X_pca"][len(cells) :] *= 100
    pd.testing.assert_frame_equal(drivers(more), drivers(cells))
    with pytest.raises(DataError, match="no cell of it was fitted"):
        drivers(more[len(cells) :])


def test_of_many_genes_an_error_shows_few(cells: AnnData) -> None:
    many = AnnData(np.zeros((len(cells), 2000), np.float32), obs=cells.obs, obsm=dict(cells.obsm), uns=cells.uns)
    many.var_names = [f"ENSG{i:011}" for i in range(2000)]
    many.varm["PCs"] = np.ones((2000, 5))
    with pytest.raises(ConfigError, match="there is no gene 'GATA1'; genes are called as ENSG") as error:
        gene_velocity(many, ["GATA1"])
    assert len(str(error.value)) < 150
    many.var_names = ["Gata1", *many.var_names[1:]]  # as the gene is called in mice
    with pytest.raises(ConfigError, match=r"there is no gene 'GATA1'; did you mean 'Gata1'\?"):
        gene_velocity(many, ["GATA1"])
    many.var_names = [f"g{i // 2}" for i in range(2000)]
    with pytest.raises(DataError, match=r"several genes are called 'g0'; adata.var_names_make_unique\(\)"):
        gene_velocity(many, ["g7"])


def test_a_mistake_is_one_sentence(cells: AnnData) -> None:
    with pytest.raises(ConfigError, match="name the genes that you want, or a layer for all of them"):
        gene_velocity(cells)
    with pytest.raises(ConfigError, match=r"there is no gene 'gen3'; did you mean 'gene3'\?"):
        gene_velocity(cells, ["gen3"])
    with pytest.raises(DataError, match="varm has no 'loadings', the loadings of the components; it has: PCs"):
        drivers(cells, loadings="loadings")
    few = cells.copy()
    few.varm["PCs"] = few.varm["PCs"][:, :2]
    with pytest.raises(DataError, match=r"the shape \(6, 2\); the 5 components of the fit are needed"):
        drivers(few)
    del few.uns["am"]
    with pytest.raises(ConfigError, match="there is no fit in it"):
        drivers(few)


# -- shifted cells -------------------------------------------------------------------------------------

RATES = np.array([[0.3, 0.15], [0.15, -0.2]])
"""Of a linear field dx = A x dt, by days; symmetric, so that it is a gradient, and transport finds it."""


@pytest.fixture(scope="module")
def linear() -> AnnData:
    """The same cells after two days of the field; ``side`` is where they are along the first axis."""
    x = np.random.default_rng(0).normal(size=(200, 2)) * [2, 1]
    x[100:] = x[:100] @ expm(2 * RATES)
    table = AnnData(x.astype(np.float32))
    table.obs["day"] = np.repeat([0.0, 2.0], 100)
    table.obs["side"] = np.where(x[:, 0] < 0, "left", "right")
    table.obsm["X_pca"] = x
    table.varm["PCs"] = np.array([[0.6, 0.8], [-0.8, 0.6]])
    return table


@pytest.fixture(scope="module")
def field(linear: AnnData) -> am.CellModel:
    return am.fit(linear, "day", method="am_closed", settings={"solving": {"ridges": [1e-4]}})


def test_a_shift_grows_as_the_exponential_of_a_linear_field(linear: AnnData, field: am.CellModel) -> None:
    shift = np.array([0.3, -0.2])
    found = perturb(field, linear, shift, "side", 0, 2)
    grown = found.shifted - found.x
    assert grown.mean(0) == pytest.approx(expm(2 * RATES) @ shift, abs=0.03)
    assert found.x == pytest.approx(linear.obsm["X_pca"][100:], abs=0.15)
    by_gene = perturb(field, linear, {linear.var_names[1]: 0.5}, "side", 0, 2)
    assert (by_gene.shifted - by_gene.x).mean(0) == pytest.approx(expm(2 * RATES) @ [-0.4, 0.3], abs=0.03)


def test_cells_that_are_shifted_across_become_the_other_side(linear: AnnData, field: am.CellModel) -> None:
    x = linear.obsm["X_pca"]
    chosen = (x[:, 0] < -0.5) & (x[:, 0] > -1.5) & (np.abs(x[:, 1]) < 0.5)
    found = perturb(field, linear, [2.5, 0], "side", 0, 2, cells=chosen)
    assert len(found.x) == chosen[:100].sum() > 3
    table = found.table.set_index("group")
    assert table.loc["right", "difference"] > 0.9
    assert table["difference"].sum() == pytest.approx(0, abs=1e-9)
    assert table.loc["right", "low"] > 0.5
    assert (table["low"] <= table["difference"]).all()
    assert found.outside < 0.2 < perturb(field, linear, [50, 0], "side", 0, 2, cells=chosen).outside
    # By hand, from the fits that lack a fold.
    of_each = [perturb(part, linear, [2.5, 0], "side", 0, 2, cells=chosen).table for part in field.parts]
    values = np.stack([each["difference"] for each in of_each])
    assert len(values) == 5
    error = 4 / np.sqrt(5) * values.std(0, ddof=1)
    assert table["error"].to_numpy() == pytest.approx(error)
    assert (table["high"] - table["difference"]).to_numpy() == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert of_each[0]["error"].isna().all()


def test_a_wrong_shift_is_one_sentence(linear: AnnData, field: am.CellModel) -> None:
    with pytest.raises(DataError, match=r"the shift has the shape \(3,\); 2 finite components are needed"):
        perturb(field, linear, [1, 2, 3], "side", 0, 2)
    with pytest.raises(DataError, match="no cell of time 0 was chosen to be shifted"):
        perturb(field, linear, [1, 2], "side", 0, 2, cells=np.zeros(200, bool))
    with pytest.raises(DataError, match=r"by 200 times yes or no; got int64 of shape \(3,\)"):
        perturb(field, linear, [1, 2], "side", 0, 2, cells=[3, 4, 5])
    with pytest.raises(ConfigError, match="cells are pushed forward, and 0 is no later than 2"):
        perturb(field, linear, [1, 2], "side", 2, 0)
    for words in ("GATA1", ["GATA1", "SPI1"]):
        with pytest.raises(DataError, match=r"the shift is no 2 numbers; of genes say by how much, as {'GATA1': 1.0}"):
            perturb(field, linear, words, "side", 0, 2)
    with pytest.raises(ConfigError, match="there is no gene 'GATA1'"):
        perturb(field, linear, {"GATA1": 1.0}, "side", 0, 2)
    empty = linear.copy()
    empty.varm["PCs"] = empty.varm["PCs"] * [[1], [0]]
    with pytest.raises(DataError, match="the components hold nothing of 1, so that no shift of it is known"):
        perturb(field, empty, {"1": 1.0}, "side", 0, 2)
