"""The Schrodinger equation of the paper's section on quantum systems: a hydrogen atom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, model_validator

from am import config
from am.datasets.contract import Dataset

if TYPE_CHECKING:
    from pathlib import Path

    from am.marginals.hydrogen import Hydrogen


class State(config.Settings):
    """One eigenstate |n, l, m> and its amplitude (relative to the others)."""

    n: int = Field(ge=1, description="principal quantum number")
    l: int = Field(ge=0, description="orbital quantum number, below n")  # noqa: E741
    m: int = Field(description="magnetic quantum number, between -l and l")
    amplitude: float = Field(default=1.0, description="weight in the superposition before normalisation")

    @model_validator(mode="after")
    def _exists(self) -> State:
        if self.l >= self.n:
            raise ValueError(f"l must be below n, got n={self.n} and l={self.l}")
        if abs(self.m) > self.l:
            raise ValueError(f"m must be between -l and l, got l={self.l} and m={self.m}")
        return self


class Settings(config.Settings):
    """A superposition of eigenstates over a span of time; hbar = m = e = eps0 = 1."""

    states: tuple[State, ...] = Field(
        default=(State(n=3, l=2, m=-1), State(n=2, l=1, m=0)), min_length=1, description="terms of the superposition"
    )
    duration: PositiveFloat = Field(default=14_000.0, description="physical time that t in [0, 1] stands for")


class HydrogenDataset(Dataset):
    """q_t = |psi_t|^2, drawn exactly whenever it is needed."""

    settings_type = Settings
    settings: Settings
    columns = ("x", "y", "z")
    unit = "atomic units"

    def marginals(self, data: Path) -> Hydrogen:
        """The exact marginals: no method is kept to the points of a file."""
        return self.truth(data)

    def truth(self, data: Path | None = None) -> Hydrogen:
        """The exact marginals."""
        from am.marginals.hydrogen import Eigenstate, Hydrogen

        return Hydrogen([Eigenstate(s.n, s.l, s.m, s.amplitude) for s in self.settings.states], self.settings.duration)


DATASET = HydrogenDataset
