"""How often intervals, floors and ranks hold the truth: what docs/decisions/intervals.md tells of a simulation."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from am.metrics.energy import energy_distance
from am.metrics.mmd import mmd_squared
from am.metrics.transport import wasserstein1, wasserstein2

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[4]
PAGE = "docs/decisions/intervals.md"


@pytest.fixture(scope="module")
def simulation() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks/coverage.py"))


def rows(table: str) -> list[dict[str, str]]:
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return [dict(zip(head, line, strict=True)) for line in body]


def told(table: str) -> bool:
    return table in (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_simulated_distances_are_the_metrics(simulation: dict[str, Any]) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 24, 3))
    there = np.arange(24) % 10 != 3
    kernel = (simulation["SCALE"],)
    metrics: dict[str, Callable[..., float]] = {
        "energy": energy_distance,
        "mmd": lambda a, b: mmd_squared(a, b, kernel),
        "wasserstein": wasserstein1,
        "wasserstein_2": wasserstein2,
    }
    for name, metric in metrics.items():
        found = simulation[name](x, y)
        assert (found[0], found[4]) == pytest.approx((metric(x, y), metric(x[there], y[there])))


@pytest.mark.parametrize("name", ["energy", "mmd"])
def test_the_true_distances_are_their_means(simulation: dict[str, Any], name: str) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 4000, 24, 3))
    x[..., 0] += 1.0
    found = simulation[name](x, y)[:, 0]
    error = found.std() / np.sqrt(len(found))
    assert simulation[f"true_{name}"](np.array(1.0), 3) == pytest.approx(found.mean(), abs=4 * error)


def test_means_over_seeds(simulation: dict[str, Any]) -> None:
    table = simulation["means_over_seeds"]()
    assert told(table), f"copy the tables of benchmarks/coverage.py to {PAGE}"
    for row in rows(table):
        least = 95 if row["test points"] == "shared" else 87 if "d = 1" in row["values"] else 89
        assert min(int(row[f"{seeds} seeds"]) for seeds in (2, 3, 5, 10)) >= least


def test_one_more_distance_falls_into_the_floor(simulation: dict[str, Any]) -> None:
    table = simulation["floors"]()
    assert told(table), f"copy the tables of benchmarks/coverage.py to {PAGE}"
    for row in rows(table):
        shares = [int(row[f"{repeats} repeats"]) for repeats in (5, 10, 20, 50)]
        if row["one more is"] == "in the interval":
            pool_of_a_biased_distance = row["metric"] in ("W1", "W2") and row["repeats are of"] != "new samples"
            assert min(shares) >= (86 if pool_of_a_biased_distance else 92)
        if row["one more is"] == "between quantiles":
            assert shares[0] < 70
            assert shares == sorted(shares)


def test_methods_that_are_alike_have_no_ranks(simulation: dict[str, Any]) -> None:
    table = simulation["alike"]()
    assert told(table), f"copy the tables of benchmarks/coverage.py to {PAGE}"
    for row in rows(table):
        assert int(row["one, as ranked"]) <= 6
        assert int(row["one, 5 % each"]) >= 20
