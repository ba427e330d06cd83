"""How likely the cells of all snapshots are under one flow that starts as a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

Carry = Callable[[Tensor, float, float], tuple[Tensor, Tensor]]
"""(n, d) points at a time, and an earlier one -> where they were then, (n, d), and integrals over the time between
along their paths, (n, 1 + k): of the divergence, and of k costs."""


class Chained(NamedTuple):
    """What following cells back tells."""

    log_likelihood: Tensor
    """(K,) mean log-density of each snapshot's cells under the flow at its time, in nats."""
    costs: Tensor
    """(K - 1, k) mean integrals of the costs over each interval between snapshots, of all points that pass it."""


def likelihood_chain(cells: Sequence[Tensor], times: Sequence[float], base: float, carry: Carry) -> Chained:
    r"""Carry the cells of the last snapshot back through all marginals to a standard normal distribution.

    .. math:: \log p_{t_k}(x) = \log N(z; 0, I) - \int_{t_{base}}^{t_k} \nabla \cdot v_t(x_t)\, dt, \quad x_{t_k} = x,
        \; z = x_{t_{base}}

    On their way cells of each earlier snapshot join them, so every interval is passed once.
    Source: Chen et al., NeurIPS 2018, theorem 1; Tong et al., ICML 2020, for the chain.

    Parameters
    ----------
    cells
        For each of K snapshots, (n_k, d) points.
    times
        (K,) increasing.
    base
        Time at which the flow is the normal distribution, before the first of ``times``.
    """
    x, change = cells[-1], cells[-1].new_zeros(len(cells[-1]))
    costs = []
    for earlier, (begin, end) in zip(reversed(cells[:-1]), reversed(list(pairwise(times))), strict=True):
        x, integrals = carry(x, end, begin)
        costs.append(integrals[:, 1:].mean(0))
        x = torch.cat([x, earlier])
        change = torch.cat([change + integrals[:, 0], change.new_zeros(len(earlier))])
    x, integrals = carry(x, times[0], base)
    normal = -(x.square() / 2 + math.log(2 * math.pi) / 2).sum(-1)
    densities = (normal - change - integrals[:, 0]).split([len(part) for part in reversed(cells)])
    return Chained(torch.stack([part.mean() for part in reversed(densities)]), torch.stack(costs[::-1]))
