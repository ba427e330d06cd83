"""The script for CIFAR-10 on a GPU, on a processor: few images that count as a published batch, and a tiny network."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from am.config import merge, read_yaml, write_yaml
from am.io.cifar import MD5
from am.io.provenance import file_sha256

ROOT = Path(__file__).parents[2]
IMAGES = 60
SCRIPT = ROOT / "benchmarks/gpu_cifar10.sh"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The third batch alone, of so many images."""
    folder = tmp_path / "images"
    folder.mkdir()
    content = np.random.default_rng(0).integers(0, 256, (IMAGES, 3073), dtype=np.uint8).tobytes()
    (folder / "data_batch_3.bin").write_bytes(content)
    monkeypatch.setenv("AM_DATA", "")  # which the script sets, and later tests must not see
    monkeypatch.setitem(MD5, "data_batch_3.bin", hashlib.md5(content, usedforsecurity=False).hexdigest())
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The settings of the scale gpu, with a network and batches that a processor can afford."""
    project = tmp_path / "config"
    shutil.copytree(ROOT / "config", project)
    file = project / "scales/gpu.yaml"
    unet = {"channels": 64, "multipliers": [1], "blocks": 1, "attention": [], "dropout": 0.1}
    training = {"batch_size": 2, "boundary_batch_size": 2, "log_every": 1}
    tiny = {"training": training, "sampling": {"method": "euler", "steps": 2}}
    methods = {
        "am": {"settings": {**tiny, "potential": {"unet": unet}}},
        "icfm": {"settings": {**tiny, "network": {"unet": unet}}},
    }
    evaluation = {"n_samples": 20, "floor_repeats": 2}
    own = {"experiments": {"cifar10": {"methods": methods, "evaluation": evaluation}}}
    write_yaml(merge(read_yaml(file), own), file)
    return project


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    module = runpy.run_path(str(SCRIPT.with_suffix(".py")))
    module["main"].__globals__.update(TIMED=2, WARM=1, TOGETHER=8)
    return module


@pytest.mark.trains
def test_equal_seconds_for_both_methods_on_the_images_that_there_are(
    folder: Path, project: Path, script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder), "2", str(tmp_path / "out"), "--project", str(project)]
    main: Callable[[list[str]], None] = script["main"]
    main(arguments)
    assert "goal: at most 1" in capsys.readouterr().out

    out = tmp_path / f"out/{IMAGES}_images_2_seconds"
    summary = pd.read_csv(out / "summary.csv", index_col="method")
    assert list(summary.index) == ["am", "icfm", "floor"]
    methods = summary.loc[["am", "icfm"]]
    assert (methods["images"] == IMAGES).all()
    assert methods["parameters"].nunique() == 1
    planned = (0.97 * 1000 / methods["step_ms"]).astype(int).clip(lower=1)  # of a second for each
    assert (methods["iterations"] == planned).all()
    distances = ["efficientnet_frechet", "energy", "sliced_wasserstein", "efficientnet_kernel", "nearest_image"]
    assert np.isfinite(summary[distances]).all(None)
    assert np.isfinite(methods[["step_ms", "memory_gib", "loss"]]).all(None)
    for name in methods.index:
        with np.load(out / name / "samples.npz") as samples:
            assert samples["x"].shape == (20, 3072)
        assert Image.open(out / name / "samples.png").size == (4 * 32, 4 * 32)
        assert len(pd.read_csv(out / name / "training.csv")) == methods["iterations"][name]
    record = json.loads((out / "record.json").read_text())
    assert record["images"] == IMAGES
    assert record["sources"] == {"data_batch_3.bin": file_sha256(folder / "data_batch_3.bin")}
    assert record["commit"]

    weights = {name: file_sha256(out / name / "model.safetensors") for name in methods.index}
    plans = {name: (out / name / "plan.json").read_text() for name in methods.index}
    (out / "icfm/training.json").unlink()  # as if it had been interrupted: this one trains again, as planned before
    main(arguments)
    again = {name: file_sha256(out / name / "model.safetensors") for name in methods.index}
    assert again["am"] == weights["am"]
    assert json.loads(plans["icfm"])["iterations"] == pd.read_csv(out / "icfm/training.csv")["step"].max()
    assert (out / "am/plan.json").read_text() == plans["am"]
    if not torch.cuda.is_available():  # whose sums come in any order
        assert again == weights


def test_sampling_in_parts_is_sampling(script: dict[str, Any]) -> None:
    from am.potentials.settings import UNetSettings
    from am.potentials.unet import ImagePotential, UNet

    torch.manual_seed(0)
    network = ImagePotential(UNet((3, 8, 8), 192, UNetSettings(channels=64, multipliers=(1,), blocks=1)))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    time, x = torch.rand(11), torch.randn(11, 192)
    parts = script["InParts"](network, "32-true")
    torch.testing.assert_close(parts.space(time, x), network.gradient(time, x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts(time, x), network(time, x), rtol=1e-4, atol=1e-5)


@pytest.mark.trains  # though it does not: two processes import torch
def test_the_script_tells_how_it_is_called_and_what_is_missing(tmp_path: Path) -> None:
    told = subprocess.run([SCRIPT], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "gpu_cifar10.sh FOLDER SECONDS" in told.stdout
    empty = subprocess.run([SCRIPT, tmp_path, "9", tmp_path / "out"], check=False, capture_output=True, text=True)
    assert empty.returncode == 1
    assert empty.stderr.splitlines()[-1].startswith("gpu_cifar10: there is no cifar-10-python.tar.gz")
