"""Data sets of images: what is read, how it is split, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import chelsea
from sklearn.datasets import load_digits, load_sample_images

from am.config import ConfigError
from am.datasets.images import ImageDataset, Images, ImageSettings
from am.datasets.natural_patches import PHOTOGRAPHS
from am.io.cifar import FOLDER, MD5, TEST, TRAIN, read_batches, read_cifar10
from am.io.raw import find_raw
from am.io.registry import find_file
from am.io.snapshots import DataError, read_snapshots
from am.metrics.settings import Energy
from am.metrics.viewer import Viewer
from am.runs import DataConfig, Evaluation, build_dataset, write_settings
from am.steps.prepare import prepare

ROOT = Path(__file__).parents[4]
BATCH = 6


def dataset(name: str, **settings: Any) -> ImageDataset:
    built = build_dataset({"name": name, **settings}, "test")
    assert isinstance(built, ImageDataset)
    return built


def levels(x: np.ndarray, count: int) -> np.ndarray:
    """Whole numbers that values in the middle of levels stand for."""
    value = ((x.astype(float) + 1) * count - 1) / 2
    np.testing.assert_allclose(value, value.round(), atol=1e-3)
    return value.round().astype(int)


def rows(x: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in x}


# -- what is read ----------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn() -> None:
    truth = load_digits()
    whole = {row.tobytes(): label for row, label in zip(truth.data.astype(int), truth.target, strict=True)}
    digits = dataset("digits")
    labelled = digits.labelled_images()
    assert labelled is not None
    x, label = labelled
    assert x.shape == (1297, 64)
    assert all(whole[row.tobytes()] == number for row, number in zip(levels(x, 17), label, strict=True))


def test_patches_are_cut_from_the_photographs() -> None:
    patches = dataset("natural_patches", short_side=427, stride=20, judging=["flower"])  # as large as china and flower
    images = patches.read()
    assert images.pixels.shape[1:] == (3, 32, 32)
    china, flower = (image.transpose(2, 0, 1) for image in load_sample_images().images)
    windows = {
        name: {photograph[:, y : y + 32, x : x + 32].tobytes() for y in range(0, 396, 20) for x in range(0, 609, 20)}
        for name, photograph in (("china", china), ("flower", flower))
    }
    learned, judging = rows(images.pixels[images.train]), rows(images.pixels[~images.train])
    assert judging == windows["flower"]
    assert windows["china"] <= learned
    assert not windows["flower"] & learned
    assert patches.labelled_images() is None


def test_photographs_are_those_that_scikit_image_ships() -> None:
    alone = {"short_side": 300, "stride": 40, "judging": ["chelsea"]}  # as large as the cat is
    images = dataset("natural_patches", **alone).read()
    cat = chelsea().transpose(2, 0, 1)
    windows = {cat[:, y : y + 32, x : x + 32].tobytes() for y in range(0, 269, 40) for x in range(0, 420, 40)}
    assert rows(images.pixels[~images.train]) == windows


def test_patches_that_judge_come_first_from_all_photographs_that_judge() -> None:
    patches = dataset("natural_patches", stride=32)
    few = rows(patches.read().pixels[~patches.read().train][:40])
    alone = [dataset("natural_patches", stride=32, judging=[name]).read() for name in ("chelsea", "china")]
    for one in alone:
        assert 5 < len(few & rows(one.pixels[~one.train])) < 35


def test_a_photograph_must_be_left_to_learn_from() -> None:
    with pytest.raises(ConfigError, match="no photograph is left to learn from"):
        dataset("natural_patches", judging=list(PHOTOGRAPHS))
    with pytest.raises(ConfigError, match="judging"):
        dataset("natural_patches", judging=["lena"])


# -- how it is split -------------------------------------------------------------------------------


def prepared(folder: Path, name: str, times: tuple[float, ...] = (0.5, 1.0), **settings: Any) -> Path:
    evaluation = Evaluation(times=times, n_samples=20, metrics=(Energy(),))
    plan = DataConfig(experiment="e", seeds=(0, 1), dataset={"name": name, **settings}, evaluation=evaluation)
    write_settings(plan, folder / "config.yaml")
    prepare(folder / "config.yaml", folder / "data.h5ad")
    return folder / "data.h5ad"


def test_test_images_are_never_learned_from(tmp_path: Path) -> None:
    digits = dataset("digits", test_images=300)
    path = digits.marginals(prepared(tmp_path, "digits", test_images=300))
    learned = rows(levels(path.images.numpy(), 17))
    assert len(path.images) == 1497
    for seed in (0, 1):
        judging = digits.test_points(1.0, 300, seed, "key")
        # Dequantised: noise of less than half a level.
        value = ((judging.astype(float) + 1) * 17 - 1) / 2
        assert not learned & rows(value.round().astype(int))
    assert rows(levels(digits.truth().images.numpy(), 17)) == learned


def test_training_images_are_mirrored_and_those_that_judge_are_not(tmp_path: Path) -> None:
    data = prepared(tmp_path, "digits", flip=True, dequantise=False)
    digits = dataset("digits", flip=True, dequantise=False)
    assert digits.marginals(data).flip
    assert not digits.truth().flip
    points = read_snapshots(data)
    np.testing.assert_array_equal(points.test(0, 1.0), points.test(1, 1.0))


@pytest.mark.parametrize("task", ["colorization", "superresolution", "inpainting"])
def test_the_condition_of_a_particle_is_that_of_the_image_that_judges_it(tmp_path: Path, task: str) -> None:
    data = prepared(tmp_path, "natural_patches", task=task, stride=32)
    points, patches = read_snapshots(data), dataset("natural_patches", task=task, stride=32)
    assert len(patches.columns) == len(set(patches.columns)) == points.x.shape[1] > 3072
    np.testing.assert_array_equal(points.test(0, 0.0)[:, 3072:], points.test(0, 1.0)[:, 3072:])
    assert not np.array_equal(points.test(0, 0.0)[:, :3072], points.test(0, 1.0)[:, :3072])
    assert patches.marginals(data).dimension == points.x.shape[1]


@pytest.mark.parametrize("task", ["generation", "torus", "vp_diffusion", "colorization", "superresolution"])
def test_images_come_back_from_the_prepared_file(tmp_path: Path, task: str) -> None:
    data = prepared(tmp_path, "natural_patches", task=task, stride=32)
    patches = dataset("natural_patches", task=task, stride=32)
    learned = rows(levels(patches.truth().images.numpy(), 256))
    assert rows(levels(patches.marginals(data).images.numpy(), 256)) == learned


def test_lines_need_noise_to_start_from(tmp_path: Path) -> None:
    data = prepared(tmp_path, "natural_patches", task="colorization", stride=32)
    with pytest.raises(DataError, match="choose from: generation, vp_diffusion"):
        dataset("natural_patches", task="colorization", stride=32).snapshots(data)


def test_more_images_than_there_are_cannot_judge() -> None:
    with pytest.raises(DataError, match="501 test images asked for, there are 500"):
        dataset("digits").test_points(1.0, 501, 0, "key")


def test_unknown_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="task"):
        dataset("digits", task="colourisation")


# -- CIFAR-10 --------------------------------------------------------------------------------------


def batch(name: str, width: int = 3072) -> dict[bytes, Any]:
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    data = rng.integers(0, 256, (BATCH, width), dtype=np.uint8)
    return {b"data": data, b"labels": rng.integers(0, 10, BATCH).tolist()}


def pack(folder: Path, content: Callable[[str], Any] = batch, without: str = "") -> Path:
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in (*TRAIN, *TEST):
            if name == without:
                continue
            pickled = pickle.dumps(content(name), protocol=4)
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(pickled)
            tar.addfile(member, io.BytesIO(pickled))
    return archive


def test_batches_come_in_their_order(tmp_path: Path) -> None:
    pixels, label, learned = read_cifar10(pack(tmp_path))
    assert pixels.shape == (6 * BATCH, 3, 32, 32)
    assert learned == 5 * BATCH
    for i, name in enumerate((*TRAIN, *TEST)):
        part = slice(i * BATCH, (i + 1) * BATCH)
        np.testing.assert_array_equal(pixels[part].reshape(BATCH, -1), batch(name)[b"data"])
        np.testing.assert_array_equal(label[part], batch(name)[b"labels"])


def test_it_is_found_in_a_local_folder_and_split_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", str(tmp_path))
    data = dataset("cifar10", dequantise=False)
    assert data.sources() == (archive,)
    labelled = data.labelled_images()
    assert labelled is not None
    assert len(labelled[0]) == 5 * BATCH
    judging = levels(data.test_points(1.0, BATCH, 0, "key"), 256)
    np.testing.assert_array_equal(judging, batch(TEST[0])[b"data"])
    published = dataset("cifar10", dequantise=False, judged_by="train")
    np.testing.assert_array_equal(levels(published.test_points(1.0, BATCH, 0, "key"), 256), batch(TRAIN[0])[b"data"])


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Binary batches of a few images, which count as the published ones; the test images are not at hand."""
    for name in TRAIN:
        content = batch(name)
        rows = np.column_stack([np.array(content[b"labels"], np.uint8), content[b"data"]])
        (tmp_path / f"{name}.bin").write_bytes(rows.tobytes())
        md5 = hashlib.md5(rows.tobytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(MD5, f"{name}.bin", md5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", str(tmp_path))
    return tmp_path


def test_training_images_alone_are_enough_where_they_judge(batches: Path) -> None:
    data = dataset("cifar10", dequantise=False, judged_by="train")
    assert data.files == ()  # nothing is fetched
    assert [path.name for path in data.sources()] == [f"{name}.bin" for name in TRAIN]
    np.testing.assert_array_equal(levels(data.images("train"), 256)[:BATCH], batch(TRAIN[0])[b"data"])
    np.testing.assert_array_equal(levels(data.test_points(1.0, BATCH, 0, "key"), 256), batch(TRAIN[0])[b"data"])
    labelled = data.labelled_images()
    assert labelled is not None
    np.testing.assert_array_equal(labelled[1][-BATCH:], batch(TRAIN[-1])[b"labels"])
    with pytest.raises(DataError, match="likelihoods of 1 test images asked for, there are 0"):
        data.dequantised(1, torch.Generator())
    with pytest.raises(DataError, match=r"no test_batch.bin, whose images judge; with 'judged_by: train'"):
        dataset("cifar10").images("train")


def test_a_batch_that_is_not_the_published_one_or_is_missing_is_refused(batches: Path) -> None:
    (batches / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3.bin: cannot be read \(no such file"):
        read_batches(batches)
    (batches / "data_batch_2.bin").write_bytes(b"1" * 3073)
    with pytest.raises(DataError, match=r"data_batch_2.bin: not the published batch: its md5 is [0-9a-f]{32}, exp"):
        read_batches(batches)


def test_some_batches_are_enough_where_that_is_said(batches: Path) -> None:
    for name in ("data_batch_1.bin", "data_batch_3.bin", "data_batch_5.bin"):
        (batches / name).unlink()
    with pytest.raises(DataError, match=r"data_batch_1.bin: cannot be read"):
        dataset("cifar10", judged_by="train").images("train")
    data = dataset("cifar10", dequantise=False, judged_by="train", partial=True)
    assert [path.name for path in data.sources()] == ["data_batch_2.bin", "data_batch_4.bin"]
    learned = np.concatenate([batch("data_batch_2")[b"data"], batch("data_batch_4")[b"data"]])
    np.testing.assert_array_equal(levels(data.images("train"), 256), learned)
    for path in data.sources():
        path.unlink()
    with pytest.raises(DataError, match=r"there is none of data_batch_1.bin, .*data_batch_5.bin"):
        read_batches(batches, partial=True)


def test_the_archive_comes_before_batches_of_its_folder(batches: Path) -> None:
    archive = pack(batches)
    assert dataset("cifar10").sources() == (archive,)


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


def test_pickles_that_would_run_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive = pack(tmp_path, lambda name: {**batch(name), b"more": Trap()})
    with pytest.raises(DataError, match=r"data_batch_1: .*only arrays are allowed"):
        read_cifar10(archive)
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02h\x05.",  # what was never remembered
        b"\x80\x02\x82\x05.",  # an extension
        b"\x80\x02}(]Nu.",  # a list as a key
        b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"a.",  # more bytes than there are in the world
        b"cnumpy\nndarray\n(tR.",
    ],
)
def test_pickles_of_any_mischief_are_refused(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(f"{FOLDER}/data_batch_1")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError, match=r"data_batch_1: (not a batch of images|holds no data)") as caught:
        read_cifar10(archive)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../../../../../etc/passwd", f"{FOLDER}/data_batch_1", "data_batch_1"]
)
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_batch_that_is_no_file_is_not_followed(tmp_path: Path, kind: bytes, target: str) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(f"{FOLDER}/data_batch_1")
        member.type, member.linkname = kind, target
        tar.addfile(member)
    with pytest.raises(DataError, match="data_batch_1: there is no such batch in the archive"):
        read_cifar10(archive)


def test_nothing_of_an_archive_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    archive = pack(tmp_path)
    with tarfile.open(tmp_path / "more.tar", "w") as tar, tarfile.open(archive) as batches:
        for name in ("../outside", str(tmp_path / "absolute")):
            tar.addfile(tarfile.TarInfo(name))
        for member in batches:
            tar.addfile(member, batches.extractfile(member))
    archive.write_bytes(gzip.compress((tmp_path / "more.tar").read_bytes()))
    assert read_cifar10(archive)[2] == 5 * BATCH
    assert {path.name for path in tmp_path.rglob("*")} == {"here", "more.tar", archive.name}


def test_archives_that_are_cut_off_or_no_archives_are_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path)
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>not found</html>", b""):
        archive.write_bytes(content)
        with pytest.raises(DataError, match="not a whole archive of CIFAR-10"):
            read_cifar10(archive)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda name: batch(name, 3071), r"shape \(6, 3071\)"),
        (lambda name: {**batch(name), b"data": batch(name)[b"data"].astype(float)}, "float64"),
        (lambda name: {**batch(name), b"labels": [1, 2]}, "labels"),
        (lambda name: {b"data": 1}, "no data and labels"),
        (lambda name: [1, 2], "no data and labels"),
    ],
)
def test_batches_of_something_else_are_refused(tmp_path: Path, content: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_cifar10(pack(tmp_path, content))


def test_a_batch_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data_batch_3: there is no such batch"):
        read_cifar10(pack(tmp_path, without="data_batch_3"))


def test_the_registry_knows_the_archive() -> None:
    (file,) = dataset("cifar10").files
    assert find_file(ROOT / "data/registry.yaml", *file).bytes == 170498071


# -- images of CIFAR-10 itself ---------------------------------------------------------------------


def true_images() -> tuple[np.ndarray, list[int]]:
    """Twenty test images that foolbox ships, (20, 32, 32, 3), and the classes that their names end in."""
    found = find_spec("foolbox")
    assert found is not None
    assert found.origin is not None
    files = sorted((Path(found.origin).parent / "data").glob("cifar10_*.png"))
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    return np.stack(images), [int(file.stem.rpartition("_")[2]) for file in files]


def test_true_images_come_out_as_people_see_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed as its report describes: rows of 1,024 red, then green, then blue values, row by row."""
    images, label = true_images()
    assert images.shape == (20, 32, 32, 3)
    packed = {b"data": images.transpose(0, 3, 1, 2).reshape(20, 3072), b"labels": label}
    archive = pack(tmp_path, lambda name: packed if name in TEST else batch(name))
    pixels, found, learned = read_cifar10(archive)
    np.testing.assert_array_equal(pixels[learned:].transpose(0, 2, 3, 1), images)
    np.testing.assert_array_equal(found[learned:], label)
    monkeypatch.setenv("AM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cifar = dataset("cifar10", dequantise=False)
    viewer = Viewer(cifar, find_raw)
    shown = viewer.eight_bit(torch.from_numpy(cifar.test_points(1.0, 20, 0, "key")))
    np.testing.assert_array_equal(shown.permute(0, 2, 3, 1).numpy(), images)


# -- images of the wrong kind ----------------------------------------------------------------------


class Odd(ImageDataset):
    """Images that are not what their data set says."""

    image_shape = (3, 32, 32)
    found: tuple[int, ...] = ()

    def read(self) -> Images:
        return Images(np.zeros((4, *self.found), np.uint8), np.array([True, True, False, False]))


@pytest.mark.parametrize("found", [(3, 28, 28), (1, 32, 32), (32, 32, 3)])
def test_images_of_another_size_or_other_channels_are_refused(found: tuple[int, ...]) -> None:
    odd = Odd(ImageSettings())
    odd.found = found
    with pytest.raises(DataError) as caught:
        odd.truth()
    assert str(caught.value) == f"images of shape {found}, expected (3, 32, 32)"
