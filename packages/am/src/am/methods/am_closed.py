"""Action Matching in closed form."""

from __future__ import annotations

from am.dynamics.settings import OdeSettings
from am.methods.am import ActionMatching
from am.methods.closed_form import ClosedForm, ClosedFormSettings


class Settings(ClosedFormSettings):
    """Settings of Action Matching in closed form."""

    sampling: OdeSettings = OdeSettings()


class ClosedFormActionMatching(ClosedForm, ActionMatching):
    """The gradient field that moves q_0 along q_t, by one linear solve: its action is linear in features."""

    settings_type = Settings  # type: ignore[assignment]
    settings: Settings  # type: ignore[assignment]
    title = "AM, closed form"


METHOD = ClosedFormActionMatching
