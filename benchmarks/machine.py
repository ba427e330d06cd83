"""What a benchmark says of the machine that it ran on, and how it times."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def describe() -> str:
    """Processor, cores in use, threads and library versions, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return f"{model}, {cores} cores, {torch.get_num_threads()} threads, load {load:.1f}, torch {torch.__version__}"


def median_ms(work: Callable[[], object], repeats: int = 30) -> float:
    """Median milliseconds of ``work`` after three calls to warm up.

    Processor time of this process, which other processes disturb little; with one thread on an idle
    machine it is the time that passes, with more threads it is their sum.
    """
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1e3 * statistics.median(seconds)
