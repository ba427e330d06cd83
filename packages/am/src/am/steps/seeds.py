"""Steps that handle several seeds in one go: paths with ``{seed}`` in them, and words for lists of seeds."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from am.config import ConfigError

PLACE = "{seed}"
"""What stands in a path for the seed."""
_SAID = re.compile(r"^am: seed (\d+): (.*)$", re.MULTILINE)


class SeedsError(RuntimeError):
    """Some of several seeds failed, each with a sentence of its own that has been said."""


def each(seeds: Sequence[int], paths: Sequence[Path | None], step: Callable[..., None]) -> None:
    """Call ``step(seed, *paths)`` for each seed, with the seed in the place of ``{seed}`` in every path.

    Of several seeds, all are tried: a sentence of the library's that one ends in is printed, and the next one begins.

    Raises
    ------
    ConfigError
        Several seeds are given, and a path that is the same for all.
    SeedsError
        One of several seeds failed.

    Examples
    --------
    >>> each([0, 1], [Path("out/seed{seed}/data.h5ad")], lambda seed, path: print(seed, path))
    0 out/seed0/data.h5ad
    1 out/seed1/data.h5ad
    """
    if len(seeds) > 1:
        for path in paths:
            if path is not None and PLACE not in str(path):
                raise ConfigError(f"{path}: it would be one file for {len(seeds)} seeds; write {PLACE} in its path")
    failed = []
    for seed in seeds:
        own = [path and Path(str(path).replace(PLACE, str(seed))) for path in paths]
        try:
            step(seed, *own)
        except (RuntimeError, ValueError, OSError) as error:
            if len(seeds) == 1 or not is_ours(error):
                raise
            print(f"am: seed {seed}: {' '.join(str(error).splitlines())}", file=sys.stderr, flush=True)
            failed.append(seed)
    if failed:
        raise SeedsError(f"{len(failed)} of {len(seeds)} seeds failed: {', '.join(map(str, failed))}")


def is_ours(error: Exception) -> bool:
    """Whether the library itself raised this as a sentence for the user."""
    return type(error).__module__.split(".")[0] == "am"


def said_of(log: str) -> dict[int, str]:
    """The sentences that :func:`each` printed into a log, by seed."""
    return {int(seed): sentence for seed, sentence in _SAID.findall(log)}


def together(seeds: Sequence[int]) -> str:
    """Seeds as a word that a file or a rule can be called by.

    Examples
    --------
    >>> together([0, 1, 2, 5])
    '0_to_2_and_5'
    """
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return "_and_".join(f"{part[0]}_to_{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def among(word: str) -> set[int]:
    """The seeds that :func:`together` made a word of; none of a word that it did not make.

    Examples
    --------
    >>> sorted(among("0_to_2_and_5"))
    [0, 1, 2, 5]
    """
    found: set[int] = set()
    for part in word.split("_and_"):
        bounds = part.split("_to_")
        if len(bounds) > 2 or not all(bound.isdecimal() for bound in bounds):
            return set()
        found |= {*range(int(bounds[0]), int(bounds[-1]) + 1)}
    return found
