"""How numbers are computed, while a network trains or moves particles."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def arithmetic(matmul_precision: str = "highest") -> Iterator[None]:
    """Flush denormal numbers, which cost a processor dearly, and multiply matrices with the precision given.

    Afterwards both are as they were before.
    """
    flushed, precision = sys.float_info.min / 2 == 0, torch.get_float32_matmul_precision()
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision(matmul_precision)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_float32_matmul_precision(precision)
