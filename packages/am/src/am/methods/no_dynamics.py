"""Control: nothing moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.methods.contract import Method

if TYPE_CHECKING:
    from am.dynamics.dynamics import Still


class NoDynamics(Method[None]):
    """The starting particles, unchanged at all times: any method should do better."""

    title = "no dynamics"
    control = True

    def dynamics(self, network: None) -> Still:
        """The start, repeated."""
        from am.dynamics.dynamics import Still

        return Still()


METHOD = NoDynamics
