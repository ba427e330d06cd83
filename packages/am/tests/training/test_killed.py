"""Training killed by SIGKILL, at any moment and any number of times, ends as training that was not.

Run as a script, this file is the process that the training processes are forked from: it has imported torch, which
takes seconds, and computed nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.trains

CONFIG = {
    "experiment": "killed",
    "run": "am",
    "method": "am",
    "dataset": {"name": "hydrogen"},
    "sampling": {"times": [1.0], "n_samples": 4},
    "about": {"title": "AM"},
}
TRAINING = {
    "batch_size": 8,
    "boundary_batch_size": 4,
    "times": "learned",  # state of their own, beside that of the weights
    "warmup": 10,
    "ema": 0.9,
    "snapshots": 5,
    "log_every": 3,
}


def forked(folder: Path, iterations: int, kills: int) -> dict[str, Any]:
    """Let this script train runs, undisturbed and killed; returns what it tells of the kills."""
    command = [sys.executable, __file__, str(folder), str(iterations), str(kills)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told: dict[str, Any] = json.loads(subprocess.check_output(command, env=environment))
    return told


def outputs(folder: Path) -> dict[str, Any]:
    """What a finished run leaves, but for clock times; fails if it leaves anything else."""
    names = {"model.safetensors", "snapshots.safetensors", "training.csv", "training.json"}
    assert {path.name for path in folder.iterdir()} == {"config.yaml", *names}
    rows = [line.split(",") for line in (folder / "training.csv").read_text().splitlines()]
    at = rows[0].index("seconds")
    seconds = [float(row.pop(at)) for row in rows[1:]]
    assert seconds == sorted(seconds)
    return {
        "weights": (folder / "model.safetensors").read_bytes(),
        "snapshots": (folder / "snapshots.safetensors").read_bytes(),
        "losses": rows[1:],
        "settings": json.loads((folder / "training.json").read_text())["config_sha256"],
    }


@pytest.mark.parametrize(
    ("iterations", "kills"),
    [(150, 8), pytest.param(4000, 100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_training_that_was_killed_ends_as_training_that_was_not(tmp_path: Path, iterations: int, kills: int) -> None:
    told = forked(tmp_path, iterations, kills)
    assert outputs(tmp_path / "by_clock") == outputs(tmp_path / "whole")
    assert outputs(tmp_path / "by_file") == outputs(tmp_path / "whole_of_few")

    assert told["by_clock"]  # how many kills land before the end depends on how busy the machine is

    # Each file was left half-written, and there was a kill after each, before the next.
    changes = [(event, name) for event, name in told["by_file"]]
    for name in ("checkpoint", "snapshot", "snapshots", "training", "model"):
        assert ("os.rename", name) in changes
        assert ("os.remove", name) in changes
    assert changes[-1][0] == "os.remove"
    assert changes[-1][1] != "model"


# -- the process that forks ------------------------------------------------------------------------


def main(folder: Path, iterations: int, kills: int) -> None:
    import anndata  # noqa: F401  (before forking, once for all)
    import numpy as np
    import torch

    from am.config import write_yaml
    from am.io.snapshots import Snapshots, write_snapshots
    from am.steps.train import train as step

    torch.set_num_threads(1)
    data = folder / "data.h5ad"
    points = Snapshots(np.zeros((2, 3), np.float32), np.zeros(2), np.full(2, "train"), np.full(2, -1))
    write_snapshots(points, ("x", "y", "z"), data)

    def config(name: str, iterations: int) -> Path:
        training = {"training": {**TRAINING, "iterations": iterations}, "potential": {"width": 8, "depth": 2}}
        write_yaml({**CONFIG, "settings": training}, folder / name / "config.yaml")
        return folder / name / "config.yaml"

    def fork(path: Path, prepare: Callable[[], object] = bool, every: float = 0.02) -> int:
        child = os.fork()
        if not child:
            try:
                prepare()
                step(path, data, path.with_name("model.safetensors"), 0, "cpu", checkpoint_seconds=every)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        return child

    def ended(child: int) -> bool:
        """Whether the child came to its end, not to that which we made it."""
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return False
        assert status == 0
        return True

    state = folder / "whole" / "state"
    child = fork(config("whole", iterations))
    wait_for(lambda: any(state.glob("*/lock")))
    began = time.monotonic()
    assert ended(child)
    duration = time.monotonic() - began
    few = 12
    assert ended(fork(config("whole_of_few", few)))
    told = {
        "by_clock": by_clock(config("by_clock", iterations), fork, ended, kills, duration),
        "by_file": by_file(config("by_file", few), fork, ended, few),
    }
    print(json.dumps(told))


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def saved_step(path: Path) -> int:
    """The step that the run would continue from."""
    from am.training.checkpoint import read_tensors

    for checkpoint in path.parent.glob("state/*/checkpoint.safetensors"):
        step: int = read_tensors(checkpoint)[1]["step"]
        return step
    return 0


def by_clock(path: Path, fork: Any, ended: Callable[[int], bool], kills: int, duration: float) -> list[int]:
    """Kill it ``kills`` times at random moments, then let it end; returns the steps that each kill threw it back to."""
    rng, steps = random.Random(kills), list[int]()
    for _ in range(kills):
        for lock in path.parent.glob("state/*/lock"):
            lock.unlink()
        child = fork(path)
        if rng.random() < 0.8:  # else while it begins
            wait_for(lambda: any(path.parent.glob("state/*/lock")))
        time.sleep(rng.uniform(0, duration / kills))
        os.kill(child, signal.SIGKILL)
        if ended(child):
            return steps
        steps.append(saved_step(path))
    assert ended(fork(path))
    return steps


def by_file(path: Path, fork: Any, ended: Callable[[int], bool], iterations: int) -> list[tuple[str, str]]:
    """Kill it before each thing that it does to a file, one after the other.

    First with growing patience while it trains, then, once it has trained, before the first thing that is left to do,
    the second, and so on until its state is gone. Returns what it was kept from doing, and the file.
    """
    note = path.parents[1] / "changes"
    note.touch()

    def watch(left: int) -> None:
        def before(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event not in ("open", "os.rename", "os.remove", "os.rmdir"):
                return
            if event == "open" and (not isinstance(arguments[1], str) or "r" in arguments[1]):
                return
            file = str(arguments[0])
            if os.path.isabs(file) and not file.startswith(str(path.parent)):
                return  # a path that is not absolute lies in a folder that is being removed
            left -= 1
            if left:
                return
            if event == "os.rename" and os.path.isfile(file):
                os.truncate(file, os.path.getsize(file) // 2)  # as if it had been killed while writing
            name = os.path.basename(file).lstrip(".").split(".")[0].split("-")[0]
            with open(os.open(note, os.O_WRONLY | os.O_APPEND), "w") as log:
                log.write(json.dumps((event, name)) + "\n")
            os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(before)

    patience, trained = 1, False
    while not ended(fork(path, partial(watch, patience), 0.0)):  # a checkpoint after each step, however fast
        patience += 1
        if not trained and saved_step(path) == iterations:
            patience, trained = 1, True
        if trained and not path.with_name("state").exists():
            assert ended(fork(path))
            break
    return [json.loads(line) for line in note.read_text().splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
