"""``am train``: stopped, diverging, on a full disk, with several processes."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from am.config import merge, read_yaml, write_yaml
from am.methods.am import ActionMatching
from am.training.checkpoint import read_tensors

pytestmark = pytest.mark.trains

AM = Path(sys.executable).with_name("am")
OUTPUTS = ("model.safetensors", "snapshots.safetensors")


@pytest.fixture
def atom(chain: Path) -> Path:
    return chain / "results" / "tiny" / "atom"


@pytest.fixture
def training(atom: Path, tmp_path: Path) -> Callable[..., list[object]]:
    """Arguments that train as the chain did, into another folder, with other settings if given."""

    def arguments(out: Path, **changes: Any) -> list[object]:
        run = tmp_path / "run.yaml"
        write_yaml(merge(read_yaml(atom / "am" / "config.yaml"), {"settings": {"training": changes}}), run)
        common = ("--seed", 0, "--accelerator", "cpu", "--out", out / "model.safetensors")
        return ["train", "--run", run, "--data", atom / "data.h5ad", *common]

    return arguments


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Let something happen while the loss of a step (from 1) is computed."""
    loss = ActionMatching.loss

    def wrapped(self: Any, network: Any, marginals: Any, stream: Any) -> Any:
        if stream.step + 1 == step:
            act()
        return loss(self, network, marginals, stream)

    monkeypatch.setattr(ActionMatching, "loss", wrapped)


def assert_as_in_the_chain(folder: Path, atom: Path) -> None:
    for name in OUTPUTS:
        assert (folder / name).read_bytes() == (atom / "am" / "seed0" / name).read_bytes(), name
    assert not (folder / "state").exists()


def checkpoints(folder: Path) -> list[Path]:
    return list((folder / "state").glob("*/checkpoint.safetensors"))


def test_ctrl_c_ends_in_one_sentence_and_the_same_command_continues(training: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [AM, *map(str, training(out, iterations=10**6))]
    environment = os.environ | {"AM_CHECKPOINT_SECONDS": "0"}
    # Where tests run in the background SIGINT is ignored, and that would be inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        for _ in range(600):
            if checkpoints(out) or process.poll() is not None:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, told.splitlines()[-1]) == (130, "am: interrupted; the same command continues")
    assert "Traceback" not in told
    assert checkpoints(out)


def test_stopped_by_a_signal_it_says_so_and_goes_on_when_it_is_started_again(
    am: Any, training: Any, atom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = training(tmp_path / "out")
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert am(*arguments).sentence == "atom/am/0: stopped by signal 15; step 5 is saved"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"state"}
    drawn = []
    at_step(monkeypatch, 6, lambda: drawn.append(6))
    at_step(monkeypatch, 5, lambda: drawn.append(5))
    assert am(*arguments).code == 0
    assert drawn == [6]
    assert_as_in_the_chain(tmp_path / "out", atom)


def test_a_loss_that_is_not_finite_ends_it_before_anything_is_written(am: Any, training: Any, tmp_path: Path) -> None:
    sentence = am(*training(tmp_path / "out", learning_rate=1e30, warmup=0, schedule="constant")).sentence
    assert sentence.startswith("atom/am/0: at step ")
    assert "the loss is nan" in sentence or "the loss is inf" in sentence
    assert "lower training.learning_rate" in sentence
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"state"}


@pytest.mark.parametrize("changed", ["settings", "data"])
def test_what_others_have_left_is_not_gone_on_with(
    am: Any, training: Any, atom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    arguments = training(tmp_path / "out", learning_rate=0.02)
    if changed == "data":
        shutil.copy(atom / "data.h5ad", tmp_path / "data.h5ad")
        with (tmp_path / "data.h5ad").open("ab") as file:
            file.write(b"\0")
        arguments = training(tmp_path / "out")
        arguments[arguments.index("--data") + 1] = tmp_path / "data.h5ad"
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert am(*arguments).code == 1
    assert len(checkpoints(tmp_path / "out")) == 1
    assert am(*training(tmp_path / "out")).code == 0
    assert_as_in_the_chain(tmp_path / "out", atom)


def test_a_run_that_is_being_trained_is_left_alone(am: Any, training: Any, tmp_path: Path, atom: Path) -> None:
    arguments = training(tmp_path / "out")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 3, lambda: told.append(am(*arguments)))
        assert am(*arguments).code == 0
    assert told[0].sentence.endswith(": another process is training this run")
    assert_as_in_the_chain(tmp_path / "out", atom)


def test_tensorboard_events_are_written_when_asked_for(am: Any, training: Any, tmp_path: Path) -> None:
    assert am(*training(tmp_path / "without")).code == 0
    assert am(*training(tmp_path / "with"), "--tensorboard").code == 0
    assert not (tmp_path / "without" / "tensorboard").exists()
    (events,) = (tmp_path / "with" / "tensorboard").iterdir()
    assert b"learning_rate" in events.read_bytes()


# -- a full disk -----------------------------------------------------------------------------------


class Disk:
    """A file system of 4 MB where we may mount one, else a limit to the size of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
        self.mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            return
        with (self.folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        (self.folder / "filler").unlink(missing_ok=True)

    @property
    def reason(self) -> str:
        return "disk full" if self.mounted else "file size limit reached"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.free()
    if made.mounted:
        subprocess.run(["umount", str(made.folder)], check=True)


def test_a_disk_that_fills_up_ends_it_and_once_there_is_room_it_goes_on(
    am: Any, training: Any, atom: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = disk.folder / "out"
    arguments = [*training(out), "--checkpoint-seconds", 0]
    with monkeypatch.context() as patch:
        at_step(patch, 5, disk.fill)
        told = am(*arguments)
    disk.free()
    assert told.sentence.startswith(f"{disk.reason} while writing {out / 'state'}")
    (checkpoint,) = checkpoints(out)
    assert read_tensors(checkpoint)[1]["step"] == 4
    assert not list(out.rglob("*.partial*"))
    assert am(*arguments).code == 0
    assert_as_in_the_chain(out, atom)


@pytest.mark.parametrize(
    "command",
    [
        "resolve --project {project} --scale tiny --experiment atom --out {out}/config.yaml",
        "prepare --config {atom}/config.yaml --out {out}/data.h5ad",
        "train --run {atom}/am/config.yaml --data {atom}/data.h5ad --seed 0 --accelerator cpu --out {out}/a",
        "sample --run {atom}/oracle/config.yaml --data {atom}/data.h5ad --seed 0 --device cpu --out {out}/samples.npz",
        "evaluate --config {atom}/config.yaml --data {atom}/data.h5ad --samples {atom}/am/seed0/samples.npz --method am"
        " --seed 0 --out {out}/metrics.csv",
        "tabulate {atom}/am/seed0/metrics.csv --project {project} --scale tiny --experiment atom"
        " --floor {atom}/floor.csv --out {out}/table.csv",
        "draw times {atom}/am/seed0/metrics.csv {atom}/floor.csv --project {project} --scale tiny --experiment atom"
        " --out {out}/times.png",
    ],
)
def test_on_a_full_disk_every_step_says_so_and_leaves_nothing(
    am: Any, chain: Path, atom: Path, disk: Disk, command: str
) -> None:
    out = disk.folder / "out"
    places = {"project": chain / "config", "atom": atom, "out": out}
    disk.fill()
    told = am(*(word.format(**places) for word in command.split()))
    disk.free()
    assert told.sentence.startswith(f"{disk.reason} while writing {out}")
    assert {path.name for path in out.rglob("*") if path.is_file()} <= {"lock"}


# -- several processes -----------------------------------------------------------------------------


def test_two_processes_train_as_one_does(training: Any, atom: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [str(AM), *map(str, training(out)), "--devices", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in out.iterdir()} == {*OUTPUTS, "training.csv", "training.json"}
    ours, theirs = (read_tensors(folder / "model.safetensors")[0] for folder in (atom / "am" / "seed0", out))
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-5, atol=1e-5)


def test_a_batch_that_two_processes_cannot_share_is_one_sentence(training: Any, tmp_path: Path) -> None:
    command = [str(AM), *map(str, training(tmp_path / "out", batch_size=17)), "--devices", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 1
    assert done.stderr == "am: training.batch_size: 17 does not divide by 2 processes\n"
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
