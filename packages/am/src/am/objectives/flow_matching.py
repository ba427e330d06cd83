"""Flow matching, and score matching of the same bridges, over the intervals between snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from am.marginals.snapshots import SnapshotPath
from am.objectives.path import PathSample
from am.potentials.velocity import BridgeNetwork

Matcher = Callable[[float], Any]
"""Duration of an interval -> the matcher of torchcfm that works on it, for which it lasts from 0 to 1."""


class ConditionalPaths:
    """Points on lines or bridges between minibatches of neighbouring snapshots, as :mod:`torchcfm` draws them.

    A "point" of this path is a row of 3 d numbers: location, velocity per unit of t, and the standard normal noise
    that moved the location off its line. In an interval of duration h, a matcher's velocity counts per h.

    Parameters
    ----------
    snapshots
        All points at a time are drawn with replacement; the two minibatches of an interval are as large as the number
        of times that fall into it, and those matchers that couple points do so within them.
    matcher
        Couples, and says how locations are spread.
    """

    def __init__(self, snapshots: SnapshotPath, matcher: Matcher) -> None:
        self.snapshots, self.matcher = snapshots, matcher
        self.dimension = 3 * snapshots.dimension

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """Location, velocity and noise for each entry of ``time``: (n,) in [0, 1] -> (n, 3 d)."""
        interval, passed = self.snapshots.locate(time)
        rows = time.new_empty(len(time), self.dimension)
        for k, duration in self._intervals(interval):
            here = interval == k
            start, end = (self.snapshots.draw(s, int(here.sum()), generator).to(rows) for s in (k, k + 1))
            with _global_randomness(generator):
                _, x, velocity, noise = self.matcher(duration).sample_location_and_conditional_flow(
                    start, end, passed[here], return_noise=True
                )
            rows[here] = torch.cat([x, velocity / duration, noise], -1)
        return rows

    def score_weight(self, time: Tensor) -> Tensor:
        """2 sigma_t / sigma^2 of a Brownian bridge, torchcfm's lambda(t), in units of the whole path: (n,) -> (n,)."""
        interval, passed = self.snapshots.locate(time)
        weight = torch.empty_like(time)
        for k, duration in self._intervals(interval):
            here = interval == k
            weight[here] = duration * self.matcher(duration).compute_lambda(passed[here])
        return weight

    def _intervals(self, interval: Tensor) -> Iterator[tuple[int, float]]:
        for k in interval.unique().tolist():
            yield k, float(self.snapshots.times[k + 1] - self.snapshots.times[k])


def flow_matching(network: nn.Module, sample: PathSample) -> tuple[Tensor, dict[str, Tensor]]:
    """Conditional flow matching, E |v_t(x) - u_t(x | z)|^2, on points of :class:`ConditionalPaths`.

    Source: Lipman et al., ICLR 2023, equation 9; between snapshots, Tong et al., TMLR 2024, section 3.
    """
    x, target, _ = sample.x.chunk(3, -1)
    velocity = network(sample.time, x)
    loss = sample.integral((velocity - target).square().sum(-1))
    return loss, {"square_velocity": sample.mean(velocity.detach().square().sum(-1))}


def score_and_flow_matching(
    network: BridgeNetwork, sample: PathSample, weight: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Flow matching of the velocity, and of the score E |lambda_t g_t(x) + noise|^2, with g = sigma^2 / 2 grad log q.

    ``weight`` is lambda, (n,). Source: Tong et al., AISTATS 2024, section 3; lambda is equation 23 of its preprint.
    """
    x, _, noise = sample.x.chunk(3, -1)
    flow, _ = flow_matching(network.velocity, sample)
    score = sample.mean((weight[:, None] * network.score(sample.time, x) + noise).square().sum(-1))
    return flow + score, {"flow": flow.detach(), "score": score.detach()}


@contextmanager
def _global_randomness(generator: torch.Generator) -> Iterator[None]:
    """Let ``generator`` seed the generators of torch and numpy that torchcfm draws from; put them back afterwards."""
    device = generator.device
    seed = int(torch.randint(2**32, (), generator=generator, device=device))
    before = np.random.get_state()  # noqa: NPY002
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
