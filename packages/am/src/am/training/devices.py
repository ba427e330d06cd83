"""Where training runs: one process or several, on CPUs or GPUs.

Lightning Fabric starts several processes. One process does without: importing it takes longer than many trainings.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from am.config import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

Sent = TypeVar("Sent")


class Processes(Protocol):
    """The processes that train together, as each of them sees them; a Fabric of Lightning is an example."""

    @property
    def device(self) -> torch.device:
        """Where this one computes."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    @property
    def global_rank(self) -> int:
        """Which one this is, from 0."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first one, which alone writes files."""

    def barrier(self) -> None:
        """Wait for all."""

    def broadcast(self, obj: Sent) -> Sent:
        """What the first one has."""

    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Any:
        """The sum or mean over all."""


@dataclass(frozen=True)
class Alone:
    """One process."""

    device: torch.device
    world_size: int = 1
    global_rank: int = 0
    is_global_zero: bool = True

    def barrier(self) -> None:
        """Nobody to wait for."""

    def broadcast(self, obj: Sent) -> Sent:
        """What it has itself."""
        return obj

    def all_reduce(self, data: Tensor, *, reduce_op: str) -> Tensor:
        """The sum or mean of one."""
        return data


def launch(accelerator: str = "auto", devices: int = 1, nodes: int = 1) -> Alone | Fabric:
    """Start as many processes as asked for: by Slurm where it started a task for each, else from here.

    Parameters
    ----------
    accelerator
        auto, cpu or cuda.
    devices, nodes
        Processes on each node (one for each GPU), and nodes.

    Raises
    ------
    ConfigError
        There is no such accelerator here, or too few devices.
    """
    given = f"--accelerator {accelerator} --devices {devices}"
    if accelerator not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"cannot train with {given}: there is no such accelerator; choose from: auto, cpu, cuda")
    if accelerator != "cpu" and torch.cuda.is_available():
        accelerator = "cuda"
    elif accelerator == "cuda":
        raise ConfigError(f"cannot train with {given}: there is no GPU that CUDA can use here")
    else:
        accelerator = "cpu"
    if devices == nodes == 1:
        return Alone(torch.device(accelerator, 0) if accelerator == "cuda" else torch.device("cpu"))
    return _launch_several(accelerator, devices, nodes, given)


def _launch_several(accelerator: str, devices: int, nodes: int, given: str) -> Fabric:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # which importing it has set to INFO
    by_slurm = os.environ.get("SLURM_NTASKS") == str(devices * nodes)
    threads = torch.get_num_threads()
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp",
            plugins=SLURMEnvironment() if by_slurm else LightningEnvironment(),
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"cannot train with {given}: {' '.join(str(error).split())}") from None
    fabric.launch()
    if (launcher := _launcher(fabric)) and launcher.procs:
        # Fabric watches over this very list, and would kill without a word whoever is still saying why.
        launched, launcher.procs = launcher.procs, list(launcher.procs)
        launched.clear()
        threading.Thread(target=outlive, args=(launcher.procs,), daemon=True).start()
    torch.set_num_threads(threads)  # Fabric shares all cores of the machine out
    return fabric


def _launcher(fabric: Fabric) -> _SubprocessScriptLauncher | None:
    """What has started other processes, where this one did."""
    from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

    launcher = fabric.strategy.launcher
    return launcher if isinstance(launcher, _SubprocessScriptLauncher) else None


def outlive(processes: Sequence[subprocess.Popen[bytes]], grace: float = 30.0) -> None:
    """Return when all have ended well; when one fails, give this process ``grace`` seconds to notice, then end all.

    Over gloo it notices at once, and has ended by then; a GPU may wait for the lost one without end.
    """
    while not (failed := [process for process in processes if process.poll()]):
        if all(process.returncode == 0 for process in processes):
            return
        time.sleep(1)
    time.sleep(grace)
    for process in processes:
        process.kill()
    print(
        f"process {failed[0].pid} of those that train together has ended with {failed[0].returncode}, and this one "
        f"waited for it in vain; the same command goes on from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def precision(name: Literal["32-true", "bf16-mixed"], device: torch.device) -> AbstractContextManager[Any]:
    """What a network and its derivatives are evaluated in; the backward pass through a loss follows by itself."""
    return torch.autocast(device.type, torch.bfloat16) if name == "bf16-mixed" else nullcontext()


@contextmanager
def together(processes: Alone | Fabric) -> Iterator[None]:
    """When this process fails, end those that it has launched: they would wait for it."""
    try:
        yield
    except BaseException:
        launcher = None if isinstance(processes, Alone) else _launcher(processes)
        for process in launcher.procs if launcher else []:
            process.kill()
        raise


def device_name(device: torch.device) -> str:
    """The kind of device, and for a GPU its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
