"""Where training runs: one process or several, on CPUs or GPUs."""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment


def launch(accelerator: str = "auto", devices: int = 1, nodes: int = 1) -> Fabric:
    """Start as many processes as asked for: by Slurm where it started a task for each, else from here.

    Parameters
    ----------
    accelerator
        auto, cpu or cuda.
    devices, nodes
        Processes on each node (one for each GPU), and nodes.
    """
    processes = devices * nodes
    by_slurm = processes > 1 and os.environ.get("SLURM_NTASKS") == str(processes)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if processes > 1 else "auto",
        plugins=SLURMEnvironment() if by_slurm else LightningEnvironment(),
    )
    fabric.launch()
    return fabric


def device_name(device: torch.device) -> str:
    """The kind of device, and for a GPU its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
