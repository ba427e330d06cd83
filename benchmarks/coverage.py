"""How often the intervals that are shown hold the truth, simulated.

python benchmarks/coverage.py

Tables for `docs/decisions/intervals.md`, in % of simulated cases: means over seeds, one more value of the floor, and
ranks of 13 methods that are alike. Seeds are fixed, and a test compares the page with what is printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import gamma, hyp1f1

from am.io.tidy import BLOCK_COLUMNS, METRIC_COLUMNS
from am.report.estimates import BLOCKS, estimate, next_value
from am.report.labels import Label
from am.report.pairs import compare_pairs
from am.report.ranks import ranks
from am.report.tables import markdown_table

Array = NDArray[np.float64]
SEEDS, REPEATS = (2, 3, 5, 10), (5, 10, 20, 50)
SETS, POINTS = 500, 24
SIMULATED = 10**4
METHODS, RANKINGS = 13, 100
SCALE = 0.25
"""Of the kernel of MMD, exp(-SCALE d^2)."""


def energy(x: Array, y: Array, blocks: int = BLOCKS) -> Array:
    """Energy distance of (..., n, d) samples, of all and without each of the first blocks: (..., 1 + blocks)."""
    return -_two_samples(x, y, np.sqrt, blocks)


def mmd(x: Array, y: Array, blocks: int = BLOCKS) -> Array:
    """Squared MMD, likewise."""
    return _two_samples(x, y, lambda squared: np.exp(-SCALE * squared), blocks)


def _two_samples(x: Array, y: Array, function: Callable[[Array], Array], blocks: int) -> Array:
    n = x.shape[-2]
    there = np.column_stack([np.ones(n), *(np.arange(n) % BLOCKS != block for block in range(blocks))])
    size = there.sum(0)

    def total(a: Array, b: Array, others: Array) -> Array:
        squared = np.square(a[..., :, None, :] - b[..., None, :, :]).sum(-1)
        return ((function(squared) * others) @ there * there).sum(-2)

    apart = 1 - np.eye(n)
    within = (total(x, x, apart) + total(y, y, apart)) / (size * (size - 1))
    return within - 2 * total(x, y, np.ones((n, n))) / size**2


def true_energy(shift: Array, dimension: int) -> Array:
    """Of two Gaussians of variance 1, so far apart."""

    def mean_distance(shift: Array) -> Array:
        return 2 * gamma((dimension + 1) / 2) / gamma(dimension / 2) * hyp1f1(-0.5, dimension / 2, -(shift**2) / 4)

    return 2 * (mean_distance(shift) - mean_distance(0 * shift))


def true_mmd(shift: Array, dimension: int) -> Array:
    """The same of squared MMD."""
    wide = 1 + 4 * SCALE
    return 2 * wide ** (-dimension / 2) * (1 - np.exp(-SCALE * shift**2 / wide))


def wasserstein(x: Array, y: Array, blocks: int = BLOCKS) -> Array:
    """W1, likewise: exact, by the assignment of least cost."""
    return _assigned(x, y, 1, blocks)


def wasserstein_2(x: Array, y: Array, blocks: int = BLOCKS) -> Array:
    """W2, likewise."""
    return _assigned(x, y, 2, blocks)


def _assigned(x: Array, y: Array, power: int, blocks: int) -> Array:
    costs = np.square(x[..., :, None, :] - y[..., None, :, :]).sum(-1) ** (power / 2)
    block = np.arange(x.shape[-2]) % BLOCKS
    there = [np.ones(len(block), bool), *(block != left_out for left_out in range(blocks))]

    def least(cost: Array) -> float:
        return float(cost[linear_sum_assignment(cost)].mean() ** (1 / power))

    found = [[least(cost[np.ix_(kept, kept)]) for kept in there] for cost in costs.reshape(-1, *costs.shape[-2:])]
    return np.array(found).reshape(*costs.shape[:-2], -1)


def mean_of(distance: Callable[[Array, Array, int], Array]) -> Callable[[Array, int], Array]:
    """Of a biased distance, its mean at the size of the samples, by simulation with test points of each case."""

    def mean(shift: Array, dimension: int) -> Array:
        x, y = np.random.default_rng(2).normal(size=(2, SIMULATED, POINTS, dimension))
        x[..., 0] += np.resize(shift, (SIMULATED, 1))
        return distance(x, y, 0)[:, 0]

    return mean


DISTANCES = {
    "energy": (energy, true_energy),
    "MMD": (mmd, true_mmd),
    "W1": (wasserstein, mean_of(wasserstein)),
    "W2": (wasserstein_2, mean_of(wasserstein_2)),
}


def predictions(seeds: int, shift: float, luck: float, dimension: int, shared: bool) -> tuple[Array, Array]:
    """Particles and test points, (SETS, seeds, n, d): Gaussians, moved by ``shift`` and the luck of the seed."""
    rng = np.random.default_rng(0)
    start, y = rng.normal(size=(2, SETS, 1 if shared else seeds, POINTS, dimension))
    moved = shift + luck * rng.normal(size=(SETS, seeds, 1))
    x = np.repeat(start, seeds, 1) if shared else start
    x[..., 0] += moved
    return x, y


def means_over_seeds() -> str:
    """Intervals around known distances, and around the mean of skewed values."""
    luck = np.random.default_rng(1).normal(size=10**5)
    rows = []
    for shared, name, dimension, shift in (
        *((True, "energy", 5, shift) for shift in (0.0, 0.5, 1.0)),
        *((True, name, dimension, 0.0) for name, dimension in (("energy", 1), ("MMD", 5), ("MMD", 1))),
        *((True, name, 5, shift) for name in ("W1", "W2") for shift in (0.0, 1.0)),
        *((False, "energy", 5, shift) for shift in (0.0, 0.5, 1.0)),
        *((False, name, dimension, 0.0) for name, dimension in (("energy", 1), ("MMD", 5), ("MMD", 1))),
        *((False, name, 5, shift) for name in ("W1", "W2") for shift in (0.0, 1.0)),
    ):
        distance, truth = DISTANCES[name]
        true = float(truth(shift + 0.4 * shift * luck, dimension).mean())
        blocks = BLOCKS if shared else 0
        found = [distance(*predictions(seeds, shift, 0.4 * shift, dimension, shared), blocks) for seeds in SEEDS]
        intervals = [_intervals(values[..., 0], values[..., 1:].mean(1) if shared else None) for values in found]
        error = np.sqrt(np.square(intervals[-1]["cells_se"]).mean()) / intervals[-1]["mean"].std()
        points = "shared" if shared else "of each seed"
        jackknife = f"{error:.1f}" if shared else ""
        rows.append([f"{name}, d = {dimension}", points, f"{true:.3f}", *_held(intervals, true), jackknife])
    rng = np.random.default_rng(0)
    skewed: dict[str, tuple[Callable[[tuple[int, int]], Array], float]] = {
        "absolute normal": (lambda size: np.abs(rng.normal(size=size)), math.sqrt(2 / math.pi)),
        "exponential": (lambda size: rng.exponential(size=size), 1.0),
        "lognormal": (lambda size: rng.lognormal(size=size), math.exp(0.5)),
    }
    for name, (draw, true) in skewed.items():
        intervals = [_intervals(draw((SETS, seeds)), positive=True) for seeds in SEEDS]
        rows.append([name, "of each seed", f"{true:.3f}", *_held(intervals, true), ""])
    head = ["values", "test points", "true mean", *(f"{seeds} seeds" for seeds in SEEDS)]
    return markdown_table([*head, "3 seeds: too low", "too high", "jackknife"], rows)


def _intervals(values: Array, blocks: Array | None = None, positive: bool = False) -> pd.DataFrame:
    """The estimate of each row of ``values``."""
    series = (None if blocks is None else pd.Series(blocks[number]) for number in range(len(values)))
    found = (estimate(pd.Series(row), without, positive=positive) for row, without in zip(values, series, strict=True))
    return pd.DataFrame(found)


def _held(intervals: Sequence[pd.DataFrame], true: float) -> list[str]:
    """How often they hold the truth, and how often those of three seeds are below it and above."""
    three = intervals[SEEDS.index(3)]
    shares = [((found["low"] <= true) & (true <= found["high"])).mean() for found in intervals]
    return [percent(share) for share in (*shares, (three["high"] < true).mean(), (three["low"] > true).mean())]


def floors() -> str:
    """Whether one more distance of truth and truth falls into the floor of some repeats, or between their quantiles."""
    rng = np.random.default_rng(0)
    rows = []
    for name, (distance, _) in DISTANCES.items():
        for cells in (None, 4 * POINTS):
            values = np.array([_repeats(rng, distance, cells) for _ in range(SETS)])
            new, old = values[:, 0], [values[:, 1 : 1 + repeats] for repeats in REPEATS]
            ends = [np.array([next_value(pd.Series(row)) for row in some]).T for some in old]
            quantiles = [np.quantile(some, [0.025, 0.975], axis=1) for some in old]
            of = "new samples" if cells is None else f"halves of {cells} cells"
            for what, shares in (
                ("in the interval", [np.mean((low <= new) & (new <= high)) for low, high in ends]),
                ("below it", [np.mean(new < low) for low, _ in ends]),
                ("between quantiles", [np.mean((low <= new) & (new <= high)) for low, high in quantiles]),
            ):
                rows.append([name, of, what, *(percent(share) for share in shares)])
    return markdown_table(["metric", "repeats are of", "one more is", *(f"{r} repeats" for r in REPEATS)], rows)


def _repeats(rng: np.random.Generator, distance: Callable[[Array, Array, int], Array], cells: int | None) -> Array:
    """Of two new samples, and of the floor."""
    x = rng.normal(size=(1 + REPEATS[-1], 2 * POINTS, 5))
    if cells is not None:
        population = rng.normal(size=(cells, 5))
        x[1:] = [population[rng.permutation(cells)[: 2 * POINTS]] for _ in range(REPEATS[-1])]
    return distance(x[:, :POINTS], x[:, POINTS:], 0)[:, 0]


def alike() -> str:
    """How often any of 13 methods that are alike is told apart, and one that was chosen before."""
    rows = []
    for seeds, cells in ((3, 0.0), (10, 0.0), (3, 1.0)):
        rng = np.random.default_rng(0)
        shares = np.zeros((2, 2))
        for _ in range(RANKINGS):
            pairs = _pairs_of_alike(rng, seeds, cells)
            for of_told, told in zip(shares, ("nearer", "ranked"), strict=True):
                found = ranks(pairs, "lower", told)
                apart = (found["low"] > 1) | (found["high"] < METHODS)
                of_told += [apart.any() / RANKINGS, apart.mean() / RANKINGS]
        points = "of each seed" if not cells else "shared"
        rows.append([str(seeds), points, *(percent(share) for share in shares.ravel())])
    head = ["seeds", "test points", "any, 5 % each", "one, 5 % each", "any, as ranked", "one, as ranked"]
    return markdown_table(head, rows)


def _pairs_of_alike(rng: np.random.Generator, seeds: int, cells: float) -> pd.DataFrame:
    of_blocks = cells * math.sqrt(BLOCKS) * rng.normal(size=(METHODS, BLOCKS))
    values = rng.normal(size=(METHODS, seeds)) + of_blocks.mean(1, keepdims=True)
    keys = [("e", f"m{m}", seed, 1.0, "w1") for m in range(METHODS) for seed in range(seeds)]
    metrics = pd.DataFrame(
        [(*key, value, POINTS) for key, value in zip(keys, values.ravel(), strict=True)], columns=METRIC_COLUMNS
    )
    moved = (of_blocks.mean(1, keepdims=True) - of_blocks) / (BLOCKS - 1)
    without = [
        metrics.assign(value=(values + moved[:, [block]]).ravel(), block=block)
        for block in range(BLOCKS if cells else 0)
    ]
    blocks = pd.concat(without)[list(BLOCK_COLUMNS)] if without else None
    return compare_pairs("e", metrics, [Label(f"m{m}", f"m{m}") for m in range(METHODS)], blocks)


def percent(share: float) -> str:
    """A share of simulated cases, as it is shown."""
    return f"{100 * share:.0f}"


def main() -> None:
    print(*(table() for table in (means_over_seeds, floors, alike)), sep="\n")


if __name__ == "__main__":
    main()
