"""Fits to measured cells: what a method learns of a time course, what it tells of each cell, and how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.lazy import lazy

if TYPE_CHECKING:
    from am.cells.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]

__getattr__ = lazy("am.cells", {"am.cells.comparison": "Comparison compare"})
