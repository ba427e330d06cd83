"""What a verdict says of results that lack something."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from am.experiments import Project
from am.io.tidy import BLOCK_COLUMNS, DRAW_COLUMNS, METRIC_COLUMNS
from am.report.measured import Measured
from am.report.verdicts import Judgement, Verdict
from am.steps.verify import judged

SETTINGS = Path(__file__).parents[4] / "config"


@pytest.fixture
def judgements() -> dict[tuple[str, str], Judgement]:
    """Of images that were made by one method, and measured by what needs no network."""
    rows = [("cifar10", "am", seed, 1.0, "energy", 0.1 + seed, 50) for seed in (0, 1)]
    blocks, draws = (pd.DataFrame(columns=list(columns)) for columns in (BLOCK_COLUMNS, DRAW_COLUMNS))
    metrics = pd.DataFrame(rows, columns=list(METRIC_COLUMNS))
    measured = Measured((), metrics, metrics[:0], blocks, draws, pd.DataFrame())
    experiment = Project(SETTINGS, {"scale": "paper", "experiments": ["cifar10"]}).experiments["cifar10"]
    return {(one.method, one.metric): one for one in judged(experiment, measured) if one.claim}


@pytest.mark.parametrize("metric", ["fid", "inception_score"])
def test_images_without_the_network_that_looks_at_them_are_not_called_unmade(
    judgements: dict[tuple[str, str], Judgement], metric: str
) -> None:
    of_images, of_none = judgements["am", metric], judgements["vp_sde", metric]
    assert of_images.verdict == Verdict.CANNOT_SAY
    assert of_images.why == "It needs the weights of Inception, which were not at hand."
    assert (of_images.was_run, of_none.was_run) == (True, False)
    assert of_none.verdict == Verdict.NOT_RUN
    assert judgements["am", "bits_per_dim"].verdict == Verdict.NOT_RUN  # which needs no network
