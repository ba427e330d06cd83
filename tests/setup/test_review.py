"""`make verify` in a fresh clone: the committed results are what their references say, and no number can be changed."""

from __future__ import annotations

import subprocess

import pandas as pd
import pytest

from ..project import ROOT, ProjectCopy

pytestmark = pytest.mark.trains

STORE = ROOT / "results/expected"
METRICS = sorted(path.relative_to(ROOT) for path in STORE.glob("*/*/metrics.csv"))


@pytest.fixture
def clone(project: ProjectCopy) -> ProjectCopy:
    """A copy that reaches no network."""
    project.go_offline()
    return project


def faults(run: subprocess.CompletedProcess[str]) -> list[str]:
    assert run.returncode in (0, 1), run.stdout
    found = [line for line in run.stdout.splitlines() if line.startswith("FAULT: ")]
    assert bool(found) == (run.returncode == 1), run.stdout
    return found


def differences(clone: ProjectCopy) -> list[str]:
    return (clone.folder / "results/verify/differences.txt").read_text().splitlines()


def test_make_verify_reviews_the_committed_results() -> None:
    command = ["make", "--dry-run", "--no-print-directory", "verify"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    assert printed.splitlines()[-1] == "am review"


def test_they_are_what_their_references_say(clone: ProjectCopy) -> None:
    clone.hide("torch")
    run = clone.call("am", "review")
    assert faults(run) == []
    assert "published numbers reproduced" in run.stdout
    for kind in ("csv", "md", "html"):
        assert (clone.folder / f"results/verify/verdict.{kind}").stat().st_size > 1000
    # Every experiment that was kept has its tables and its figure.
    kept = {(path.parts[-3], name) for path in METRICS for name in pd.read_csv(ROOT / path)["experiment"].unique()}
    for scale, name in kept:
        for file in (f"tables/{name}.csv", f"tables/{name}_times.md", f"figures/{name}_times.png"):
            assert (clone.folder / "results/verify" / scale / file).is_file()


def test_the_store_is_small_and_each_of_its_environments_is_told() -> None:
    files = [path for path in STORE.rglob("*") if path.is_file()]
    assert len(files) <= 80
    environments = set(pd.read_csv(STORE / "environments.csv", dtype=str)["environment"])
    records = pd.concat(
        [pd.read_csv(path.with_name("runs.csv"), dtype=str) for path in ROOT.glob("results/expected/*/*/metrics.csv")]
    )
    assert environments == set(records["environment"].dropna())


def test_each_number_that_was_changed_is_named_and_no_other(clone: ProjectCopy) -> None:
    """Three of ours, and one that was published."""
    changed = {}
    for path in (METRICS[0], METRICS[len(METRICS) // 2], METRICS[-1]):
        table = pd.read_csv(clone.folder / path, float_precision="round_trip")
        row = table.index[table["method"] != "floor"][-1]
        table.loc[row, "value"] += 0.01
        table.to_csv(clone.folder / path, index=False)
        where = ", ".join(str(table.loc[row, key]) for key in ("experiment", "method", "metric"))
        changed[str(table.loc[row, "experiment"])] = f"{where}: mean is "
    clone.edit("config/published/hydrogen.csv", "4.71e-2", "4.71e-4")
    changed["hydrogen"] = "hydrogen, ald_ssm, mmd: published is 0.000471, "
    told = faults(clone.call("am", "review"))
    differ = differences(clone)
    for experiment, words in changed.items():
        assert any(fault.startswith(f"FAULT: {experiment} (") for fault in told), (experiment, told)
        assert any(number.startswith(words) for number in differ), words
    assert all(fault.split(" (")[0].removeprefix("FAULT: ") in changed for fault in told), told
