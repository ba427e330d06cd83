"""Data sets, as paths of marginals: one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData


def load(name: str, *, times: int = 21, size: int = 2000, seed: int = 0, **settings: Any) -> AnnData:
    """Points of a data set in memory: all cells of one that is measured, points drawn afresh of one that is known.

    Parameters
    ----------
    name
        As :func:`names` lists them.
    times, size
        Equal times, and points at each, of a data set whose path is known.
    seed
        Chooses the points that are drawn.
    settings
        The data set's own, e.g. ``dimensions=10``.

    Returns
    -------
    AnnData
        ``X`` (n, d) in float32 in the data set's coordinates, which ``obsm["X_pca"]`` holds too where they are
        components; ``obs["time"]`` in [0, 1]; ``obs["split"]``, train or test.

    Raises
    ------
    ConfigError
        There is no such data set or setting: names the nearest one.
    DataError
        A file that it is read from is not at hand.
    MissingExtraError
        A package that it is read with is not installed: names the command that installs it.

    Examples
    --------
    >>> import am
    >>> cells = am.datasets.load("myoblast", dimensions=3)
    >>> cells.shape
    (271, 3)
    >>> sorted(cells.obs["time"].unique().round(2).tolist())
    [0.0, 0.33, 0.67, 1.0]
    """
    from am import plugins
    from am.config import parse
    from am.extras import require_packages
    from am.io.snapshots import annotated

    require_packages("am.datasets.load", "anndata", "pandas")
    kind = plugins.load("am.datasets", name).DATASET
    dataset = kind(parse(kind.settings_type, settings, name))
    table = annotated(dataset.points(times, size, f"{name}/{seed}"), dataset.columns)
    if all(column.startswith("PC") for column in dataset.columns):
        table.obsm["X_pca"] = table.X
    return table


def names() -> list[str]:
    """Names of all data sets.

    Examples
    --------
    >>> import am
    >>> "myoblast" in am.datasets.names()
    True
    """
    from am import plugins

    return plugins.names("am.datasets")
