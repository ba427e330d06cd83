"""Watching the loss of a training that runs."""

from __future__ import annotations

from collections import deque
from statistics import median

ROWS = 100
"""Logged losses that the median is of."""
FEWEST = 5
"""Logged losses before anything is said."""
EXPLODED = 1000.0
"""Times the median size of the loss."""


class LossWatch:
    """Tells once when a loss grows by orders of magnitude above its running median."""

    def __init__(self) -> None:
        self._sizes: deque[float] = deque(maxlen=ROWS)
        self._told = False

    def exploded(self, loss: float) -> float | None:
        """The median size of the losses before this one, where this one is a thousand times as large; else None.

        Later calls return None once one has not.
        """
        usual = median(self._sizes) if len(self._sizes) >= FEWEST else None
        self._sizes.append(abs(loss))
        if self._told or usual is None or abs(loss) <= EXPLODED * usual or not usual:
            return None
        self._told = True
        return usual
