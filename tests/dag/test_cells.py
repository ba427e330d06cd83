"""Experiments on cells are planned as they are asked for: files fetched once, nothing trained twice."""

from __future__ import annotations

from collections import Counter

from am.experiments import Project

from ..project import ProjectCopy


def test_weights_and_files_are_shared(project: ProjectCopy) -> None:
    """Rolled out alone, with weights that the experiment beside it must train."""
    arguments = ("--config", "scale=smoke", "experiments=[embryoid_mini_all_step]")
    jobs = project.planned(*arguments)
    rules = Counter(job["rule"] for job in jobs)
    (fetched,) = (job for job in jobs if job["rule"] == "retrieve_file")
    assert (fetched["source"], fetched["file"]) == ("embryoid", "val_rna.npz")
    trained = [(job["experiment"], job["run"], job["seed"]) for job in jobs if job["rule"] == "train_method"]
    asked = Project(project.folder / "config", {"scale": "smoke", "experiments": ["embryoid_mini"]})
    runs = [name for name, run in asked.experiments["embryoid_mini"].runs.items() if run.about.trained]
    assert sorted(trained) == sorted(("embryoid_mini", run, "0") for run in runs)
    assert {job["experiment"] for job in jobs if job["rule"] == "sample_method"} == {"embryoid_mini_all_step"}
    assert not {"draw_losses", "draw_iterations", "measure_history"} & set(rules)
    both = Counter(
        job["rule"] for job in project.planned(*arguments[:2], "experiments=[embryoid_mini,embryoid_mini_all_step]")
    )
    assert both["train_method"] == rules["train_method"]
    assert both["retrieve_file"] == 1
    assert both["measure_history"] == both["train_method"]
