"""Which jobs handle which seeds, and figures of what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from am.experiments import Project
from am.plan import FIGURE_KINDS, Batch, Plan
from am.steps.draw import FIGURES

SETTINGS = Path(__file__).parents[3] / "config"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(Project(SETTINGS, {"scale": "laptop", "experiments": ["hydrogen", "myoblast", "myoblast_all_step"]}))


def test_each_configured_run_and_seed_is_in_one_job(plan: Plan) -> None:
    handled = [
        (experiment, run, seed) for batch in plan.batches() for experiment, run in batch.pairs for seed in batch.seeds
    ]
    assert len(handled) == len(set(handled))
    assert {*handled} == {(e.name, run, seed) for e in plan.known for run, seed in e.configured}


def test_seeds_beside_those_of_the_scale_are_another_job(plan: Plan) -> None:
    of_am = [batch for batch in plan.batches() if ("hydrogen", "am") in batch.pairs]
    assert [batch.seeds for batch in of_am] == [(0, 1, 2), tuple(range(3, 15))]
    assert [batch.rule("sample_method", (0, 1, 2)) for batch in of_am] == ["sample_method", "sample_method_3_to_14"]


def test_a_path_belongs_to_one_job_alone(plan: Plan) -> None:
    """Rules are told apart by what a run's name must match behind its experiment's."""
    for e in plan.known:
        for run, seed in e.configured:
            path = f"results/laptop/{e.name}/{run}/seed{seed}/metrics.csv"
            owners = [
                batch
                for batch in plan.batches()
                if re.fullmatch(rf"results/laptop/(?P<e>\w+)/(?P<run>{batch.runs})/seed(\d+)/metrics.csv", path)
                and seed in batch.seeds
            ]
            assert len(owners) == 1
            assert (e.name, run) in owners[0].pairs


def test_runs_of_benchmarks_are_sampled_by_rules_of_their_own(plan: Plan) -> None:
    def runs(own: bool) -> set[str]:
        return {run for batch in plan.batches(own) for _, run in batch.pairs}

    assert runs(own=False) - runs(own=True) == {"affine_transport"}


def test_points_are_drawn_for_all_seeds_that_any_run_has(plan: Plan) -> None:
    drawn = {(name, seed) for batch in plan.prepared() for name, _ in batch.pairs for seed in batch.seeds}
    assert drawn == {(e.name, seed) for e in plan.known for _, seed in e.configured}
    known = {(e.name, run) for e in plan.known for run in e.contestants}
    assert {pair for batch in plan.prepared() for pair in batch.pairs} == known


def test_along_training_the_seeds_of_the_scale_are_enough(plan: Plan) -> None:
    atom = plan.project.experiments["hydrogen"]
    shown = [path for path in plan.shown_in("iterations", atom) if "/am/" in path]
    assert shown == [f"results/laptop/hydrogen/am/seed{seed}/history.csv" for seed in (0, 1, 2)]
    assert len(plan.of_runs("metrics.csv", atom)) > len(plan.of_runs("metrics.csv", atom, seeds=atom.seeds))


def test_names_that_mean_something_in_expressions_are_taken_literally() -> None:
    batch = Batch((0,), (("a.b", "c"), ("d", "e+")))
    assert re.fullmatch(f"(?:{batch.experiments})/(?:{batch.runs})", "a.b/c")
    assert not re.fullmatch(f".../(?:{batch.runs})", "axb/c")


def test_every_figure_that_can_be_drawn_is_planned() -> None:
    assert FIGURE_KINDS.keys() == FIGURES.keys()


def test_what_has_no_data_is_skipped_in_one_sentence_and_all_else_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of one has no address; those of the other are retrieved, and it waits for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AM_DATA", str(tmp_path))
    names = ["embryoid_partial", "embryoid_partial_all_step", "embryoid_mini"]
    project = Project(SETTINGS, {"scale": "smoke", "experiments": names})
    (notice,) = Plan(project).notices()
    assert notice.startswith("skipped embryoid_partial, embryoid_partial_all_step: there is no eb_union_5pc.npz")
    assert notice.endswith("AM_DATA")
    assert {Path(path).parts[2] for path in Plan(project).everything() if "metrics" in path} == {"embryoid_mini"}
    assert not [path for path in Plan(project).everything() if "partial" in path]
    (tmp_path / "eb_union_5pc.npz").touch()
    assert Plan(project).notices() == []
    assert [path for path in Plan(project).everything() if "partial" in path]


def test_what_takes_long_is_left_to_the_scale_that_has_it() -> None:
    def runs(scale: str) -> set[str]:
        return set(Project(SETTINGS, {"scale": scale, "experiments": ["myoblast"]}).experiments["myoblast"].runs)

    assert runs("full") - runs("laptop") == {"mioflow_like", "neural_sde", "nlsb", "trajectorynet", "ot_flow"}
    assert runs("laptop") < runs("full") == runs("paper")


def test_a_scale_that_extends_another_writes_into_its_folder_and_draws_its_numbers() -> None:
    laptop, full = (Project(SETTINGS, {"scale": scale, "experiments": ["hydrogen"]}) for scale in ("laptop", "full"))
    assert Plan(full).out == Plan(laptop).out == "results/laptop"
    assert full.seeds == laptop.seeds
    for name, run in laptop.experiments["hydrogen"].runs.items():
        assert full.experiments["hydrogen"].runs[name] == run


def test_what_is_kept_of_a_scale_is_judged_with_what_takes_long() -> None:
    kept = Project(SETTINGS, {"scale": "laptop", "experiments": ["myoblast"]}, opt_in=True)
    assert (kept.level, kept.scale) == ("full", "laptop")
    assert kept.experiments["myoblast"].asked("labels")["scale"] == "full"
