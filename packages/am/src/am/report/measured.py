"""All that was measured of an experiment at a scale, wherever it lies: in files of runs, or in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from am.io.tidy import blocks_beside, draws_beside, read_blocks, read_draws, read_metrics
from am.report.tables import costs_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measured:
    """What tables and verdicts are made of."""

    files: tuple[Path, ...]
    """Where it was read from."""
    metrics: pd.DataFrame
    """Rows of :data:`am.io.tidy.METRIC_COLUMNS`, of runs."""
    floor: pd.DataFrame
    """The same of the noise floor; the method is ``floor``, and seeds count repeats."""
    blocks: pd.DataFrame
    """Rows of :data:`am.io.tidy.BLOCK_COLUMNS`."""
    draws: pd.DataFrame
    """Rows of :data:`am.io.tidy.DRAW_COLUMNS`."""
    costs: pd.DataFrame
    """A row a run and seed, as from :func:`am.report.tables.costs_of`."""


def read_measured(files: Sequence[Path]) -> Measured:
    """Read the ``metrics.csv`` of runs, what lies beside each, and ``floor.csv``.

    Parameters
    ----------
    files
        Each ``metrics.csv``, and ``floor.csv`` if there is one. Rows come in their order.

    Raises
    ------
    TableError
        One of them cannot be read.
    ProvenanceError
        A record beside one cannot be read.
    """
    import pandas as pd

    runs, floors = ([path for path in files if path.name == name] for name in ("metrics.csv", "floor.csv"))
    metrics = {path: read_metrics([path]) for path in runs}
    blocks, draws = blocks_beside(runs), draws_beside(runs)
    records = [record for path in runs if (record := path.with_name("provenance.json")).exists()]
    return Measured(
        files=(*runs, *blocks, *draws, *records, *floors),
        metrics=pd.concat(metrics.values(), ignore_index=True) if metrics else read_metrics([]),
        floor=read_metrics(floors),
        blocks=read_blocks(blocks),
        draws=read_draws(draws),
        costs=costs_of(metrics),
    )
