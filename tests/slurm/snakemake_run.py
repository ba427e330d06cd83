"""One run of ``snakemake --profile slurm``: what it printed, and what Slurm knows of its jobs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from .cluster import Cluster


class SnakemakeRun:
    """Starts ``snakemake --profile slurm`` in ``folder``; what it prints is added to ``run.log`` there.

    Further ``variables`` are added to the environment.
    """

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str, **variables: str) -> None:
        self._cluster, self._log = cluster, folder / "run.log"
        environment = {**cluster.environment, **variables}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                # Where tests run in the background SIGINT is ignored, and that would be inherited.
                ["env", "--default-signal=INT", "snakemake", "--profile", "slurm", *arguments],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def printed(self) -> str:
        """All that this run, and those before it in the same folder, printed."""
        return self._log.read_text()

    def wait(self, timeout: float) -> int:
        """Wait for the end, and return the exit status."""
        return self._process.wait(timeout)

    def must_succeed(self, timeout: float = 180) -> None:
        """Wait for the end, and show what was printed unless all went well."""
        assert self.wait(timeout) == 0, self.printed()

    def press_ctrl_c(self) -> None:
        """Interrupt Snakemake as a terminal does."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End Snakemake if it still runs; its jobs run on."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """What Slurm knows of the jobs of a rule, in the order of their submission."""
        ids = re.findall(rf"submitted with SLURM jobid (\d+) \(log: \S*/rule_{rule}/", self.printed())
        shown = [self._cluster.call("scontrol", "--oneliner", "show", "job", job) for job in ids]
        return [dict(field.split("=", 1) for field in text.split() if "=" in field) for text in shown]
