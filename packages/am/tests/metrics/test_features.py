"""Distances in features: estimators as in their papers, networks as they are called, files that are checked."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import scipy.linalg
import torch
from skimage.data import chelsea
from torch import Tensor
from torch.nn.functional import interpolate

from am.io.raw import find_raw
from am.io.snapshots import DataError
from am.metrics.evaluate import evaluate, evaluate_pictures
from am.metrics.feature_distances import kernel_distance
from am.metrics.features import EfficientNet, Inception
from am.metrics.inception import frechet_inception_distance, inception_score, kernel_inception_distance
from am.metrics.nearest import nearest, relative_nearness
from am.metrics.samples import MetricError
from am.metrics.settings import EfficientNetKernel, Fid, InceptionScore, Kid, NearestTraining
from am.metrics.viewer import Viewer
from am.randomness import generator
from am.runs import build_dataset

WEIGHTS = Fid.files[0][1]


# -- estimators ------------------------------------------------------------------------------------


def features(n: int, k: int, name: str, mean: float = 0.0) -> Tensor:
    mix = torch.randn(k, k, generator=generator(name, "mix"))
    return mean + torch.randn(n, k, generator=generator(name)) @ mix


def test_fid_is_that_of_its_source() -> None:
    x, y = features(300, 8, "x"), features(200, 8, "y", 0.5)
    a, b = x.double().numpy(), y.double().numpy()
    cx, cy = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(cx @ cy).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * root)
    assert frechet_inception_distance(x, y) == pytest.approx(expected, rel=1e-4)
    assert frechet_inception_distance(x, x) == pytest.approx(0, abs=1e-3)


def test_the_inception_score_is_that_of_its_source() -> None:
    logits = 3 * features(40, 5, "logits")
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    divergence = np.mean([(row * np.log(row / p.mean(0))).sum() for row in p])
    assert inception_score(logits, 1) == pytest.approx(np.exp(divergence))
    # Sure of each image, and of all classes alike, it is the number of classes; sure of nothing it is 1.
    assert inception_score(100 * torch.eye(7).repeat(10, 1), 1) == pytest.approx(7, rel=1e-6)
    assert inception_score(torch.zeros(30, 7), 3) == pytest.approx(1)
    with pytest.raises(MetricError, match="10 splits need as many images, there are 9"):
        inception_score(logits[:9], 10)


def test_kid_is_that_of_its_source() -> None:
    x, y = features(30, 4, "x"), features(30, 4, "y", 0.5)

    def kernel(a: Tensor, b: Tensor) -> float:
        return (float(a.double() @ b.double()) / 4 + 1) ** 3

    within = sum(np.mean([kernel(a, b) for a, b in itertools.permutations(z, 2)]) for z in (x, y))
    expected = within - 2 * np.mean([kernel(a, b) for a, b in itertools.product(x, y)])
    assert kernel_inception_distance(x, y, 1, 30) == pytest.approx(expected, rel=1e-4)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-4)
    many = kernel_inception_distance(x, y, 500, 10)
    assert many == pytest.approx(expected, rel=0.2)
    with pytest.raises(MetricError, match="subsets of 31 need as many images, there are 30"):
        kernel_inception_distance(x, y, 1, 31)


# -- networks --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file such as torch-fidelity publishes, of an Inception network that has learned nothing."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    network = module.FeatureExtractorInceptionV3
    path = tmp_path_factory.mktemp("inception") / WEIGHTS
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(network, "load_state_dict", lambda *_: None)
        torch.save(network("fresh", ["2048"]).state_dict(), path)
    return path


class Few:
    """Eight training images, and four others."""

    image_shape: tuple[int, int, int] | None = (3, 32, 32)
    levels = 256

    def pictures(self, points: Tensor) -> Tensor:
        return points[:, :3072]

    def images(self, split: Literal["train", "test"], mirrored: bool = False) -> Any:
        dataset = build_dataset({"name": "natural_patches", "stride": 64}, "here")
        return dataset.images(split, mirrored)[: 8 if split == "train" else 4]

    def labelled_images(self) -> None:
        return None


def test_inception_is_read_from_its_file_and_compared_with_all_training_images(weights: Path) -> None:
    asked = []

    def find(*file: str) -> Path:
        asked.append(file)
        return weights

    viewer = Viewer(Few(), find)
    learned = torch.from_numpy(Few().images("train"))
    x, logits = viewer.inception(learned)
    assert x.shape == (8, 2048)
    assert logits.shape == (8, 1008)
    others = torch.from_numpy(Few().images("test"))
    fid, kid = (evaluate_pictures(metric, others, viewer) for metric in (Fid(), Kid(subsets=1, subset_size=4)))
    assert fid == pytest.approx(frechet_inception_distance(viewer.inception(others)[0], x))
    assert fid > 0
    assert np.isfinite(kid)
    assert evaluate_pictures(InceptionScore(splits=2), others, viewer) >= 1
    assert asked == [("inception", WEIGHTS)]  # once for all
    with pytest.raises(MetricError, match="takes none"):
        evaluate_pictures(Fid(), others, viewer, torch.zeros(4))


def test_the_values_of_pixels_are_those_that_torch_fidelity_takes(weights: Path) -> None:
    """Black, grey and white, whose enlargement and scaling are exact: the first convolution by hand."""
    network = Inception(weights)._network
    seen: list[Tensor] = []
    handle = network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    for level, expected in ((0, -1.0), (128, 0.0), (255, 127 / 128)):
        network(torch.full((1, 3, 32, 32), level, dtype=torch.uint8))
        assert seen[-1].shape == (1, 3, 299, 299)
        assert seen[-1].unique().tolist() == [expected]
    handle.remove()


class Trap:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_files_that_are_not_its_weights_are_refused_and_run_nothing(weights: Path, tmp_path: Path) -> None:
    whole = weights.read_bytes()
    state = torch.load(weights, weights_only=True)
    path = tmp_path / WEIGHTS
    marker = tmp_path / "ran"

    def cut() -> None:
        path.write_bytes(whole[: len(whole) // 2])

    def page() -> None:
        path.write_bytes(b"<html>not found</html>")

    for write in (
        cut,
        page,
        lambda: path.write_bytes(b""),
        lambda: torch.save({"fc.weight": state["fc.weight"]}, path),
        lambda: torch.save({**state, "fc.bias": torch.zeros(1000)}, path),
        lambda: torch.save(Trap(marker), path),
    ):
        write()
        with pytest.raises(
            MetricError, match=rf"{WEIGHTS}: not Inception's weights .*; delete it to fetch it again"
        ) as e:
            Inception(path)
        assert "\n" not in str(e.value)
    assert not marker.exists()


def test_without_its_weights_it_is_said_where_to_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AM_DATA", raising=False)
    viewer = Viewer(Few(), find_raw)
    with pytest.raises(DataError, match=f"there is no {WEIGHTS} of 'inception'; .*AM_DATA"):
        viewer.inception(torch.zeros(2, 3072))


def shown(photograph: np.ndarray, side: int) -> Tensor:
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None].float()
    size = min(image.shape[2:])
    image = image[..., :size, (image.shape[3] - size) // 2 :][..., :size]
    return interpolate(image, size=(side, side), mode="bilinear", antialias=True).round().byte()


def test_efficientnet_has_learned_what_a_cat_is() -> None:
    network = EfficientNet()
    cat = shown(chelsea(), 64)
    for image in (cat, cat.flip(-1)):
        assert int(network._network._fc(network(image)).argmax()) in range(281, 286)  # ImageNet's domestic cats


def test_what_looks_alike_is_near_in_its_features() -> None:
    dataset = build_dataset({"name": "natural_patches"}, "here")
    viewer = Viewer(dataset, find_raw)
    x = torch.from_numpy(dataset.test_points(1.0, 160, 0, "key"))
    images = x[:80].view(-1, 3, 32, 32)
    small = interpolate(images, scale_factor=0.5, mode="area")
    blurred = interpolate(small, scale_factor=2.0, mode="bilinear").flatten(1)
    noise = torch.randn(80, 3072, generator=generator("noise"))

    def distance(z: Tensor) -> float:
        return evaluate(EfficientNetKernel(), z, x[80:], generator("metric"), None, viewer)

    same, blur, far = distance(x[:80]), distance(blurred), distance(noise)
    assert abs(same) < blur < far


# -- memory ----------------------------------------------------------------------------------------


def test_distances_to_the_nearest_are_those_of_a_loop() -> None:
    x, y = torch.randn(7, 3, generator=generator("x")).double(), torch.randn(9, 3, generator=generator("y")).double()
    expected = torch.tensor([min(float((a - b).norm()) for b in y) for a in x]).double()
    torch.testing.assert_close(nearest(x, y), expected)
    assert relative_nearness(2 * y, 0 * y, y) == pytest.approx(2)


@pytest.mark.parametrize("name", ["digits", "natural_patches"])
def test_copies_are_memory_and_fresh_images_are_not(name: str) -> None:
    dataset = build_dataset({"name": name, **({"stride": 32} if name == "natural_patches" else {})}, "here")
    viewer = Viewer(dataset, find_raw)

    def measured(images: Any) -> float:
        return evaluate_pictures(NearestTraining(), torch.from_numpy(np.ascontiguousarray(images)), viewer)

    learned = dataset.images("train")
    noise = (torch.rand(learned.shape, generator=generator("noise")).numpy() - 0.5) / dataset.levels
    assert measured(learned + noise) == pytest.approx(0, abs=1e-6)  # within the level of each pixel
    assert measured(dataset.images("test")) == pytest.approx(1)
    assert measured((dataset.images("test") + 3 * learned[:1]) / 4) != pytest.approx(1)
    mirrored = learned.reshape(-1, *dataset.image_shape)[..., ::-1].reshape(len(learned), -1)  # type: ignore[misc]
    assert (measured(mirrored) < 1e-6) == (name == "natural_patches")  # which are learned from mirrored too
