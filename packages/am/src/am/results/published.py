"""Values that others have published, and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from am.config import Settings

Confidence = Literal["official", "restated", "unverified", "not recovered"]
"""official: printed or set by the authors; restated: quoted by others; unverified: never seen in a source."""


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


_ROUNDING = 0.02
"""Relative: published means are rounded."""
_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Outcome = Literal["reproduced", "better", "worse"]
"""What a comparison with a published number can come to."""


class Published(Settings):
    """One published number, in the ``published`` list of an experiment."""

    method: str = Field(description="name of the method in this project")
    metric: str = Field(description="name of the metric in metrics.csv")
    value: float | None = Field(default=None, description="absent only where it was not recovered")
    at_times: tuple[float, ...] = Field(
        default=(), description="the value at each time that the experiment asks for, if known; ``value`` is their mean"
    )
    spread: float | None = Field(default=None, ge=0, description="one standard deviation, if one was published")
    spread_of: str | None = Field(default=None, description="what the spread is over: checkpoints, seeds, ...")
    confidence: Confidence
    source: str = Field(description="where the number stands")
    claim: str = Field(description="what it claims, in one sentence")
    scale: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), WithJsonSchema(_ONE_OR_MORE)] = Field(
        default=(), description="scale, or list of them, at which ours may be compared with it; all if absent"
    )
    expect: Annotated[tuple[Outcome, ...], BeforeValidator(_as_tuple), WithJsonSchema(_ONE_OR_MORE)] = Field(
        default=("reproduced", "better"),
        min_length=1,
        description="outcomes under which the claim holds; a claim of failure does not where ours is better",
    )
    protocol: str | None = Field(
        default=None, description="id of the protocol it was measured under; must be the experiment's"
    )
    note: str = Field(default="", description="what else to know before comparing")

    @model_validator(mode="after")
    def _consistent(self) -> Published:
        if (self.value is None) != (self.confidence == "not recovered"):
            raise ValueError("a value is given unless, and only unless, the confidence is 'not recovered'")
        if (self.spread is None) != (self.spread_of is None):
            raise ValueError("spread and spread_of are given together or not at all")
        if self.at_times and (
            self.value is None or not math.isclose(fmean(self.at_times), self.value, rel_tol=_ROUNDING)
        ):
            raise ValueError(f"the mean of at_times is {fmean(self.at_times):.4g}, the value is {self.value}")
        return self


_TRUST: tuple[Confidence, ...] = ("official", "restated", "unverified", "not recovered")


def most_trusted(entries: Sequence[Published], method: str, metric: str) -> Published | None:
    """The entry for a number with the best confidence, the first of equals."""
    mine = [entry for entry in entries if (entry.method, entry.metric) == (method, metric)]
    return min(mine, key=lambda entry: _TRUST.index(entry.confidence), default=None)
