"""The script of docs/running-on-slurm.md, with a stand-in for apptainer: every step runs inside."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ..project import ROOT, ProjectCopy
from .forked import Forks

STAND_IN = f"""#!{sys.executable}
import os, sys
verb, nv, bind, here, image, *command = sys.argv[1:]
assert (verb, nv, bind, here) == ("exec", "--nv", "--bind", os.getcwd()), sys.argv
with open("calls", "a") as calls:
    print(image, command[1], file=calls)
os.environ["PATH"] = os.environ["INSIDE"]
os.execvp(command[0], command)
"""


def test_rules_run_in_a_container_by_a_script_called_am(tiny: ProjectCopy, forks: Forks, tmp_path: Path) -> None:
    (script,) = re.findall(
        r"^```bash\n(#!.*?)^```$", (ROOT / "docs/running-on-slurm.md").read_text(), re.MULTILINE | re.DOTALL
    )
    project = tiny.copy(tmp_path / "project")
    forks.serve(project)
    (tmp_path / "bin").mkdir()
    for name, content in (("am", script), ("apptainer", STAND_IN)):
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(0o755)
    outside = {"INSIDE": project.environment["PATH"], "AM_IMAGE": "the image.sif"}
    project.environment |= {**outside, "PATH": f"{tmp_path}/bin:{outside['INSIDE']}"}
    model = "results/tiny/tiny/am/seed0/metrics.csv"
    run = project.snakemake(model, "--set-resources", "train_method:gpu=2")
    assert run.returncode == 0, run.stdout
    assert (project.folder / model).is_file()
    calls = set((project.folder / "calls").read_text().splitlines())
    assert calls == {f"the image.sif {step}" for step in ("prepare", "train", "sample", "evaluate")}
