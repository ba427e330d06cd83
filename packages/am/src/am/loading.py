"""Fitted models, from the folders that they were saved in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from am.config import ConfigError, read_yaml
from am.methods.contract import TrainedMethod
from am.models import Model
from am.training.checkpoint import load_weights, read_tensors

if TYPE_CHECKING:
    from am.cells.model import CellModel


def load(folder: Path | str) -> Model | CellModel:
    """The model that :meth:`Model.save` wrote, or a fit to cells that :func:`am.fit` or ``am fit`` left.

    Raises
    ------
    ConfigError
        The folder holds no model.
    CheckpointError
        Its weights are missing, corrupt or of another network.

    Examples
    --------
    >>> import am, tempfile, torch
    >>> path = am.Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])
    >>> folder = am.ActionMatching(width=16, depth=2, iterations=20).fit(path).save(tempfile.mkdtemp())
    >>> am.load(folder).velocity(0.5, torch.zeros(1, 2)).shape
    torch.Size([1, 2])
    """
    folder = Path(folder)
    about = read_yaml(folder / "settings.yaml")
    if "units" in about:
        from am.cells.model import CellModel

        return CellModel.load(folder)
    name, dimension, times = about.get("method"), about.get("dimension"), about.get("times")
    if not (isinstance(name, str) and isinstance(dimension, int) and isinstance(about.get("settings"), Mapping)):
        raise ConfigError(f"{folder / 'settings.yaml'}: these are no settings of a saved model")
    model = Model.of(name, about["settings"], dimension, times)
    if isinstance(model.method, TrainedMethod):
        file = folder / "model.safetensors"
        model.network = model.fresh()
        load_weights(model.network, read_tensors(file)[0], str(file))
    return model
