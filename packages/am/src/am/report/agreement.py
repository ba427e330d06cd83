"""Whether a rerun agrees with reference results, value by value and mean by mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from am.report.numbers import number

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-6
"""Relative difference of means that is none: orders of summation differ by less between machines."""
_VALUE = ["experiment", "method", "metric", "time", "n_samples", "seed"]
_MEAN = _VALUE[:-2]
_MOST = 5


@dataclass(frozen=True)
class Agreement:
    """A rerun beside the reference."""

    values: int
    """That both have."""
    identical: int
    """Of these."""
    means: pd.DataFrame
    """A row for each experiment, method, metric and time: ``reference`` and ``rerun``, means over the seeds that both
    have; ``spread``, the standard deviation of the reference between these seeds (NaN of one seed); ``ratio``, their
    absolute difference in units of it, 0 where they are the same but for rounding."""
    only_reference: list[str]
    """Runs that the rerun has no value of, as ``experiment, run``."""
    only_rerun: list[str]
    """Runs that the reference has no value of."""

    @property
    def beyond(self) -> pd.DataFrame:
        """Means that differ by more than one standard deviation of the seeds, the farthest first."""
        return self.means[self.means["ratio"] > 1].sort_values("ratio", ascending=False, kind="stable")

    def lines(self) -> list[str]:
        """The same in words: at most ten lines.

        Examples
        --------
        >>> import pandas as pd
        >>> table = pd.DataFrame({"experiment": "e", "method": "am", "seed": [0, 1], "time": 1.0, "metric": "mmd",
        ...                       "value": [0.1, 0.2], "n_samples": 10})
        >>> agreement(table, table).lines()
        ['2 values stand in both, and 2 of them are identical.',
         'Of 1 means over seeds, 1 are the same but for rounding, 0 differ within the spread over seeds, 0 beyond it.']
        """
        same, beyond = int((self.means["ratio"] == 0).sum()), self.beyond
        unknown = int(self.means["ratio"].isna().sum())
        within = len(self.means) - same - unknown - len(beyond)
        counts = f"Of {len(self.means):,} means over seeds, {same:,} are the same but for rounding, "
        counts += f"{within:,} differ within the spread over seeds, {len(beyond):,} beyond it"
        counts += f", and {unknown:,} of one seed differ." if unknown else "."
        told = [f"{self.values:,} values stand in both, and {self.identical:,} of them are identical.", counts]
        told += [_told(row) for row in beyond.head(_MOST).to_dict("records")]
        if len(beyond) > _MOST:
            told.append(f"  and {len(beyond) - _MOST:,} more")
        told += _missing("not rerun", self.only_reference)
        told += _missing("without a reference", self.only_rerun)
        return told


def agreement(reference: pd.DataFrame, rerun: pd.DataFrame) -> Agreement:
    """Compare two tables with the columns of ``metrics.csv``.

    Values belong together that are of the same experiment, method, metric, time, number of samples and seed. The spread
    is the standard deviation over the seeds of the reference. A mean that has no spread, since all seeds gave one
    value, is beyond it as soon as it differs.
    """
    import numpy as np

    reference, rerun = (table.assign(time=table["time"].astype(float).round(9)) for table in (reference, rerun))
    both = reference.merge(rerun, on=_VALUE, suffixes=("_reference", "_rerun"))
    old, new = both["value_reference"], both["value_rerun"]
    identical = int(((old == new) | (old.isna() & new.isna())).sum())
    groups = both.groupby(_MEAN, dropna=False, sort=False)
    means = groups.agg(
        reference=("value_reference", "mean"), rerun=("value_rerun", "mean"), spread=("value_reference", "std")
    ).reset_index()
    difference = (means["rerun"] - means["reference"]).abs()
    same = np.isclose(means["rerun"], means["reference"], rtol=ROUNDING, atol=0, equal_nan=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = difference.to_numpy(float) / means["spread"].to_numpy(float)
    means["ratio"] = np.where(same, 0.0, ratio)
    runs_of = [dict.fromkeys(map(", ".join, t[["experiment", "method"]].to_numpy())) for t in (reference, rerun)]
    there = set(map(", ".join, both[["experiment", "method"]].to_numpy()))
    gone, fresh = ([run for run in runs if run not in there] for runs in runs_of)
    return Agreement(len(both), identical, means, gone, fresh)


def _told(row: Any) -> str:
    where = f"{row['experiment']}, {row['method']}, {row['metric']}"
    at = "" if math.isnan(row["time"]) else f" at t = {row['time']:g}"
    by = f"{row['ratio']:.1f} standard deviations" if math.isfinite(row["ratio"]) else "all seeds gave one value"
    return f"  {where}{at}: {number(row['rerun'])}, reference {number(row['reference'])} ({by})"


def _missing(what: str, runs: list[str]) -> Iterator[str]:
    if runs:
        rest = f"; and {len(runs) - _MOST:,} more" if len(runs) > _MOST else ""
        yield f"Runs {what}: {'; '.join(runs[:_MOST])}{rest}."
