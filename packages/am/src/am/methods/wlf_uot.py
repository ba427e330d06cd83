"""The Wasserstein Lagrangian Flow of unbalanced optimal transport."""

from __future__ import annotations

from am.methods import uam, wlf_ot


class Settings(wlf_ot.PathSettings, uam.Settings):
    """Settings of the flow of unbalanced optimal transport."""


class UnbalancedTransportFlow(wlf_ot.WassersteinLagrangianFlow, uam.UnbalancedActionMatching):
    """Least action where mass may be made and lost, H = |grad s|^2 / 2 + lambda / 2 s^2.

    Followed by dx = grad s dt, d log w = lambda s dt, in the geometry of Wasserstein, Fisher and Rao: Neklyudov et
    al., ICML 2024. Curves have masses, one at each snapshot, which is our way to let the path lose mass in one place
    and make it in another.
    """

    settings_type = Settings
    settings: Settings
    title = "WLF-UOT"

    @property
    def mass_growth(self) -> float:
        """That of weights."""
        return self.settings.growth


METHOD = UnbalancedTransportFlow
