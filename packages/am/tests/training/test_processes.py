"""Two processes learn what one learns, and stop together.

Run as a script, this file is each of the two: Fabric starts the second one as the first was started.
"""

from __future__ import annotations

import csv
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from am.config import ConfigError
from am.marginals.gaussian import Gaussian
from am.marginals.marginals import Marginals
from am.methods.eam import EntropicActionMatching, Settings
from am.training.checkpoint import read_tensors, write_tensors
from am.training.devices import launch
from am.training.loop import Trained, TrainingError, train
from am.training.settings import TrainingSettings
from am.training.stream import Stream

pytestmark = pytest.mark.trains

GAUSSIAN = Gaussian(lambda t: torch.stack([2 * t, -t], -1), lambda t: (1 + t)[:, None])
EAM = EntropicActionMatching(Settings.model_validate({"potential": {"width": 16, "depth": 2}, "sigma": 0.5}))
SETTINGS = TrainingSettings(
    iterations=20,
    batch_size=32,
    boundary_batch_size=16,
    warmup=5,
    learning_rate=1e-2,
    ema=0.8,
    snapshots=2,
    log_every=1,
)
LEARNED = {"times": "learned", "batch_size": 128}

Act = Callable[[Tensor], Tensor]


def fit(state: Path, fabric: Fabric | None = None, acts: dict[int, Act] | None = None, **changes: Any) -> Trained:
    """Train; ``acts`` change the loss at a step (from 1)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = EAM.build(GAUSSIAN, torch.Generator().manual_seed(2))

    def loss(network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        value, diagnostics = EAM.loss(network, marginals, stream)
        return (acts or {}).get(stream.step + 1, lambda same: same)(value), diagnostics

    settings = SETTINGS.model_copy(update=changes)
    return train(
        network, loss, GAUSSIAN, settings, key="two/eam/0", state=state, fabric=fabric, checkpoint_seconds=math.inf
    )


def main(folder: Path) -> None:
    torch.set_num_threads(3)
    fabric = launch("cpu", devices=2)
    told: dict[str, Any] = {"threads": torch.get_num_threads(), "world": fabric.world_size}
    torch.set_num_threads(1)
    rank = fabric.global_rank

    def refused(**arguments: Any) -> str:
        with pytest.raises(TrainingError) as caught:
            fit(fabric=fabric, **arguments)
        return str(caught.value)

    def keep(trained: Trained, name: str) -> None:
        if rank == 0:
            write_tensors(folder / name, trained.weights)

    keep(fit(folder / "whole", fabric), "whole.safetensors")
    keep(fit(folder / "learned", fabric, **LEARNED), "learned.safetensors")

    def terminate(value: Tensor) -> Tensor:
        if rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return value

    told["stopped"] = refused(state=folder / "stopped", acts={9: terminate})
    keep(fit(folder / "stopped", fabric), "resumed.safetensors")

    told["diverged"] = refused(state=folder / "diverged", acts={7: lambda value: value * (math.nan if rank else 1)})
    told["uneven"] = refused(state=folder / "uneven", batch_size=33)
    (folder / "held").mkdir(exist_ok=True)
    with (folder / "held" / "lock").open("w") as lock:
        if rank == 0:
            fcntl.flock(lock, fcntl.LOCK_EX)
        told["held"] = refused(state=folder / "held")
    (folder / f"told{rank}.json").write_text(json.dumps(told))

    def die(value: Tensor) -> Tensor:
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    lost = refused(state=folder / "lost", acts={7: die})  # which none but the first survives
    time.sleep(6)  # and that for as long as it takes to end: Fabric would kill it within 5 seconds
    (folder / "lost.json").write_text(json.dumps(lost))


def rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(text) for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_two_processes_learn_what_one_learns_and_stop_together(tmp_path: Path) -> None:
    alone = fit(tmp_path / "alone")
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    told = [json.loads((tmp_path / f"told{rank}.json").read_text()) for rank in (0, 1)]

    # The same weights and log, but for the order of sums.
    whole, _ = read_tensors(tmp_path / "whole.safetensors")
    start = EAM.build(GAUSSIAN, torch.Generator().manual_seed(2)).state_dict()
    assert whole.keys() == alone.weights.keys()
    for name, weight in alone.weights.items():
        torch.testing.assert_close(whole[name], weight, rtol=1e-5, atol=1e-5)
    assert (whole["network.last.weight"] - start["network.last.weight"]).abs().max() > 1e-2
    ours, theirs = rows(alone.log), rows(tmp_path / "whole" / "training.csv")
    assert len(ours) == len(theirs) == 20
    for one, other in zip(ours, theirs, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)

    # Times that are learned are learned from the points of both.
    alone = fit(tmp_path / "alone_learned", **LEARNED)
    learned, _ = read_tensors(tmp_path / "learned.safetensors")
    for name, weight in alone.weights.items():
        torch.testing.assert_close(learned[name], weight, rtol=1e-4, atol=1e-4)

    # Stopped by a signal to the second, and gone on with, bit for bit.
    reason = {0: "a signal to another process", 1: "signal 15"}
    for rank in (0, 1):
        assert told[rank]["stopped"] == f"two/eam/0: stopped by {reason[rank]}; step 9 is saved"
    resumed, _ = read_tensors(tmp_path / "resumed.safetensors")
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())

    # One that dies takes nothing with it but the step that it was at.
    lost = json.loads((tmp_path / "lost.json").read_text())
    assert lost.startswith("two/eam/0: at step 7 another process is gone (")
    assert lost.endswith("); step 6 is saved, and the same command goes on from there")
    assert "\n" not in lost
    continued = fit(tmp_path / "lost")
    assert [row["step"] for row in rows(continued.log)] == list(range(1, 21))
    for name, weight in whole.items():
        torch.testing.assert_close(continued.weights[name], weight, rtol=1e-4, atol=1e-4)

    for one in told:
        assert one["world"] == 2
        assert one["threads"] == 3
        assert one["diverged"].startswith("two/eam/0: at step 7 the loss is nan")
        assert one["uneven"] == "training.batch_size: 33 does not divide by 2 processes"
        assert one["held"] == f"{tmp_path / 'held'}: another process is training this run"


def test_who_waits_in_vain_for_a_process_that_failed_ends_with_one_sentence() -> None:
    script = """
import subprocess, sys, threading, time
from am.training.devices import outlive
ends, lives = (subprocess.Popen([sys.executable, "-c", code]) for code in ("exit(3)", "import time; time.sleep(100)"))
print(ends.pid, lives.pid, flush=True)
threading.Thread(target=outlive, args=([lives, ends], 0.5), daemon=True).start()
time.sleep(100)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    failed, other = done.stdout.split()
    assert done.returncode == 1
    assert done.stderr.startswith(f"process {failed} of those that train together has ended with 3, ")
    assert done.stderr.count("\n") == 1
    deadline = time.monotonic() + 10
    while Path(f"/proc/{other}/stat").exists() and " Z " not in Path(f"/proc/{other}/stat").read_text():
        assert time.monotonic() < deadline, "the other process still runs"


@pytest.mark.parametrize(
    ("accelerator", "devices"),
    [("warp", 1), pytest.param("cuda", 1, marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU"))],
)
def test_a_device_that_there_is_not_is_one_sentence(accelerator: str, devices: int) -> None:
    with pytest.raises(ConfigError, match=f"^cannot train with --accelerator {accelerator} --devices 1: ") as caught:
        launch(accelerator, devices)
    assert "\n" not in str(caught.value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
