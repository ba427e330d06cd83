"""Learn stochastic dynamics from samples of their marginals: Action Matching, its rivals and its controls.

Examples
--------
>>> import am, torch
>>> path = am.Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])
>>> model = am.ActionMatching(width=32, depth=2, iterations=200).fit(path, seed=0)
>>> moved = model.sample(path.sample(torch.zeros(500), torch.Generator().manual_seed(0)), [0, 0.5, 1])
>>> moved.x.shape  # times, particles, coordinates
torch.Size([3, 500, 2])
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from am.lazy import lazy

if TYPE_CHECKING:
    from am import datasets, metrics, pl
    from am.cells.comparison import Comparison, compare
    from am.cells.fates import transitions
    from am.cells.model import CellModel, fit
    from am.config import ConfigError
    from am.dynamics.trajectory import DynamicsError
    from am.extras import MissingExtraError
    from am.io.snapshots import DataError
    from am.loading import load
    from am.marginals.gaussian import Gaussian
    from am.marginals.hydrogen import Hydrogen
    from am.marginals.marginals import Marginals
    from am.marginals.mixture import GaussianMixture
    from am.marginals.snapshots import SnapshotPath
    from am.methods.contract import Prediction
    from am.models import (
        ActionMatching,
        ClosedFormActionMatching,
        ClosedFormEntropicActionMatching,
        ClosedFormUnbalancedActionMatching,
        ConvexActionMatching,
        EntropicActionMatching,
        IndependentFlowMatching,
        Model,
        NeuralSDE,
        NotFittedError,
        OptimalTransportFlowMatching,
        SchroedingerBridgeFlowMatching,
        ScoreAndFlowMatching,
        UnbalancedActionMatching,
        method_names,
    )
    from am.selection import Choice, Setup, choose
    from am.training.loop import TrainingError

__version__ = version("action-matching")
__all__ = [
    "ActionMatching",
    "CellModel",
    "Choice",
    "ClosedFormActionMatching",
    "ClosedFormEntropicActionMatching",
    "ClosedFormUnbalancedActionMatching",
    "Comparison",
    "ConfigError",
    "ConvexActionMatching",
    "DataError",
    "DynamicsError",
    "EntropicActionMatching",
    "Gaussian",
    "GaussianMixture",
    "Hydrogen",
    "IndependentFlowMatching",
    "Marginals",
    "MissingExtraError",
    "Model",
    "NeuralSDE",
    "NotFittedError",
    "OptimalTransportFlowMatching",
    "Prediction",
    "SchroedingerBridgeFlowMatching",
    "ScoreAndFlowMatching",
    "Setup",
    "SnapshotPath",
    "TrainingError",
    "UnbalancedActionMatching",
    "__version__",
    "choose",
    "compare",
    "datasets",
    "fit",
    "load",
    "method_names",
    "metrics",
    "pl",
    "transitions",
]

__getattr__ = lazy(
    "am",
    {
        "am.cells.comparison": "Comparison compare",
        "am.cells.fates": "transitions",
        "am.cells.model": "CellModel fit",
        "am.config": "ConfigError",
        "am.io.snapshots": "DataError",
        "am.dynamics.trajectory": "DynamicsError",
        "am.extras": "MissingExtraError",
        "am.loading": "load",
        "am.marginals.gaussian": "Gaussian",
        "am.marginals.hydrogen": "Hydrogen",
        "am.marginals.marginals": "Marginals",
        "am.marginals.mixture": "GaussianMixture",
        "am.marginals.snapshots": "SnapshotPath",
        "am.methods.contract": "Prediction",
        "am.models": "ActionMatching ClosedFormActionMatching ClosedFormEntropicActionMatching "
        "ClosedFormUnbalancedActionMatching ConvexActionMatching EntropicActionMatching IndependentFlowMatching Model "
        "NeuralSDE NotFittedError OptimalTransportFlowMatching SchroedingerBridgeFlowMatching ScoreAndFlowMatching "
        "UnbalancedActionMatching method_names",
        "am.selection": "Choice Setup choose",
        "am.training.loop": "TrainingError",
        "am.datasets": "",
        "am.metrics": "",
        "am.pl": "",
    },
)


def __dir__() -> list[str]:
    return __all__
