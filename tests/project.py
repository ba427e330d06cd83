"""A copy of the project that a test may run and edit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


class ProjectCopy:
    """The project in another folder: commands that run there use the copy's own library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "packages/am/src"),
            "OMP_NUM_THREADS": "1",
        }

    @classmethod
    def of_project(cls, folder: Path) -> ProjectCopy:
        """Copy all that git tracks, or would if it were added."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if os.path.lexists(ROOT / name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
        return cls(folder)

    def copy(self, folder: Path) -> ProjectCopy:
        """Copy this one as it is now, with its results and with what Snakemake remembers of them."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return ProjectCopy(folder)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the first ``old`` in a file, which must be there."""
        text = (self.folder / name).read_text()
        assert old in text, f"{name} does not hold {old!r}"
        (self.folder / name).write_text(text.replace(old, new, 1))

    def hide(self, module: str) -> None:
        """From now on, importing ``module`` fails in every Python that is started here."""
        self._at_start(
            "import sys\n"
            "class Hidden:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name == {module!r}:\n"
            "            raise ImportError(f'{name} is hidden by a test')\n"
            "sys.meta_path.insert(0, Hidden())\n"
        )

    def go_offline(self) -> None:
        """From now on, no Python that is started here opens a connection."""
        self._at_start(
            "import socket\n"
            "def refuse(*_, **__):\n"
            "    raise OSError('offline, by a test')\n"
            "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        )

    def _at_start(self, code: str) -> None:
        (self.folder / "packages/am/src/sitecustomize.py").write_text(code)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command here to its end; stdout holds all that it printed."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here, as its user does."""
        return self.call("snakemake", "--profile", "workflow/profiles/local", *arguments)

    def planned(self, *arguments: str) -> list[dict[str, str]]:
        """The jobs that Snakemake would run now: the rule of each, its wildcards, and what Snakemake says of it."""
        run = self.snakemake("--dry-run", *arguments)
        assert run.returncode == 0, run.stdout
        jobs = []
        # Jobs of a group stand deeper than others.
        for rule, text in re.findall(r"^ *(?:local)?rule (\w+):\n((?: +\w+: .*\n)+)", run.stdout, re.MULTILINE):
            said = dict(re.findall(r"^ +(\w+): (.*)$", text, re.MULTILINE))
            jobs.append({"rule": rule, **said, **dict(re.findall(r"(\w+)=([^, ]+)", said.get("wildcards", "")))})
        assert jobs or "Nothing to be done" in run.stdout, run.stdout
        return jobs
