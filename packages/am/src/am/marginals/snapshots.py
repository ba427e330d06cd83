"""A path through snapshots: what lies between the time points of a data set of particles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FULL_PLAN = 25_000_000
"""Entries of the largest cost matrix that is solved as a whole; above it, minibatches are coupled."""
ENTROPY, TOLERANCE = 4e-3, 3e-6
"""Entropy of an unbalanced plan beside the relaxation or the mean cost, and change of its potentials at the end."""
ANNEALING_STEPS, SINKHORN_STEPS = 20, 2000
"""Most iterations with each entropy, and with the last one."""
LOST, NEGLIGIBLE = 1e-12, 1e-6
"""Mass of a point that is as good as without a partner, and share of a point's mass in a pair that is left out."""

Coupling = Literal["optimal", "unbalanced", "independent"]
Masses = Literal["equal", "counts"] | Sequence[float]
"""How much there is at each time: always the same, as many as there are points, or numbers."""


class Plan(NamedTuple):
    """Pairs of points that are joined, and how likely each is."""

    row: Tensor
    column: Tensor
    first: Tensor
    """Mass of each pair, such that the first points carry equal masses."""
    second: Tensor
    """Mass of each pair, such that the second points do: the same where mass is only moved."""

    def draw(self, passed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices of a pair for each of (n,) shares of the way that have passed."""
        late = torch.zeros_like(passed, dtype=torch.bool)
        if self.second is not self.first:
            late = torch.rand(passed.shape, generator=generator, device=passed.device) < passed
        u = torch.rand(passed.shape, generator=generator, device=passed.device, dtype=torch.float64)
        levels = (mass.to(passed.device).cumsum(0) for mass in (self.first, self.second))
        chosen = [torch.searchsorted(level, u * level[-1], right=True) for level in levels]
        index = torch.where(late, chosen[1], chosen[0]).clamp(max=len(self.row) - 1)
        return self.row.to(index.device)[index], self.column.to(index.device)[index]


class Pairs(NamedTuple):
    """All pairs that a coupling joins, of a snapshot and the next."""

    start: Tensor
    end: Tensor
    """(P, d) each."""
    first: Tensor
    second: Tensor
    """(P,) share of each pair as the interval begins, and as it ends; both add up to one."""


class SnapshotPath:
    r"""Particles seen at a few times, and a path q_t through them.

    Between neighbouring snapshots k and k + 1,

    .. math:: x_t = (1 - u) x_k + u x_{k+1} + \sigma \sqrt{u (1 - u)}\, \epsilon, \quad u = (t - t_k) / (t_{k+1} - t_k)

    with (x_k, x_{k+1}) from a coupling of the two. At observed times q_t is the snapshot itself. Where the coupling is
    unbalanced, a pair is as likely as (1 - u) pi_ij / sum_j pi_ij + u pi_ij / sum_i pi_ij: mass that is far from any
    partner shrinks or grows where it is instead of going there. The whole mass grows exponentially from one snapshot
    to the next; it changes no q_t and no coupling, since a plan for other masses is a multiple of the same.

    Parameters
    ----------
    points
        For each snapshot, (n_k, d): tensors, or arrays, which are taken in single precision.
    times
        (K,) increasing, from 0 to 1, at least two.
    coupling
        ``optimal``: an optimal-transport plan for squared Euclidean cost, of the whole snapshots while their cost
        matrix has at most :data:`FULL_PLAN` entries, of each minibatch above that; ``unbalanced``: the same, where
        mass may also be made and lost; ``independent``: any pair.
    smoothing
        sigma, in the units of the points.
    relaxation
        What it costs to make or lose mass, in squared units of the points: how far it rather goes.
    masses
        (K,) how much there is at each time, in any unit; None where it is always the same.

    Examples
    --------
    >>> import am, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> path = am.SnapshotPath([rng.normal(size=(100, 2)), rng.normal(size=(80, 2)) + 3], [0, 1])
    >>> path.dimension
    2

    Raises
    ------
    ValueError
        Fewer than two snapshots, an empty one, one of another dimension, times that do not increase from 0 to 1,
        numbers that are not finite, or masses that are not one positive number a snapshot.
    """

    not_fingerprinted: ClassVar[frozenset[str]] = frozenset({"_plans"})

    def __init__(
        self,
        points: Sequence[Tensor | ArrayLike],
        times: Sequence[float],
        coupling: Coupling = "optimal",
        smoothing: float = 0.0,
        relaxation: float = 1.0,
        masses: Sequence[float] | None = None,
    ) -> None:
        clouds = [x if isinstance(x, Tensor) else torch.as_tensor(x, dtype=torch.float32) for x in points]
        times = [float(time) for time in times]
        if len(clouds) < 2 or len(clouds) != len(times):
            raise ValueError(f"a path needs two snapshots or more, each with its time; got {len(clouds)}, {len(times)}")
        if times[0] != 0 or times[-1] != 1 or any(b <= a for a, b in pairwise(times)):
            raise ValueError(f"times of snapshots must increase from 0 to 1, got {list(times)}")
        for time, x in zip(times, clouds, strict=True):
            if not len(x) or not bool(torch.isfinite(x).all()):
                raise ValueError(f"the snapshot at time {time:g} is empty or holds numbers that are not finite")
            if x.ndim != 2 or x.shape[1] != clouds[0].shape[1]:
                raise ValueError(
                    f"snapshots must be (n, d) with one d: {tuple(x.shape)} at time {time:g}, "
                    f"{tuple(clouds[0].shape)} at time 0"
                )
        if masses is not None and (len(masses) != len(clouds) or not all(0 < mass < math.inf for mass in masses)):
            raise ValueError(f"masses must be one positive number for each of {len(clouds)} times, got {list(masses)}")
        self.points = tuple(clouds)
        """For each snapshot, (n_k, d)."""
        self.times = torch.tensor(times, dtype=torch.float64)
        """(K,) float64"""
        self.coupling, self.smoothing, self.relaxation = coupling, smoothing, relaxation
        self.masses = None if masses is None else tuple(masses)
        """(K,), or None where they are all the same."""
        self.dimension = int(clouds[0].shape[1])
        self._plans: dict[int, Plan] = {}

    def draw(self, snapshot: int, n: int, generator: torch.Generator) -> Tensor:
        """``n`` particles of a snapshot, with replacement: (n, d)."""
        x = self.points[snapshot]
        return _to(x, generator)[torch.randint(len(x), (n,), generator=generator, device=generator.device)]

    def pairs(self, snapshot: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``n`` coupled particles of a snapshot and of the next: (n, d) and (n, d).

        Where the coupling is unbalanced, the first are particles of the snapshot, and the second need not be those of
        the next one alone.
        """
        return self._pairs(snapshot, torch.zeros(n, device=generator.device), generator)

    def joined(self, snapshot: int) -> Pairs | None:
        """All coupled particles of a snapshot and the next; None where they are coupled in batches, or independent."""
        plan = self._whole_plan(snapshot)
        if plan is None:
            return None
        x, y = self.points[snapshot : snapshot + 2]
        shares = (mass.double() / mass.double().sum() for mass in (plan.first, plan.second))
        return Pairs(x[plan.row.to(x.device)], y[plan.column.to(y.device)], *shares)

    def locate(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Index of the interval that each time lies in, and u, how much of it has passed: (n,) -> (n,), (n,)."""
        knots = self.times.to(time.device)
        interval = (torch.searchsorted(knots, time.double(), right=True) - 1).clamp(0, len(knots) - 2)
        u = (time.double() - knots[interval]) / (knots[interval + 1] - knots[interval])
        return interval, u.to(time.dtype)

    def log_mass(self, time: Tensor) -> Tensor:
        """Logarithm of the whole mass, 0 at t = 0: (n,) -> (n,)."""
        if self.masses is None:
            return torch.zeros_like(time)
        interval, u = self.locate(time)
        log_mass = torch.tensor(self.masses, dtype=torch.float64).log().to(time)
        return torch.lerp(log_mass[interval], log_mass[interval + 1], u) - log_mass[0]

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """One point of q_t for each entry of ``time``: (n,) in [0, 1] -> (n, d)."""
        return self._curves(time, generator)[0]

    def moving(self, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same points, and the velocities of the curves that they lie on: (n,) -> (n, d), (n, d).

        With smoothing, the velocity of a curve grows like one over the root of the time to the next snapshot.

        Raises
        ------
        ValueError
            The coupling is unbalanced: what carries q_t is then not motion alone.
        """
        if self.coupling == "unbalanced":
            raise ValueError(
                "under an unbalanced coupling points come and go instead of moving along curves: "
                "'estimator: conditional' needs the coupling 'optimal' or 'independent'"
            )
        return self._curves(time, generator)

    def _curves(self, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        interval, passed = self.locate(time)
        x = time.new_empty(len(time), self.dimension)
        velocity = torch.empty_like(x)
        for k in interval.unique().tolist():
            here = interval == k
            start, end = (x_k.to(x) for x_k in self._pairs(k, passed[here], generator))
            u = passed[here, None]
            x[here] = (1 - u) * start + u * end
            velocity[here] = end - start
            if self.smoothing:
                noise = torch.randn(start.shape, generator=generator, dtype=start.dtype, device=start.device)
                width = (u * (1 - u)).sqrt()
                x[here] += self.smoothing * width * noise
                velocity[here] += self.smoothing * (0.5 - u) / width.clamp(min=1e-6) * noise
            velocity[here] /= self.times[k + 1] - self.times[k]
        return x, velocity

    def _pairs(self, snapshot: int, passed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A pair for each share of the way that has passed: (n,) -> (n, d) and (n, d)."""
        n, ends = len(passed), self.points[snapshot : snapshot + 2]
        if self.coupling == "independent":
            return self.draw(snapshot, n, generator), self.draw(snapshot + 1, n, generator)
        if (whole := self._whole_plan(snapshot)) is not None:
            x, y = (_to(end, generator) for end in ends)
            i, j = whole.draw(passed, generator)
            return x[i], y[j]
        x, y = self.draw(snapshot, n, generator), self.draw(snapshot + 1, n, generator)
        plan = self._plan(x, y)
        if self.coupling == "unbalanced":
            i, j = plan.draw(passed, generator)
        else:  # each particle has one partner: all are taken
            order = torch.randperm(n, generator=generator, device=generator.device)
            i, j = plan.row.to(order.device)[order], plan.column.to(order.device)[order]
        return x[i], y[j]

    def _whole_plan(self, snapshot: int) -> Plan | None:
        """The plan of a snapshot and the next, where they are coupled as a whole."""
        x, y = self.points[snapshot : snapshot + 2]
        if self.coupling == "independent" or len(x) * len(y) > FULL_PLAN:
            return None
        if snapshot not in self._plans:
            self._plans[snapshot] = self._plan(x, y)
        return self._plans[snapshot]

    def _plan(self, x: Tensor, y: Tensor) -> Plan:
        if self.coupling == "unbalanced":
            return unbalanced_plan(x, y, self.relaxation)
        i, j, mass = transport_plan(x, y)
        return Plan(i, j, mass, mass)


def masses_of(points: Sequence[Tensor], masses: Masses) -> Sequence[float] | None:
    """The masses of snapshots as numbers; None where they are all the same."""
    if masses == "equal":
        return None
    return [len(x) for x in points] if masses == "counts" else masses


def transport_plan(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Optimal transport of equal masses for squared Euclidean cost: (n, d), (m, d) -> rows, columns and masses.

    At most n + m - 1 pairs carry mass, and between equal numbers of points each point has one partner.
    """
    plan = _transport(squared_distances(x, y))
    i, j = plan.nonzero(as_tuple=True)
    return i, j, plan[i, j]


def unbalanced_plan(x: Tensor, y: Tensor, relaxation: float) -> Plan:
    """Unbalanced transport of equal masses for squared Euclidean cost: (n, d), (m, d).

    The plan pays ``relaxation`` times the Kullback-Leibler divergence of its marginals from equal masses. It is the
    cheapest plan between these marginals, which follow from potentials that a little entropy hardly changes. So
    Sinkhorn's iteration finds the potentials, and exact transport the plan.
    """
    cost = squared_distances(x, y)
    f, g = relaxed_potentials(cost, relaxation)
    masses = [torch.softmax(-potential / relaxation, 0) for potential in (f, g)]
    masses = [torch.where(mass < LOST, 0, mass) for mass in masses]
    joined = _transport(cost, *(mass / mass.sum() for mass in masses))
    joined[cost > f[:, None] + g + relaxation / 2] = 0  # forced by rounding alone
    nearest = torch.zeros_like(joined, dtype=torch.bool)
    for axis in (0, 1):  # a point without a partner within reach keeps the nearest: it hardly weighs there
        lost = joined.sum(axis, keepdim=True) < LOST
        nearest |= lost & (cost == cost.min(axis, keepdim=True).values)
    joined = torch.where(nearest, joined.clamp(min=LOST), joined)
    first, second = joined / joined.sum(1, keepdim=True), joined / joined.sum(0, keepdim=True)
    i, j = torch.maximum(first, second).gt(NEGLIGIBLE).nonzero(as_tuple=True)
    return Plan(i, j, first[i, j], second[i, j])


def relaxed_potentials(cost: Tensor, relaxation: float) -> tuple[Tensor, Tensor]:
    """Dual potentials f, g of unbalanced transport of equal masses: (n, m) cost -> (n,), (m,), in units of the cost.

    The marginals of the plan are 1 / n e^(-f / relaxation) and 1 / m e^(-g / relaxation). Sinkhorn's iteration with
    less and less entropy (Chizat et al., Math. Comp. 87, 2018), each step followed by the best shift of one potential
    against the other (Sejourne et al., AISTATS 2022), without which much ``relaxation`` makes it slow.
    """
    n, m = cost.shape
    f, g = cost.new_zeros(n), cost.new_zeros(m)
    least = ENTROPY * min(relaxation, float(cost.mean()) or relaxation)
    most = -math.log(LOST) * relaxation
    entropy = max(float(cost.max()) / 8, least)
    while True:
        share = relaxation / (relaxation + entropy)
        for step in range(SINKHORN_STEPS if entropy == least else ANNEALING_STEPS):
            if step % ANNEALING_STEPS == 0:  # numbers stay near one
                f_0, g_0, kernel = f, g, ((f[:, None] + g - cost) / entropy).exp_()
            before = f
            f = share * (f_0 - entropy * (kernel @ ((g - g_0) / entropy).exp() / m).log()).clamp(max=most)
            g = share * (g_0 - entropy * (((f - f_0) / entropy).exp() @ kernel / n).log()).clamp(max=most)
            shift = relaxation / 2 * (_log_mean_exp(-f / relaxation) - _log_mean_exp(-g / relaxation))
            f, g = f + shift, g - shift
            if float((f - before).abs().max()) < TOLERANCE * relaxation:
                break
        if entropy == least:
            return f, g
        entropy = max(entropy / 2, least)


def _log_mean_exp(x: Tensor) -> Tensor:
    return x.logsumexp(0) - math.log(len(x))


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, d), (m, d) -> (n, m) in double precision on the processor."""
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").square().cpu()


def _transport(cost: Tensor, *masses: Tensor) -> Tensor:
    """The cheapest plan of given masses, or of equal ones, by POT (Flamary et al., JMLR 22, 2021): (n, m)."""
    import ot

    first, second = (mass.numpy() for mass in masses) if masses else ([], [])
    return torch.from_numpy(ot.emd(first, second, cost.numpy(), numItermax=100_000_000))


def _to(x: Tensor, generator: torch.Generator) -> Tensor:
    return x.to(generator.device)
