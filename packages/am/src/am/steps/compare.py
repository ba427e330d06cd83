"""Compare methods on the cells of a file, or go on with a comparison that was killed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from am.cells.comparison import Comparison
from am.cells.comparison import compare as compared
from am.io.files import WriteError, atomic
from am.io.provenance import origin, sidecar, write_origin
from am.pl import comparison
from am.report.figures.saving import save_figure
from am.report.figures.style import PAGE, styled
from am.runs import step_digest

STATE = ".am-compare-state"
"""Holds every trial that is finished, and checkpoints of the one that is not."""
_ROW = 0.18
"""Of a method in the figure, in inches."""


def compare(
    source: Path,
    time_key: str,
    out: Path,
    *,
    basis: str,
    methods: Sequence[str] | None,
    dimensions: int | None,
    iterations: int,
    held_out: float,
    replicate_key: str | None,
    seed: int,
    accelerator: str = "auto",
    checkpoint_seconds: float = 30.0,
) -> tuple[Comparison, list[Path]]:
    """Write ``comparison.csv``, ``.pdf`` and ``.png`` into the folder ``out``.

    Parameters are those of :func:`am.compare`.

    Finished trials stay there, so that another method later costs its own time alone.

    Raises
    ------
    WriteError
        ``out`` cannot be written to, or holds a file of such a name that this did not write.
    """
    table, *figures = files = [out / f"comparison.{suffix}" for suffix in ("csv", "pdf", "png")]
    for file in files:
        if file.exists() and not sidecar(file).exists():
            raise WriteError(f"{file}: it is there, and am compare did not write it; give another --out, or move it")
    with _one_line():
        found = compared(
            str(source),
            time_key,
            basis=basis,
            methods=methods,
            dimensions=dimensions,
            iterations=iterations,
            held_out=held_out,
            replicate_key=replicate_key,
            seed=seed,
            state=out / STATE,
            device=accelerator,
            checkpoint_seconds=checkpoint_seconds,
        )
    made_of = origin([source], step_digest("compare"), ["compare"])
    with atomic(table) as temporary:
        found.table.to_csv(temporary, index=False)
    write_origin(table, made_of)
    with styled():
        from matplotlib.figure import Figure

        tasks = found.table["held_out"].unique().tolist()
        rows = found.table["method"].nunique()
        figure = Figure(figsize=(PAGE, _ROW * rows + 0.9), layout="constrained")
        panels = figure.subplots(1, len(tasks), squeeze=False)[0]
        for task, ax in zip(tasks, panels, strict=True):
            comparison(found, task, ax)
        panels[0].legend(loc="best")
    for file in figures:
        save_figure(figure, file, made_of)
    return found, files


@contextmanager
def _one_line() -> Iterator[None]:
    """Leave the progress of each training out of the log: that of the whole is told."""
    training = logging.getLogger("am.training")
    level = training.level
    training.setLevel(logging.WARNING)
    try:
        yield
    finally:
        training.setLevel(level)
