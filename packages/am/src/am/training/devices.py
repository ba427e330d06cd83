"""Where training runs: one process or several, on CPUs or GPUs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.precision import MixedPrecision
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
    torch.set_num_threads(threads)  # Fabric shares all cores of the machine out
    return fabric


def precision(name: Literal["32-true", "bf16-mixed"], device: torch.device) -> AbstractContextManager[Any]:
    """What a network and its derivatives are evaluated in; the backward pass through a loss follows by itself."""
    return MixedPrecision(name, device.type).forward_context() if name == "bf16-mixed" else nullcontext()


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """When this process fails, end those that it has launched: they would wait for it."""
    try:
        yield
    except BaseException:
        for process in getattr(fabric.strategy.launcher, "procs", []):
            process.kill()
        raise


def device_name(device: torch.device) -> str:
    """The kind of device, and for a GPU its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
