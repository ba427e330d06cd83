"""Entropic Action Matching in closed form."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat

from am.dynamics.settings import SdeSettings
from am.methods.closed_form import ClosedForm, ClosedFormSettings
from am.methods.eam import EntropicActionMatching


class Settings(ClosedFormSettings):
    """Settings of entropic Action Matching in closed form."""

    sigma: NonNegativeFloat = Field(default=1.0, description="noise, in units of length per square root of time")
    sampling: SdeSettings = SdeSettings()

    @property
    def laplacian(self) -> str:
        """Of features it is known."""
        return "exact"


class ClosedFormEntropicActionMatching(ClosedForm, EntropicActionMatching):
    """The drift of a diffusion of given noise, by one linear solve: its action is linear in features."""

    settings_type = Settings  # type: ignore[assignment]
    settings: Settings  # type: ignore[assignment]
    title = "eAM, closed form"


METHOD = ClosedFormEntropicActionMatching
