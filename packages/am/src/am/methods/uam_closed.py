"""Unbalanced Action Matching in closed form."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, PositiveFloat

from am.dynamics.settings import OdeSettings
from am.methods.closed_form import ClosedForm, ClosedFormSettings
from am.methods.uam import UnbalancedActionMatching


class Settings(ClosedFormSettings):
    """Settings of unbalanced Action Matching in closed form."""

    growth: PositiveFloat = Field(default=1.0, description="lambda: how cheap growth is beside motion")
    sampling: OdeSettings = OdeSettings()


class ClosedFormUnbalancedActionMatching(ClosedForm, UnbalancedActionMatching):
    """Particles that move and change their weight, by one linear solve: the action is linear in features."""

    settings_type = Settings  # type: ignore[assignment]
    settings: Settings  # type: ignore[assignment]
    title = "uAM, closed form"
    constant: ClassVar[bool] = True


METHOD = ClosedFormUnbalancedActionMatching
