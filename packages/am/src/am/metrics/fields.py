"""How near a field is to the true one, and how much weights cost."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from am.metrics.samples import MetricError


def relative_error(found: Tensor, exact: Tensor) -> float:
    """|found - exact| / |exact|, root mean squares over points: (n, ...), (n, ...).

    Raises
    ------
    MetricError
        Shapes differ, or what is exact is zero.
    """
    if found.shape != exact.shape:
        raise MetricError(f"the field has shape {tuple(found.shape)}, the true one {tuple(exact.shape)}")
    size = exact.double().norm()
    if not size:
        raise MetricError("the true field is zero, and nothing can be relative to it")
    return float((found.double() - exact.double()).norm() / size)


def cosines(found: Tensor, exact: Tensor) -> Tensor:
    """Cosine at each point between (n, d) vectors and (n, d) exact ones: (n,).

    It is nan where what is exact has no direction, being zero or not finite, and 0 where only ``found`` is zero.

    Raises
    ------
    MetricError
        Shapes differ.
    """
    if found.shape != exact.shape:
        raise MetricError(f"the field has shape {tuple(found.shape)}, the true one {tuple(exact.shape)}")
    found, exact = found.double(), exact.double()
    return torch.where(_directed(exact), normalize(found, dim=-1).mul(normalize(exact, dim=-1)).sum(-1), math.nan)


def mean_cosine(found: Tensor, exact: Tensor) -> float:
    """Mean of :func:`cosines` over the points that have one: (n, d), (n, d).

    Raises
    ------
    MetricError
        Shapes differ, or what is exact has no direction anywhere.
    """
    cosine, directed = cosines(found, exact), _directed(exact)
    if not directed.any():
        raise MetricError("the true field is zero, and has no direction")
    return float(cosine[directed].mean())


def _directed(exact: Tensor) -> Tensor:
    size = exact.double().norm(dim=-1)
    return size.isfinite() & (size > 0)


def correlation(found: Tensor, exact: Tensor) -> float:
    """Pearson's correlation of two fields over points, 0 where ``found`` is the same everywhere: (n,), (n,).

    Raises
    ------
    MetricError
        Shapes differ, or what is exact is the same everywhere.
    """
    if found.shape != exact.shape:
        raise MetricError(f"the field has shape {tuple(found.shape)}, the true one {tuple(exact.shape)}")
    found, exact = (field.double() - field.double().mean() for field in (found, exact))
    if not exact.any():
        raise MetricError("the true field is the same everywhere, and nothing correlates with it")
    return float(normalize(found, dim=0) @ normalize(exact, dim=0))


def mass_error(log_weight: Tensor, log_mass: float) -> float:
    """|M / m - 1|, M the mean of weights whose logarithms are (n,), m what the mass has become of one."""
    found = torch.logsumexp(log_weight.double(), 0) - math.log(len(log_weight))
    return abs(math.expm1(float(found) - log_mass))


def sample_size_lost(log_weight: Tensor) -> float:
    """1 - (sum w)^2 / (n sum w^2), from (n,) logarithms of weights: 0 where all are equal (Kish 1965)."""
    weight = (log_weight.double() - log_weight.double().max()).exp()
    return float(1 - weight.sum() ** 2 / (len(weight) * weight.square().sum()))
