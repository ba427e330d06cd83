"""What holds of every distance: the controls bound it, on a path of which all is known."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from am import plugins
from am.marginals.gaussian import Gaussian
from am.metrics.evaluate import evaluate
from am.metrics.settings import IMAGE_METRICS, DistanceSettings
from am.randomness import generator

PATH = Gaussian(lambda t: torch.stack([2 * t, -t], -1), lambda t: 1 + 0.5 * t[:, None])
N, REPEATS = 150, 20
SETTINGS = {"mmd": {"scales": [0.5]}}
KINDS = {
    kind.model_fields["kind"].default: kind
    for kind in get_args(DistanceSettings)
    if not issubclass(kind, IMAGE_METRICS)
}
"""Those of images need images, and are tested where those are."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_controls_bound_it(kind: str) -> None:
    """The oracle is as far as two samples of the truth are, and whoever stands still is far beyond."""
    metric = KINDS[kind].model_validate(SETTINGS.get(kind, {}))
    start = PATH.sample(torch.zeros(N), generator("start"))
    times = torch.tensor([0.0, 1.0])

    def truth(name: str) -> torch.Tensor:
        return PATH.sample(torch.ones(N), generator(name))

    def value(x: torch.Tensor, name: str) -> float:
        return evaluate(metric, x, truth(name), generator("metric"))

    def moved(name: str, seed: int = 0) -> torch.Tensor:
        method = plugins.load("am.methods", name).METHOD
        return method(method.settings_type()).sample(None, start, times, generator(name, seed), PATH).x[-1]

    floor = sorted(value(truth(f"a{i}"), f"b{i}") for i in range(REPEATS))
    oracle = [value(moved("oracle", i), f"c{i}") for i in range(REPEATS)]
    assert floor[0] <= torch.tensor(oracle).median() <= floor[-1]
    still = value(moved("no_dynamics"), "d")
    assert still > 2 * max(*floor, *oracle)
    # Half of the way is better than none, and worse than all of it.
    assert max(oracle) < value((start + moved("oracle")) / 2, "e") < still
