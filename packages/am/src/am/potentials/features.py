"""Settings of actions that are linear in features; nothing here imports torch."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from am.config import Settings


class FeatureSettings(Settings):
    """Features are products of a function of space and a polynomial of time."""

    waves: NonNegativeInt = Field(default=100, description="random cosines of space")
    bandwidths: tuple[PositiveFloat, ...] = Field(
        default=(0.5,),
        min_length=1,
        description="lengths over which waves change, in units of the spread of all coordinates together; waves are "
        "dealt out to them in turn",
    )
    quadratic_up_to: NonNegativeInt = Field(
        default=10, description="products of two coordinates are features up to this dimension"
    )
    shared: bool = Field(
        default=False, description="one action for all intervals between snapshots, instead of one for each"
    )
    degree: NonNegativeInt | None = Field(
        default=None,
        description="of the polynomials of time, on each interval between snapshots or on all; 1 where there are "
        "snapshots and 8 where there are none, if it is not set",
    )

    def degree_for(self, intervals: int) -> int:
        """The degree on each of so many intervals."""
        if self.degree is not None:
            return self.degree
        return 8 if intervals == 1 else 1


class SolvingSettings(Settings):
    """How the quadratic form is estimated and solved."""

    nodes: PositiveInt | None = Field(
        default=None,
        description="Gauss-Legendre nodes of time on each interval; three more than three times the degree, if it is "
        "not set",
    )
    draws: PositiveInt = Field(default=10_000, description="points at each node")
    folds: PositiveInt = Field(default=5, ge=2, description="parts of the cells, or of the draws, held out in turn")
    ridges: tuple[PositiveFloat, ...] = Field(
        default=tuple(10.0**power for power in range(-9, 3)),
        min_length=1,
        description="ridges to choose from, in units of the diagonal of the quadratic form",
    )
