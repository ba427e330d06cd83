"""The Wasserstein Lagrangian Flow of the Schroedinger bridge."""

from __future__ import annotations

from am.methods import eam, wlf_ot


class Settings(wlf_ot.PathSettings, eam.Settings):
    """Settings of the flow of the Schroedinger bridge."""


class SchroedingerBridgeFlow(wlf_ot.WassersteinLagrangianFlow, eam.EntropicActionMatching):
    """Least action with noise, H = |grad s|^2 / 2 + sigma^2 / 2 lap s, followed by dx = grad s dt + sigma dW.

    After Neklyudov et al., ICML 2024 (see :mod:`am.methods.wlf_ot`). Curves are Brownian bridges before they bend.
    """

    settings_type = Settings
    settings: Settings
    title = "WLF-SB"

    @property
    def noise(self) -> float:
        """That of the bridge."""
        return self.settings.sigma


METHOD = SchroedingerBridgeFlow
