"""What tables and figures call a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """A method as readers see it.

    Tables and figures of one experiment take the same sequence of all its labels: its order gives the
    order of rows and, so that a method looks the same everywhere, its colour.
    """

    method: str
    title: str
    control: bool = False
    """Whether it bounds the others instead of competing with them."""


def controls_first(labels: Sequence[Label]) -> list[Label]:
    """The labels in their order, those of controls ahead of the others."""
    return sorted(labels, key=lambda label: not label.control)
