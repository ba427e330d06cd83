"""What `make reproduce` shows of what Snakemake says: a line of progress, and all that is no news of a single job.

Reads what Snakemake says from its input. Snakemake's own log, which it names at its end, has everything.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator

DONE = re.compile(r"(\d+) of (\d+) steps \(")
JOB = re.compile(r"(local)?(rule|checkpoint) \w+:|SNAKEMAKE")
NEWS = re.compile(
    r"\[\w{3} \w{3} +\d+ [\d:]+ \d+\]|Finished jobid|Select jobs|Execute \d+ jobs|Building DAG|Using (profile|shell)"
    r"|Provided |Rules claiming|Conda environments|Assuming unrestricted|Elapsed time|\s*$"
)


def shown(lines: Iterable[str], now: Iterator[float]) -> Iterator[tuple[bool, str]]:
    """Whether a line is of progress, and the line; ``now`` is seconds at the start and at each such line."""
    begun = next(now)
    table = job = False
    for line in (line.rstrip("\n") for line in lines):
        if line.startswith("Terminating processes on user request"):
            return  # what follows are errors of jobs that Ctrl-C ended
        table = line.startswith("Job stats:") or (table and line != "")
        job = bool(JOB.fullmatch(line)) or (job and line.startswith((" ", "=")))
        if done := DONE.match(line):
            yield True, progress(int(done[1]), int(done[2]), next(now) - begun)
        elif not (table or job or NEWS.match(line)):
            yield False, line


def progress(done: int, of: int, seconds: float) -> str:
    """How far it is, and how long the rest takes if it goes on like that.

    Examples
    --------
    >>> progress(50, 250, 600)
    '50 of 250 jobs done, about 40 min left'
    """
    said = f"{done} of {of} jobs done"
    left = seconds / done * (of - done)
    if done == of:
        return said
    if left >= 5400:
        return f"{said}, about {left / 3600:.0f} h left"
    return f"{said}, about {left / 60:.0f} min left" if left >= 90 else f"{said}, a minute left"


def clock() -> Iterator[float]:
    """Seconds, whenever they are asked for."""
    while True:
        yield time.monotonic()


def main() -> None:
    """Show what the input says; where the output is a terminal, progress is one line that is written over itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Snakemake is told too, and says what becomes of it
    terminal, open_line = sys.stdout.isatty(), False
    for of_progress, line in shown(sys.stdin, clock()):
        over = of_progress and terminal
        print(("\r" if over else "\n" * open_line) + line.ljust(60 * over), end="" if over else "\n", flush=True)
        open_line = over
    if open_line:
        print()
    for _ in sys.stdin:
        pass


if __name__ == "__main__":
    main()
