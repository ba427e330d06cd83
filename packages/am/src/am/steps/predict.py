"""Push the cells of a file to another time by a fit that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from am.cells.model import CellModel
from am.config import ConfigError
from am.io.cell_files import reading
from am.io.files import WriteError
from am.io.provenance import origin, write_origin
from am.io.snapshots import DataError
from am.io.time_course import annotate
from am.loading import load
from am.runs import step_digest


def predict(folder: Path, cells: Path, from_time: str, to_time: str, out: Path, seed: int = 0) -> None:
    """Write a copy of a file of cells with ``obsm["X_am_predicted"]``; of methods that weigh, weights in ``obs``.

    Parameters
    ----------
    folder
        What ``am fit`` or :meth:`am.CellModel.save` wrote.
    from_time, to_time
        Within the course of the fit, in the units of its column.

    Raises
    ------
    ConfigError
        The folder holds no fit to cells, or a time is none of its course.
    DataError
        The file cannot be read, or has not the basis of the fit.
    WriteError
        There is a file already.
    """
    model = load(folder)
    if not isinstance(model, CellModel):
        raise ConfigError(f"{folder}: this is no fit to cells; am fit makes one")
    if out.exists():
        raise WriteError(f"{out}: it is there already; name another file")
    basis = str(model.about["basis"])
    with reading(cells) as file:
        keys = file.embeddings()
        if basis not in keys:
            raise DataError(
                f"{cells}: obsm has no '{basis}', which the fit was to; it has: {', '.join(keys) or 'none'}"
            )
        x = np.asarray(file.embedding(basis), np.float64)[:, : len(model.units.centre)]
    future = model.predict(x, from_time, to_time, seed)
    obs = {} if future.weights is None else {"am_predicted_weight": future.weights.astype(np.float32)}
    told = {"fit": str(folder), "method": model.about["method"], "from": from_time, "to": to_time, "seed": seed}
    annotate(cells, out, obs, {"X_am_predicted": future.x.astype(np.float32)}, told, "am_predicted")
    modules = ["predict", f"am.methods.{model.about['method']}"]
    made_of = [cells, folder / "settings.yaml", *sorted(folder.glob("model*.safetensors"))]
    write_origin(out, origin(made_of, step_digest(*modules), modules))
