"""Actions and fields that are linear in their features, with exact derivatives in space and time."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from am.potentials.features import FeatureSettings
from am.potentials.potential import Derivatives, Potential, ReversedPotential
from am.potentials.scale import ScaledNetwork


class SpaceFunctions(nn.Module, ABC):
    """Functions of scaled points z that fields are made of."""

    frequencies: Tensor
    phases: Tensor
    sizes: list[int]
    """How many functions there are of each kind; random waves come last."""

    def __init__(self, dimension: int, settings: FeatureSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.dimension = dimension
        lengths = torch.tensor(settings.bandwidths, dtype=torch.float64) * math.sqrt(dimension)
        shape = (settings.waves, dimension)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        phase = torch.rand(settings.waves, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        self.register_buffer("frequencies", normal / lengths[torch.arange(settings.waves) % len(lengths)][:, None])
        self.register_buffer("phases", 2 * math.pi * phase)

    @property
    def number(self) -> int:
        """M, the number of functions."""
        return sum(self.sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the coefficients: (M,), or (d, M) where components of the field are free of each other."""
        return (self.number,)

    def _angles(self, z: Tensor) -> Tensor:
        return z @ self.frequencies.T + self.phases

    @abstractmethod
    def values(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, M)."""

    @abstractmethod
    def gram(self, z: Tensor, share: Tensor | None = None) -> Tensor:
        """Sums over points of products of the fields of two functions: (n, d) -> (M, M).

        ``share`` is (n,), what each point counts; one where it is left out.
        """

    @abstractmethod
    def carried(self, z: Tensor, v: Tensor, share: Tensor) -> Tensor:
        """Sums over points of products of fields and vectors v: (n, d), (n, d), (n,) -> ``shape``."""

    @abstractmethod
    def field(self, z: Tensor, coefficients: Tensor) -> Tensor:
        """The field that coefficients make: (n, d), (n or 1, M or d M) -> (n, d)."""


class SpaceFeatures(SpaceFunctions):
    r"""Functions psi_m whose fields are their gradients: coordinates, their products and random waves.

    Waves are cos(k . z + phase) / \|k\|, so that gradients of all features are of order one (Rahimi and Recht 2007).
    """

    first: Tensor
    second: Tensor

    def __init__(self, dimension: int, settings: FeatureSettings, generator: torch.Generator) -> None:
        super().__init__(dimension, settings, generator)
        quadratic = dimension <= settings.quadratic_up_to
        pairs = torch.triu_indices(dimension, dimension) if quadratic else torch.empty(2, 0, dtype=torch.long)
        self.register_buffer("first", pairs[0], persistent=False)
        self.register_buffer("second", pairs[1], persistent=False)
        self.sizes = [dimension, len(pairs[0]), settings.waves]

    @property
    def _lengths(self) -> Tensor:
        return self.frequencies.norm(dim=1)

    def values(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, M)."""
        products = z[:, self.first] * z[:, self.second]
        waves = torch.cos(self._angles(z)) / self._lengths
        return torch.cat([z, products, waves], 1)

    @property
    def _directions(self) -> Tensor:
        return self.frequencies / self._lengths[:, None]

    def gram(self, z: Tensor, share: Tensor | None = None) -> Tensor:
        """Sums over points of products of gradients: (n, d) -> (M, M); no gradient is formed.

        Gradients of coordinates and products are linear in (1, z). So second moments of these and of the sines of waves
        tell all. ``share`` is (n,), what each point counts; one where it is left out.
        """
        root = z.new_ones(len(z), 1) if share is None else share.sqrt()[:, None]
        sines, points = root * torch.sin(self._angles(z)), root * torch.nn.functional.pad(z, (1, 0), value=1.0)
        directions = torch.nn.functional.pad(self._directions, (1, 0))
        one = torch.arange(self.dimension, device=z.device) + 1  # a coordinate is its product with the constant one
        left, right = torch.cat([torch.zeros_like(one), self.first + 1]), torch.cat([one, self.second + 1])
        moments, of_waves = points.T @ points, points.T @ sines
        square, mixed = z.new_zeros(len(left), len(left)), z.new_zeros(len(left), sines.shape[1])
        for along, value in ((left, right), (right, left)):  # d (ab) = b da + a db
            mixed -= directions.T[along] * of_waves[value]
            for other_along, other_value in ((left, right), (right, left)):
                same = (along[:, None] == other_along) & (along > 0)[:, None]
                square += same * moments[value][:, other_value]
        waves = (self._directions @ self._directions.T) * (sines.T @ sines)
        return torch.cat([torch.cat([square, mixed], 1), torch.cat([mixed.T, waves], 1)])

    def laplacians(self, z: Tensor) -> Tensor:
        """Laplacian of each feature: (n, d) -> (n, M)."""
        n = len(z)
        products = (self.first == self.second).to(z).mul(2).expand(n, -1)
        waves = -torch.cos(self._angles(z)) * self._lengths
        return torch.cat([z.new_zeros(n, self.dimension), products, waves], 1)

    def field(self, z: Tensor, coefficients: Tensor) -> Tensor:
        """Gradient of sum_m c_m psi_m: (n, d), (n or 1, M) -> (n, d); no Jacobian is formed."""
        linear, products, waves = coefficients.split(self.sizes, 1)
        found = linear - (waves * torch.sin(self._angles(z)) / self._lengths) @ self.frequencies
        found = found.index_add(1, self.first, products * z[:, self.second])
        return found.index_add(1, self.second, products * z[:, self.first])

    def along(self, z: Tensor, v: Tensor) -> Tensor:
        """Slope of each feature along a vector: (n, d), (n, d) -> (n, M)."""
        products = v[:, self.first] * z[:, self.second] + z[:, self.first] * v[:, self.second]
        waves = -torch.sin(self._angles(z)) * (v @ self.frequencies.T) / self._lengths
        return torch.cat([v, products, waves], 1)

    def carried(self, z: Tensor, v: Tensor, share: Tensor) -> Tensor:
        """Sums over points of slopes along vectors: (n, d), (n, d), (n,) -> (M,)."""
        return share @ self.along(z, v)


class VelocityFunctions(SpaceFunctions):
    """Functions that each component of a velocity is made of: one, the coordinates, and sin(k . z + phase).

    Gradients of all :class:`SpaceFeatures` of the same waves are among these velocities.
    """

    def __init__(self, dimension: int, settings: FeatureSettings, generator: torch.Generator) -> None:
        super().__init__(dimension, settings, generator)
        self.sizes = [1, dimension, settings.waves]

    @property
    def shape(self) -> tuple[int, ...]:
        """Each component has coefficients of its own: (d, M)."""
        return self.dimension, self.number

    def values(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, M)."""
        return torch.cat([torch.ones_like(z[:, :1]), z, torch.sin(self._angles(z))], 1)

    def gram(self, z: Tensor, share: Tensor | None = None) -> Tensor:
        """Sums over points of products of two functions, the same in each component: (n, d) -> (M, M)."""
        values = self.values(z)
        return (values if share is None else share[:, None] * values).T @ values

    def carried(self, z: Tensor, v: Tensor, share: Tensor) -> Tensor:
        """Sums over points of products of each component and each function: (n, d), (n, d), (n,) -> (d, M)."""
        return (share[:, None] * v).T @ self.values(z)

    def field(self, z: Tensor, coefficients: Tensor) -> Tensor:
        """Velocity, component by component: (n, d), (n or 1, d M) -> (n, d)."""
        return (coefficients.view(-1, self.dimension, self.number) @ self.values(z)[:, :, None]).squeeze(2)


def legendre(u: Tensor, degree: int) -> tuple[Tensor, Tensor]:
    """Polynomials that are orthonormal on [0, 1], and their derivatives: (n,) -> (n, degree + 1), twice."""
    x = 2 * u - 1
    values, slopes = [torch.ones_like(x), x], [torch.zeros_like(x), torch.ones_like(x)]
    for j in range(1, degree):
        values.append(((2 * j + 1) * x * values[j] - j * values[j - 1]) / (j + 1))
        slopes.append(slopes[j - 1] + (2 * j + 1) * values[j])
    norms = (2 * torch.arange(degree + 1).to(u) + 1).sqrt()
    return torch.stack(values[: degree + 1], 1) * norms, 2 * torch.stack(slopes[: degree + 1], 1) * norms


class LinearNetwork(ScaledNetwork):
    """What is linear in products of functions of space and polynomials of time.

    Each interval has coefficients theta of its own, or they are shared and of all intervals as one.
    Computes in double precision and answers in that of the points. At an inner knot, fields are those of the interval
    that begins there.

    Parameters
    ----------
    knots
        (K,) increasing times from 0 to 1, which bound the intervals.
    """

    knots: Tensor

    def __init__(
        self, functions: SpaceFunctions, settings: FeatureSettings, knots: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__(functions.dimension)
        self.degree = settings.degree_for(len(knots) - 1)
        self.space_features = functions
        self.register_buffer("knots", knots.double(), persistent=False)
        shape = (1 if settings.shared else len(knots) - 1, math.prod(functions.shape), self.degree + 1)
        theta = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        self.theta = nn.Parameter(theta / 100)
        """(K - 1, M, J) coefficients, or (K - 1, d M, J); (1, M, J) or (1, d M, J) where intervals share them."""
        self._interval: int | None = None

    def interval(self, index: int) -> Self:
        """The same, with the coefficients of one interval at all times."""
        one = copy.copy(self)
        one._interval = index
        return one

    def field(self, time: Tensor, x: Tensor) -> Tensor:
        """The field that the coefficients make: (n,), (n, d) -> (n, d)."""
        z, spread = self._scaled(x)
        return (spread * self.space_features.field(z, self._at(time, self.theta)[0])).to(x.dtype)

    def _at(self, time: Tensor, table: Tensor, leading: bool = True) -> tuple[Tensor, Tensor]:
        """What a table of coefficients, (K - 1, M, J), comes to, and its slope in time: (n,) -> (n or 1, M), twice.

        A table of one interval is of all. At inner knots of the interval that begins there, or of the one that ends.
        One row stands for equal times.
        """
        if not time.requires_grad and len(time) and bool((time == time[0]).all()):
            time = time[:1]
        bounds = self.knots if len(table) > 1 else self.knots[[0, -1]]
        only = 0 if len(table) == 1 else self._interval
        if only is not None:
            index, intervals = torch.full(time.shape, only, device=time.device), [only]
        else:
            knots = bounds.to(time.dtype)  # as times are rounded
            index = torch.searchsorted(knots, time.detach().contiguous(), right=leading) - 1
            index = index.clamp(0, len(knots) - 2)
            intervals = index.unique().tolist()
        lengths = bounds.diff()[index]
        values, slopes = legendre((time.double() - bounds[index]) / lengths, table.shape[2] - 1)
        slopes = slopes / lengths[:, None]
        if len(intervals) == 1:
            return values @ table[intervals[0]].T, slopes @ table[intervals[0]].T
        now, slope = values.new_zeros(2, len(time), table.shape[1])
        for k in intervals:
            here = torch.nonzero(index == k)[:, 0]
            now = now.index_add(0, here, values[here] @ table[k].T)
            slope = slope.index_add(0, here, slopes[here] @ table[k].T)
        return now, slope

    def _scaled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spread = self.spread.double()
        return (x.double() - self.centre.double()) / spread, spread


class LinearField(LinearNetwork):
    """A vector field, (n,), (n, d) -> (n, d): a velocity, or the score of an energy that is linear in its features."""

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """The field at (n, d) points."""
        return self.field(time, x)

    def with_pullback(self, time: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The field and the rows of its Jacobian in x, each (n, d), differentiable in the coefficients."""
        x = x.detach().requires_grad_()
        field = self(time, x)
        rows = [torch.autograd.grad(part.sum(), x, create_graph=True)[0] for part in field.unbind(1)]
        return field, rows


class LinearAction(LinearNetwork, Potential):
    r"""An action s_t(x) = L^2 (sum_mj theta_mj psi_m((x - c) / L) p_j(u) + sum_j o_j p_j(u)).

    c is the centre of the data and L their spread; p_j are polynomials of the part u of an interval that has passed.
    o is zero until it is set, and moves no particle. At an inner knot, the value is the mean of both intervals, from
    which growth follows.
    """

    space_features: SpaceFeatures
    offset: Tensor
    """(K - 1, 1, 3 J) coefficients of a function of time alone."""

    def __init__(self, dimension: int, settings: FeatureSettings, knots: Tensor, generator: torch.Generator) -> None:
        super().__init__(SpaceFeatures(dimension, settings, generator), settings, knots, generator)
        self.register_buffer("offset", torch.zeros(len(knots) - 1, 1, 3 * self.degree + 3, dtype=torch.float64))

    def reversed(self) -> ReversedLinearAction:
        """The action of the path run backwards, interval by interval too."""
        return ReversedLinearAction(self)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        """s_t(x): (n,), (n, d) -> (n,)."""
        z, spread = self._scaled(x)
        c, o = (
            (self._at(time, table)[0] + self._at(time, table, leading=False)[0]) / 2
            for table in (self.theta, self.offset)
        )
        return (spread**2 * ((c * self.space_features.values(z)).sum(1) + o[:, 0])).to(x.dtype)

    def derivatives(self, time: Tensor, x: Tensor) -> Derivatives:
        """Value and gradients, from those of the features."""
        z, spread = self._scaled(x)
        features = self.space_features.values(z)
        both = zip(self._at(time, self.theta), self._at(time, self.offset), strict=True)
        value, ds_dt = (spread**2 * ((c * features).sum(1) + o[:, 0]) for c, o in both)
        ds_dx = self.space(time, x)
        return Derivatives(value.to(x.dtype), ds_dt.to(x.dtype), ds_dx)

    def space(self, time: Tensor, x: Tensor) -> Tensor:
        """Velocity field grad s_t(x): (n,), (n, d) -> (n, d)."""
        return self.field(time, x)


class ReversedLinearAction(ReversedPotential):
    """A linear action of the path run backwards."""

    potential: LinearAction

    @property
    def knots(self) -> Tensor:
        """(K,) increasing times from 0 to 1, which bound the intervals."""
        return 1 - self.potential.knots.flip(0)

    def interval(self, index: int) -> ReversedPotential:
        """The same action, with the coefficients of one interval at all times."""
        return ReversedPotential(self.potential.interval(len(self.potential.knots) - 2 - index))
