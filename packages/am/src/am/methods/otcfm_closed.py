"""Conditional flow matching between optimally transported points, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from am.methods.icfm_closed import ClosedFormFlowMatching

if TYPE_CHECKING:
    from am.marginals.snapshots import Coupling


class ClosedFormOptimalTransportFlowMatching(ClosedFormFlowMatching):
    """The mean velocity of lines between snapshots that are coupled by optimal transport as a whole."""

    title = "OT-CFM, closed form"
    coupling: ClassVar[Coupling] = "optimal"


METHOD = ClosedFormOptimalTransportFlowMatching
