"""Times of cells as people write them: numbers, ``day 2``, ``48h``, ``E8.5``, dates; as numbers of one unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from am.io.snapshots import DataError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
_MONTHS = {"months": 1, "years": 12}
"""Apart: a month is no fixed number of days."""
_WORDS = {
    "seconds": "s sec secs second seconds",
    "minutes": "min mins minute minutes",
    "hours": "h hr hrs hour hours",
    "days": "d day days",
    "weeks": "w wk wks week weeks",
    "months": "mo mth month months",
    "years": "y yr yrs year years",
}
_UNITS = {word: unit for unit, words in _WORDS.items() for word in words.split()}
_NOT_BEFORE = {"s", "y"}
"""S1 is a sample, Y1 may be anything."""
_OF_AGE = {"e": ("days", "conception"), "p": ("days", "birth"), "gw": ("weeks", "gestation"), "pcw": ("weeks", "pc")}
_INITIALS = {"h": "hours", "d": "days", "w": "weeks"}

_NUMBER = r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))"
_AFTER = re.compile(rf"{_NUMBER}[ _-]?(?P<unit>[a-z]+)(?P<origin>(?: (?:post|after)[ -]?[a-z]+| old| [a-z]*apf| ael)?)")
_BEFORE = re.compile(rf"(?P<unit>[a-z]+)(?P<gap>[ _.:=]*){_NUMBER}(?P<origin>(?: (?:post|after)[ -]?[a-z]+)?)")
_POINT = re.compile(r"(?:t|tp|time|time ?point)[ _=]*(?=[\d.+-])")
_DATE = re.compile(r"\d{4}([-/])\d\d\1\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?)?")
_ELAPSED = re.compile(r"[+-]?\d+ days?,? [+-]?\d?\d:\d\d:\d\d(?:\.\d+)?")


@dataclass(frozen=True)
class Times:
    """Times of cells as numbers of one unit."""

    values: Floats
    """(n,)"""
    unit: str | None
    """``hours``, ``days``, ...; None where the column holds numbers alone."""
    words: dict[float, list[Any]]
    """What the column has for each number."""


@dataclass(frozen=True)
class _Time:
    """One word: a number of a unit since some origin."""

    number: float
    unit: str | None = None
    origin: str = ""


def read_times(column: pd.Series, key: str, what: str) -> Times:
    """Times of a column that has one for each cell.

    Understood are numbers; a number with a unit before or behind it (``day 2``, ``D2``, ``48h``, ``12 hpf``,
    ``3 weeks``), all of one unit or of units that convert to one another; embryonic and postnatal days (``E8.5``,
    ``P7``); dates and time spans. Units are converted to the smallest that is there. Dates count from the first of
    them, in the largest of days, hours, minutes and seconds in which all are whole.

    Parameters
    ----------
    key
        Name of the column, for lines of code in messages.
    what
        File and column, to begin messages with.

    Raises
    ------
    DataError
        A cell has no time, or one that is not understood: names it, and the number of its cells.
    """
    import pandas as pd

    missing = int(column.isna().sum())
    if missing:
        raise DataError(
            f"{what} is missing for {missing} of {len(column)} cells; leave them out: "
            f"adata = adata[adata.obs[{key!r}].notna()].copy()"
        )
    codes, found = pd.factorize(column)
    uniques = pd.Series(np.asarray(found) if isinstance(found.dtype, pd.CategoricalDtype) else found).infer_objects()
    counts = np.bincount(codes, minlength=len(uniques))
    numbers, unit = _Column(uniques, counts, key, what).read()
    words: dict[float, list[Any]] = {}
    for number, word in zip(numbers.tolist(), uniques.tolist(), strict=True):
        words.setdefault(number, []).append(word)
    return Times(numbers[codes], unit, words)


@dataclass(frozen=True)
class _Column:
    """The different entries of a column, with the number of cells of each."""

    entries: pd.Series
    counts: NDArray[np.int64]
    key: str
    what: str

    def read(self) -> tuple[Floats, str | None]:
        """One number for each entry, and their unit."""
        import pandas as pd
        from pandas.api import types

        entries = self.entries
        if types.is_complex_dtype(entries):
            raise DataError(f"{self.what} must hold numbers, such as days; it holds complex ones")
        if types.is_numeric_dtype(entries):
            return self._numbers(entries.to_numpy(np.float64))
        if types.is_datetime64_any_dtype(entries):
            return _since_the_first(entries)
        if types.is_timedelta64_dtype(entries):
            return _whole(entries.dt.total_seconds().to_numpy().astype(np.float64))
        plain = [_plain(entry) for entry in entries]
        numbers = pd.to_numeric(pd.Series(plain, dtype=object), errors="coerce").to_numpy(np.float64)
        if np.isfinite(numbers).all():
            return self._numbers(numbers)
        if all(map(_DATE.fullmatch, plain)):
            written = pd.Series([word.replace("/", "-").upper() for word in plain])
            dates = pd.to_datetime(written, format="ISO8601", utc=True, errors="coerce")
            self._refuse_where(dates.isna().to_numpy())
            return _since_the_first(dates)
        if all(map(_ELAPSED.fullmatch, plain)):
            spans = pd.to_timedelta(pd.Series([word.replace(",", "") for word in plain]), errors="coerce")
            self._refuse_where(spans.isna().to_numpy())
            return _whole(np.asarray(spans.dt.total_seconds(), np.float64))
        return self._convert([self._parse(i, word, numbers[i]) for i, word in enumerate(plain)])

    def _numbers(self, numbers: Floats) -> tuple[Floats, str | None]:
        self._refuse_where(~np.isfinite(numbers))
        dates = _as_dates(numbers)
        return (numbers, None) if dates is None else _since_the_first(dates)

    def _parse(self, i: int, word: str, number: float) -> _Time:
        if np.isfinite(number):
            return _Time(float(number))
        rest = _POINT.sub("", word, count=1) if _POINT.match(word) else word
        if re.fullmatch(_NUMBER, rest):
            return _Time(float(rest))
        if match := _AFTER.fullmatch(rest):
            unit, number = match["unit"], float(match["number"])
            self._refuse_if_ambiguous(i, unit)
            if unit in _UNITS:
                return _Time(number, _UNITS[unit], match["origin"].strip())
            initials = re.fullmatch(r"([hdw])(p[a-z]{1,2}|apf|ael)", unit)
            if initials and not match["origin"]:
                return _Time(number, _INITIALS[initials[1]], initials[2])
            if unit in ("pcw", "pcd"):
                return _Time(number, _INITIALS[unit[-1]], "pc")
        if match := _BEFORE.fullmatch(rest):
            unit, number = match["unit"], float(match["number"])
            self._refuse_if_ambiguous(i, unit)
            if (unit in _UNITS and unit not in _NOT_BEFORE) or unit in _OF_AGE:
                if match["number"].startswith("-") and not match["gap"]:
                    raise self._refusal(
                        i, f"may be {-number:g} {_UNITS.get(unit, 'days')} after the start or before it"
                    )
                of_age, origin = _OF_AGE.get(unit, (None, match["origin"].strip()))
                return _Time(number, of_age or _UNITS[unit], origin)
        raise self._refusal(i)

    def _convert(self, times: Sequence[_Time]) -> tuple[Floats, str | None]:
        """All in the smallest unit; 0 needs none."""
        measured = [i for i, time in enumerate(times) if time.unit is not None or time.number != 0]
        first = measured[0] if measured else 0
        for i in measured:
            here, there = times[first], times[i]
            if (here.unit is None) != (there.unit is None):
                bare, other = (first, i) if here.unit is None else (i, first)
                raise self._refusal(bare, f"has no unit where '{self.entries[other]}' has one")
            if here.origin != there.origin:
                raise self._refusal(i, f"does not count from the same moment as '{self.entries[first]}'")
            if here.unit is not None and (here.unit in _MONTHS) != (there.unit in _MONTHS):
                raise self._refusal(i, f"does not convert to the unit of '{self.entries[first]}'")
        units = {time.unit for time in times if time.unit is not None}
        if not units:
            return np.array([time.number for time in times]), None
        lengths = _MONTHS if units <= _MONTHS.keys() else _SECONDS
        unit = min(units, key=lengths.__getitem__)
        return np.array([_times(t.number, lengths[t.unit or unit] / lengths[unit]) for t in times]), unit

    def _refuse_where(self, bad: NDArray[np.bool_]) -> None:
        if bad.any():
            raise self._refusal(int(bad.argmax()))

    def _refuse_if_ambiguous(self, i: int, unit: str) -> None:
        if unit in ("m", "ms"):
            raise self._refusal(i, "may be minutes or months" if unit == "m" else "may be months or milliseconds")

    def _refusal(self, i: int, why: str = "is not understood as a time") -> DataError:
        words = ", ".join(f"{entry!r}: ..." for entry in self.entries.tolist()[:3])
        more = ", ..." if len(self.entries) > 3 else ""
        return DataError(
            f"{self.what} holds '{self.entries[i]}' in {self.counts[i]} of {self.counts.sum()} cells, which {why}; put "
            f"numbers into a column of their own: adata.obs['{self.key}_number'] = "
            f"adata.obs[{self.key!r}].map({{{words}{more}}}).astype(float)"
        )


def _plain(entry: Any) -> str:
    """An entry in small letters, with single spaces and a plain minus."""
    text = entry.decode(errors="replace") if isinstance(entry, bytes) else str(entry)
    return " ".join(text.replace("\u2212", "-").lower().split())


def _times(number: float, factor: float) -> float:
    """A product in which 1.1 days are 26.4 hours."""
    return number if factor == 1 else float(f"{number * factor:.12g}")


def _as_dates(numbers: Floats) -> pd.Series | None:
    """Dates that are written as numbers, such as 20200131; None where one of them is none."""
    import pandas as pd

    if not len(numbers) or not ((numbers >= 19000101) & (numbers <= 21001231) & (numbers % 1 == 0)).all():
        return None
    dates = pd.Series(pd.to_datetime(numbers.astype(int).astype(str), format="%Y%m%d", errors="coerce"))
    return None if dates.isna().any() else dates


def _since_the_first(dates: pd.Series) -> tuple[Floats, str]:
    return _whole((dates - dates.min()).dt.total_seconds().to_numpy(np.float64))


def _whole(seconds: Floats) -> tuple[Floats, str]:
    """In the largest unit up to days in which all are whole; in days where there is none."""
    for unit in ("days", "hours", "minutes", "seconds"):
        if not (seconds % _SECONDS[unit]).any():
            return seconds / _SECONDS[unit], unit
    return seconds / _SECONDS["days"], "days"
