"""Fits to measured cells: what a method learns of a time course, what it tells of each cell, and how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.lazy import lazy

if TYPE_CHECKING:
    from am.cells.clones import clone_fates
    from am.cells.comparison import Comparison, compare
    from am.cells.fates import growth
    from am.cells.genes import drivers, gene_velocity
    from am.cells.perturbation import Perturbation, perturb

__all__ = ["Comparison", "Perturbation", "clone_fates", "compare", "drivers", "gene_velocity", "growth", "perturb"]

__getattr__ = lazy(
    "am.cells",
    {
        "am.cells.clones": "clone_fates",
        "am.cells.comparison": "Comparison compare",
        "am.cells.fates": "growth",
        "am.cells.genes": "drivers gene_velocity",
        "am.cells.perturbation": "Perturbation perturb",
    },
)
