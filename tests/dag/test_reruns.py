"""What runs again after a change: what depends on it, and nothing else."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterable

import pandas as pd
import pytest

from ..project import ProjectCopy

LIBRARY = "packages/am/src/am"
EXPERIMENT = "config/experiments/tiny.yaml"
SCALE = "config/scales/tiny.yaml"

CLOUDS = {"draw_histograms", "draw_animation"}  # of the runs that are pictured
LINES = {"draw_iterations", "draw_times", "draw_ranks"}
LOSSES = {"draw_losses"}
DRAWINGS = CLOUDS | LINES | LOSSES
VERDICT = {"verify_claims", "all"}


def again(project: ProjectCopy) -> set[str]:
    """What would run: "rule", "rule run" or "rule run seed"."""
    return {" ".join(job[key] for key in ("rule", "run", "seed") if key in job) for job in project.planned()}


def each(rules: Iterable[str], run: str) -> set[str]:
    """These rules for a run, each with all of its seeds."""
    return {f"{rule} {run}" for rule in rules}


def learnt(run: str, seeds: Iterable[int] = (0, 1)) -> set[str]:
    """A run trained anew with these seeds, and measured with all."""
    return {f"train_method {run} {seed}" for seed in seeds} | each(SAMPLING, run)


PREDICTION = ["sample_method", "evaluate_samples"]
SAMPLING = [*PREDICTION, "measure_history"]


def test_after_a_run_nothing_is_left_to_do(changed: ProjectCopy) -> None:
    before = {path: path.stat().st_mtime_ns for path in changed.folder.glob("results/**/*")}
    run = changed.snakemake()
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout
    assert {path: path.stat().st_mtime_ns for path in changed.folder.glob("results/**/*")} == before


def test_comments_docstrings_and_layout_of_the_whole_library_count_for_nothing(changed: ProjectCopy) -> None:
    files = sorted((changed.folder / LIBRARY).rglob("*.py"))
    for file in files:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body[0] = ast.Expr(ast.Constant("Said otherwise."))
        file.write_text(f"# No comment and no line is where it was.\n\n{ast.unparse(tree)}\n")
    for file in changed.folder.glob("config/**/tiny.yaml"):
        file.write_text(f"# A comment.\n\n{file.read_text()}# Another.\n")
    assert len(files) > 50
    assert again(changed) == set()


def test_a_run_that_is_taken_out_is_read_no_more_and_costs_the_workflow_nothing(changed: ProjectCopy) -> None:
    """Its results stay where they are, and so do those of a seed that nobody asks for."""
    changed.edit(EXPERIMENT, "  no_dynamics: {}\n", "")
    left = changed.folder / "results/tiny/tiny"
    assert (left / "no_dynamics/seed0/metrics.csv").exists()
    shutil.copytree(left / "am/seed1", left / "am/seed5")
    run = changed.snakemake()
    assert run.returncode == 0, run.stdout
    assert "no_dynamics" not in (changed.folder / "results/tiny/tables/tiny.csv").read_text()
    about = ("--project", "config", "--scale", "tiny", "--results", "results/tiny")
    told = changed.call("am", "verify", *about, "--out", "v.html")
    assert told.returncode == 0, told.stdout
    assert "settings ask for no such run and seed (and 2 more like it)" in told.stdout
    verdict = pd.read_csv(changed.folder / "v.csv").set_index("method")
    assert "no_dynamics" not in verdict.index
    assert verdict.loc["am", "seeds"] == 2


def test_a_metric_that_was_edited_by_hand_ends_the_workflow_with_its_name(changed: ProjectCopy) -> None:
    file = changed.folder / "results/tiny/tiny/am/seed0/metrics.csv"
    file.write_text(file.read_text().replace("0.", "0.0", 1))
    run = changed.snakemake()
    assert run.returncode != 0
    assert "results/tiny/tiny/am/seed0/metrics.csv is edited: it is not the file that was written" in run.stdout
    file.unlink()
    run = changed.snakemake()
    assert run.returncode == 0, run.stdout


CHANGES = {
    "an objective": (
        [(f"{LIBRARY}/objectives/sliced_score_matching.py", "def ", "_ADDED = 1\n\n\ndef ")],
        learnt("ald_ssm") | {"tabulate_metrics"} | LINES | LOSSES | VERDICT,
    ),
    "a figure": (
        [(f"{LIBRARY}/report/figures/style.py", "def ", "_ADDED = 1\n\n\ndef ")],
        DRAWINGS | VERDICT,
    ),
    "how results are checked": (
        [(f"{LIBRARY}/steps/explain.py", "\n@dataclass", "\n_ADDED = 1\n\n\n@dataclass")],
        {"tabulate_metrics"} | DRAWINGS | VERDICT,
    ),
    "how an interval is computed": (
        [(f"{LIBRARY}/report/estimates.py", "def ", "_ADDED = 1\n\n\ndef ")],
        {"tabulate_metrics"} | DRAWINGS | VERDICT,
    ),
    "a training setting": (
        [(SCALE, "am: {settings: {training: {iterations: 3}}}", "am: {settings: {training: {iterations: 4}}}")],
        learnt("am") | {"tabulate_metrics"} | DRAWINGS | VERDICT,
    ),
    "a sampling setting": (
        [(EXPERIMENT, "time_steps: 2", "time_steps: 3")],
        each(SAMPLING, "ald_ssm") | {"tabulate_metrics"} | LINES | VERDICT,
    ),
    "one seed more": (
        [(SCALE, "[0, 1]", "[0, 1, 2]")],
        {"prepare_seeds", "tabulate_metrics"}
        | learnt("am", [2])
        | learnt("ald_ssm", [2])
        | each(PREDICTION, "no_dynamics")
        | LINES
        | LOSSES
        | CLOUDS
        | VERDICT,
    ),
    "one seed more of one run": (
        [(SCALE, "am: {settings", "am: {seeds: 3, settings")],
        {"prepare_seeds_2", "tabulate_metrics", "train_method am 2"}
        | {f"{rule}_2 am" for rule in PREDICTION}  # history is of the scale's seeds alone
        | LINES - {"draw_iterations"}
        | LOSSES
        | VERDICT,
    ),
    "one method more": (
        [(EXPERIMENT, "  no_dynamics: {}", "  no_dynamics: {}\n  oracle: {}")],
        {"tabulate_metrics"} | each(PREDICTION, "oracle") | DRAWINGS | VERDICT,
    ),
    "a title": (
        [(EXPERIMENT, "title: Langevin", "title: ALD")],
        {"tabulate_metrics"} | DRAWINGS | VERDICT,
    ),
    "one metric more": (
        [(EXPERIMENT, "    - {kind: mmd, scales: [1e-4]}", "    - {kind: mmd, scales: [1e-4]}\n    - {kind: energy}")],
        {"measure_floor", "tabulate_metrics"}
        | each(["evaluate_samples", "measure_history"], "am")
        | each(["evaluate_samples", "measure_history"], "ald_ssm")
        | each(["evaluate_samples"], "no_dynamics")
        | LINES
        | VERDICT,
    ),
    "the floor": (
        [(EXPERIMENT, "floor_repeats: 2", "floor_repeats: 3")],
        {"measure_floor", "tabulate_metrics"} | LINES - {"draw_ranks"} | VERDICT,
    ),
    "a time": (
        [(EXPERIMENT, "times: [0.5, 1.0]", "times: [0.25, 1.0]")],
        {"prepare_seeds", "measure_floor", "tabulate_metrics"}
        | each(SAMPLING, "am")
        | each(SAMPLING, "ald_ssm")
        | each(PREDICTION, "no_dynamics")
        | LINES
        | CLOUDS
        | VERDICT,
    ),
    "one seed more and an objective at once": (
        [
            (SCALE, "[0, 1]", "[0, 1, 2]"),
            (f"{LIBRARY}/objectives/sliced_score_matching.py", "def ", "_ADDED = 1\n\n\ndef "),
        ],
        {"prepare_seeds", "tabulate_metrics"}
        | learnt("am", [2])
        | learnt("ald_ssm", [0, 1, 2])
        | each(PREDICTION, "no_dynamics")
        | LINES
        | LOSSES
        | CLOUDS
        | VERDICT,
    ),
    "a published value": (
        [(EXPERIMENT, "value: 500", "value: 250")],
        {"tabulate_metrics"} | VERDICT,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_depends_on_a_change_runs_again(changed: ProjectCopy, change: str) -> None:
    edits, expected = CHANGES[change]
    for name, old, new in edits:
        changed.edit(name, old, new)
    assert again(changed) == expected
