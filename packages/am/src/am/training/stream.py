"""The randomness of training: a function of the run's name and the step, and of nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from am.marginals.marginals import Marginals, MovingMarginals
from am.objectives.path import PathSample, draw_moving, draw_path
from am.randomness import derive_seed, generator
from am.training.proposal import TimeProposal


class Stream:
    """All random numbers of one training step.

    Nothing is carried from step to step but what a proposal of times has learned, so a run that starts again at step k
    draws what it would have drawn. Several processes draw the same points and each keeps its share of them, so their
    number does not change what is learned.

    Parameters
    ----------
    key
        Name of the run, e.g. "hydrogen/am/0".
    step
        Number of the step, from 0.
    batch_size, boundary_batch_size
        Points inside (0, 1), and at each of t = 0 and t = 1, over all processes together.
    proposal
        Where times are drawn; they are even where there is none.
    """

    def __init__(
        self,
        key: str,
        step: int,
        batch_size: int,
        boundary_batch_size: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        proposal: TimeProposal | None = None,
    ) -> None:
        self.step = step
        self.generator = generator(key, "train", step, device=device)
        self._batch_size, self._boundary = batch_size, boundary_batch_size
        self._rank, self._world, self._proposal = rank, world, proposal
        self._offset = derive_seed(key, "time") / 2**63

    def times(self) -> Tensor:
        """Low-discrepancy times frac(u + i sqrt 2), where i runs on from step to step: (n,)."""
        first = self.step * self._batch_size
        index = torch.arange(first, first + self._batch_size, dtype=torch.float64, device=self.generator.device)
        time = torch.frac(self._offset + index * math.sqrt(2)).to(torch.get_default_dtype())
        return time.clamp(max=1 - torch.finfo(time.dtype).eps / 2)  # rounding may have reached 1

    def draw(self, marginals: Marginals, boundary: bool = True) -> PathSample:
        """Share of this process in fresh points of the path; without ``boundary``, none at t = 0 and 1."""
        time, density = self._proposed()
        return self._share(draw_path(marginals, time, self._boundary if boundary else 0, self.generator, density))

    def draw_moving(self, marginals: MovingMarginals) -> PathSample:
        """Share of this process in fresh points of the path that have velocities."""
        time, density = self._proposed()
        return self._share(draw_moving(marginals, time, self.generator, density))

    def _proposed(self) -> tuple[Tensor, Tensor | None]:
        """Times and their density: those of the proposal, where there is one."""
        even = self.times()
        if self._proposal is None:
            return even, None
        time, density = self._proposal.times(even)
        return time.to(even), density.to(even)

    def _share(self, sample: PathSample) -> PathSample:
        """That of this process; the proposal learns from it."""
        observe = self._proposal.observe if self._proposal is not None else None
        return replace(sample.shard(self._rank, self._world), observe=observe)

    def rademacher(self, x: Tensor) -> Tensor:
        """Independent signs, one for each entry of this process's (n, d) points."""
        shape = (self._world * len(x), *x.shape[1:])
        bits = torch.randint(0, 2, shape, generator=self.generator, device=x.device)
        return (2 * bits - 1)[self._rank :: self._world].to(x)

    def normal(self, x: Tensor) -> Tensor:
        """Standard normal numbers, one for each entry of this process's (n, d) points."""
        shape = (self._world * len(x), *x.shape[1:])
        noise = torch.randn(shape, generator=self.generator, device=x.device, dtype=x.dtype)
        return noise[self._rank :: self._world]
