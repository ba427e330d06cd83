"""Where training runs: one process or several, on CPUs or GPUs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning_fabric.utilities.exceptions import MisconfigurationException

from am.config import ConfigError

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # which importing it has set to INFO


def launch(accelerator: str = "auto", devices: int = 1, nodes: int = 1) -> Fabric:
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
    processes = devices * nodes
    by_slurm = processes > 1 and os.environ.get("SLURM_NTASKS") == str(processes)
    threads = torch.get_num_threads()
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if processes > 1 else "auto",
            plugins=SLURMEnvironment() if by_slurm else LightningEnvironment(),
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot train with --accelerator {accelerator} --devices {devices}: {reason}") from None
    fabric.launch()
    launcher = fabric.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher) and launcher.procs:
        # Fabric watches over this very list, and would kill without a word whoever is still saying why.
        launched, launcher.procs = launcher.procs, list(launcher.procs)
        launched.clear()
        threading.Thread(target=outlive, args=(launcher.procs,), daemon=True).start()
    torch.set_num_threads(threads)  # Fabric shares all cores of the machine out
    return fabric


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
    return MixedPrecision(name, device.type).forward_context() if name == "bf16-mixed" else nullcontext()


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """When this process fails, end those that it has launched: they would wait for it."""
    try:
        yield
    except BaseException:
        launcher = fabric.strategy.launcher
        for process in launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else []:
            process.kill()
        raise


def device_name(device: torch.device) -> str:
    """The kind of device, and for a GPU its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
