"""The project's settings as a whole: what is committed, what can be wrong, and what depends on what."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from am.config import ConfigError, merge, read_yaml, write_yaml
from am.experiment_files import ExperimentFiles
from am.experiments import Project
from am.runs import RunConfig, read_data_config, read_run

COMMITTED = Path(__file__).parents[3] / "config"
SCALES = sorted(path.stem for path in (COMMITTED / "scales").glob("*.yaml"))

CONFIG: dict[str, Any] = {"scale": "tiny", "experiments": ["atom"]}
SCALE: dict[str, Any] = {"title": "tiny", "seeds": [0, 1]}
EXPERIMENT: dict[str, Any] = {
    "title": "An atom",
    "dataset": {"name": "hydrogen"},
    "evaluation": {"times": [0.5, 1.0], "n_samples": 10, "metrics": [{"kind": "mmd"}, {"kind": "energy"}]},
    "methods": {
        "am": {"settings": {"training": {"iterations": 10}}},
        "wide": {"method": "am", "title": "wide AM", "settings": {"potential": {"width": 512}}},
        "ald": {"method": "ald_true_score", "settings": {"sampling": {"time_steps": 5}}},
        "oracle": {},
    },
    "published": [
        {"method": "am", "metric": "mmd", "value": 1e-3, "confidence": "restated", "source": "s", "claim": "c"}
    ],
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a project whose files differ from the above by what is given; a null removes."""

    def written(config: Any = None, scale: Any = None, experiment: Any = None, name: str = "config") -> Path:
        folder = tmp_path / name
        write_yaml(merge(CONFIG, config or {}), folder / "config.yaml")
        write_yaml(SCALE | (scale or {}), folder / "scales" / "tiny.yaml")
        write_yaml(merge(EXPERIMENT, experiment or {}), folder / "experiments" / "atom.yaml")
        return folder

    return written


@pytest.mark.parametrize(
    ("scaler", "protocol", "expected"),
    [
        ("all", "eb-v5-loo", "which 'eb-v5-loo' must say: it must end with '-leaky'"),
        ("all", None, "which '' must say: it must end with '-leaky'"),
        ("training", "eb-v5-loo-leaky", "'eb-v5-loo-leaky' lets points that judge into training, and the data do not"),
        ("training", "eb-v5-loo", None),
        ("all", "eb-v5-loo-leaky", None),
    ],
)
def test_what_leaks_says_so_and_shares_no_table(
    write: Write, scaler: str, protocol: str | None, expected: str | None
) -> None:
    cells = {
        "dataset": {"name": "myoblast", "held_out": 1 / 3, "scaler": scaler},
        "evaluation": {"times": [1 / 3], "protocol": protocol},
        "methods": {"ald": None},
    }
    if expected is None:
        number = {"method": "am", "metric": "mmd", "value": 1e-3, "confidence": "restated", "source": "s", "claim": "c"}
        other = {"eb-v5-loo": "eb-v5-loo-leaky", "eb-v5-loo-leaky": "eb-v5-loo"}[str(protocol)]
        assert Project(write(experiment=cells)).experiments["atom"].data.evaluation.protocol == protocol
        mixed = cells | {"published": [number | {"protocol": other}]}
        with pytest.raises(ConfigError, match="they cannot share a table"):
            Project(write(experiment=mixed, name="mixed"))
    else:
        with pytest.raises(ConfigError, match=expected):
            Project(write(experiment=cells))


def test_a_run_may_ask_for_more_seeds_than_its_scale(write: Write) -> None:
    more = {"methods": {"am": {"seeds": 4}, "oracle": {"seeds": [0, 1, 7]}}}
    experiment = Project(write(experiment=more)).experiments["atom"]
    assert experiment.seeds == (0, 1)
    assert experiment.data.seeds == (0, 1, 2, 3, 7)
    seeds: dict[str, list[int]] = {}
    for run, seed in experiment.configured:
        seeds.setdefault(run, []).append(seed)
    assert seeds == {"am": [0, 1, 2, 3], "wide": [0, 1], "ald": [0, 1], "oracle": [0, 1, 7]}


# -- what is committed -----------------------------------------------------------------------------


def test_there_are_the_scales_that_the_project_promises() -> None:
    assert {"smoke", "laptop", "paper"} <= set(SCALES)


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_resolves_with_each_default_filled_in_and_checks_again(scale: str, tmp_path: Path) -> None:
    every = list(ExperimentFiles(COMMITTED))
    project = Project(COMMITTED, {"scale": scale, "experiments": every})
    assert (project.level, project.scale) == (scale, {"full": "laptop"}.get(scale, scale))
    assert list(project.experiments) == every
    assert list(Project(COMMITTED).experiments) == read_yaml(COMMITTED / "config.yaml")["experiments"]
    for experiment in project.experiments.values():
        write_yaml(experiment.data.model_dump(mode="json"), tmp_path / "data.yaml")
        assert read_data_config(tmp_path / "data.yaml") == experiment.data
        content = read_yaml(experiment.file)
        # What extends another has that one's rows, in its order.
        own = "extends" not in content and experiment.name == experiment.file.stem
        asked = content["methods"] if own else experiment.runs
        assert list(experiment.runs) == [name for name in asked if name in experiment.runs]
        for name, run in experiment.runs.items():
            write_yaml(run.model_dump(mode="json"), tmp_path / "run.yaml")
            assert read_run(tmp_path / "run.yaml") == run
            settings = run.build_method().settings.model_dump(mode="json")
            assert (settings.pop("sampling", {}), settings) == (run.sampling.solver, run.settings)
            assert run.key(3) == f"{experiment.name}/{name}/3"


def test_checking_settings_needs_no_torch() -> None:
    script = "import sys, pathlib; from am.experiments import Project; Project(pathlib.Path(sys.argv[1]));"
    check = "assert not {'torch', 'pandas', 'matplotlib', 'ot'} & set(sys.modules), 'imported'"
    subprocess.run([sys.executable, "-c", script + check, str(COMMITTED)], check=True)


# -- what can be wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"config": {"scael": "tiny"}}, "config.yaml: scael: unknown key; did you mean 'scale'?"),
        ({"config": {"scale": "tiyn"}}, "there is no scale 'tiyn' in "),
        ({"config": {"scale": "tiyn"}}, "did you mean 'tiny'?"),
        ({"config": {"scale": "../scales/tiny"}}, "there is no scale '../scales/tiny'"),
        ({"config": {"experiments": ["atmo"]}}, "did you mean 'atom'?"),
        ({"config": {"experiments": []}}, "experiments: "),
        ({"scale": {"seeds": [0, 1, 0]}}, "tiny.yaml: seeds: a seed is given twice"),
        ({"scale": {"seeds": "many"}}, "tiny.yaml: seeds: "),
        ({"scale": {"seeds": True}}, "tiny.yaml: seeds: "),
        ({"scale": {"seeds": 0}}, "tiny.yaml: seeds: "),
        ({"experiment": {"methods": {"am": {"seeds": 0}}}}, "methods.am.seeds: "),
        (
            {"experiment": {"methods": {"am": {"seeds": [1, 2]}}}},
            "methods.am.seeds: the scale's seed 0 is not among them",
        ),
        (
            {"scale": {"experiments": {"atmo": {}}}},
            "experiments.atmo: there is no such experiment; did you mean 'atom'?",
        ),
        (
            {"scale": {"experiments": {"atom": {"evaluation": {"n_sample": 1}}}}},
            "tiny.yaml: evaluation.n_sample: unknown key; did you mean 'n_samples'?",
        ),
        ({"experiment": {"evaluation": {"times": [0.5, 0.5]}}}, "evaluation.times: times must increase"),
        ({"experiment": {"evaluation": {"times": [0.5, 0.2]}}}, "evaluation.times: times must increase"),
        ({"experiment": {"evaluation": {"times": [0.0, 0.2]}}}, "evaluation.times.0: "),
        ({"experiment": {"evaluation": {"times": [0.5, 1.1]}}}, "evaluation.times.1: "),
        ({"experiment": {"evaluation": {"times": []}}}, "evaluation.times: "),
        (
            {"experiment": {"evaluation": {"metrics": [{"kind": "mmd"}, {"kind": "mmd", "scales": [1.0]}]}}},
            "evaluation.metrics: two metrics are called 'mmd'; give one of them another name",
        ),
        (
            {"experiment": {"evaluation": {"metrics": [{"kind": "energy"}, {"kind": "unrecognised"}]}}},
            "evaluation.metrics: 'unrecognised' needs images, and these points are none",
        ),
        (
            {
                "experiment": {
                    "dataset": {"name": "digits", "states": None},
                    "evaluation": {"metrics": [{"kind": "energy"}, {"kind": "psnr"}]},
                }
            },
            "evaluation.metrics: 'psnr' compares images in pairs, and this task is conditioned on nothing",
        ),
        (
            {
                "experiment": {
                    "dataset": {"name": "digits", "states": None},
                    "evaluation": {"metrics": [{"kind": "energy"}, {"kind": "fid"}]},
                }
            },
            "evaluation.metrics: 'fid' needs images of 3 channels, and these have 1",
        ),
        *(
            (
                {
                    "experiment": {
                        "dataset": {"name": "digits", "states": None, **dataset},
                        "evaluation": {"metrics": [{"kind": "energy"}, *metrics], **times},
                    }
                },
                expected,
            )
            for dataset, metrics, times, expected in (
                ({"task": "torus"}, [{"kind": "bits_per_dim"}], {}, "task generation or vp_diffusion, and dequantise"),
                ({"dequantise": False}, [{"kind": "bits_per_dim"}], {}, "'bits_per_dim' needs dequantised images"),
                ({}, [{"kind": "bits_per_dim"}], {"times": [0.5]}, "is of images, which there are at time 1"),
                ({}, [{"kind": "bits_per_dim_error"}], {"times": [1]}, "is of bits_per_dim: ask for both"),
            )
        ),
        (
            {"experiment": {"evaluation": {"metrics": [{"kind": "nearest_training"}]}}},
            "the first metric must be a distance that all methods have, not 'nearest_training'",
        ),
        ({"experiment": {"dataset": {"name": None}}}, "dataset.name: this key is required"),
        ({"experiment": {"dataset": {"name": "hydrgen"}}}, "datasets: there is no 'hydrgen'; did you mean 'hydrogen'?"),
        (
            {"experiment": {"dataset": {"states": [{"n": 2, "l": 2, "m": 0}]}}},
            "dataset: states.0: l must be below n, got n=2 and l=2",
        ),
        (
            {"experiment": {"dataset": {"states": [{"n": 2, "l": 1, "m": -2}]}}},
            "dataset: states.0: m must be between -l and l, got l=1 and m=-2",
        ),
        ({"experiment": {"dataset": {"duration": float("inf")}}}, "dataset: duration: "),
        ({"experiment": {"methods": {"amm": {}}}}, "methods: there is no 'amm'; did you mean 'am'?"),
        ({"experiment": {"methods": {"am": {"title": 3}}}}, "methods.am.title: "),
        ({"experiment": {"methods": {"a b": {}}}}, "methods.a b."),
        (
            {"experiment": {"methods": {"am": {"settings": {"trainig": {}}}}}},
            "atom.yaml: methods.am.settings: trainig: unknown key; did you mean 'training'?",
        ),
        (
            {"experiment": {"methods": {"am": {"settings": {"training": {"iterations": "many"}}}}}},
            "methods.am.settings: training.iterations: ",
        ),
        ({"experiment": {"methods": {"oracle": {"settings": {"x": 1}}}}}, "methods.oracle.settings: x: unknown key"),
        (
            {"experiment": {"figures": {"methods": ["wied"]}}},
            "figures.methods: there is no run 'wied'; did you mean 'wide'?",
        ),
        (
            {"experiment": {"published": [{**EXPERIMENT["published"][0], "metric": "sinkhorn"}]}},
            "published.0.metric: the experiment computes no metric 'sinkhorn'; choose from: energy, mmd",
        ),
        (
            {"experiment": {"published": [{**EXPERIMENT["published"][0], "confidence": "not recovered"}]}},
            "published.0: a value is given unless",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_the_file_and_the_place(write: Write, changes: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Project(write(**changes))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


CELLS: dict[str, Any] = {
    "title": "Cells",
    "dataset": {"name": "myoblast"},
    "evaluation": {"times": ["1/3", 1.0], "n_samples": 10, "start": "previous", "metrics": [{"kind": "energy"}]},
    "methods": {"am": {"settings": {"training": {"iterations": 10}}}, "oracle": {}},
}


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ({"reuse_weights_of": "on"}, {}, "there is no experiment 'on' in "),
        ({"reuse_weights_of": "one"}, {}, "one.yaml: reuse_weights_of: it trains nothing itself, as 'one' would need"),
        (
            {"reuse_weights_of": "two"},
            {"reuse_weights_of": "one"},
            "two.yaml: reuse_weights_of: it trains nothing itself, as 'one' would need",
        ),
        (
            {"reuse_weights_of": "two"},
            {"dataset": {"held_out": "2/3"}},
            "one.yaml: reuse_weights_of: the data of 'two' have other settings",
        ),
        (
            {"reuse_weights_of": "two"},
            {"methods": {"am": {"settings": {"training": {"iterations": 11}}}}},
            "one.yaml: reuse_weights_of: 'two' does not train 'am' with the same settings",
        ),
        (
            {"reuse_weights_of": "two", "methods": {"eam": {}}},
            {},
            "one.yaml: reuse_weights_of: 'two' does not train 'eam' with the same settings",
        ),
        ({"extends": "on"}, {}, "there is no experiment 'on' in "),
        ({"extends": "one"}, {}, "one.yaml: extends: 'one' extends 'one' already"),
        ({"extends": "two"}, {"extends": "one"}, "one.yaml: extends: 'two' extends 'one' already"),
        ({"extends": 3}, {}, "one.yaml: extends: "),
        ({"dataset": {"held_out": 0.5}}, {}, "held_out: only a time between the first and the last can be held out"),
        ({"dataset": {"held_out": 1}}, {}, "choose from: 0.3333333333, 0.6666666667 (got 1)"),
        ({"dataset": {"held_out": "1/0"}}, {}, "held_out: input should be a number, or a quotient such as 1/3"),
        (
            {"evaluation": {"times": [0.5]}},
            {},
            "one.yaml: evaluation.times: nothing was observed at 0.5; choose from: 0.3333333333, 0.6666666667, 1",
        ),
        ({"evaluation": {"times": ["many"]}}, {}, "evaluation.times.0: input should be a number, or a quotient"),
        (
            {"dataset": {"name": "hydrogen"}},
            {},
            "one.yaml: evaluation.start: there is no previous time where every time is observed",
        ),
        (
            {
                "evaluation": {"protocol": "ours"},
                "published": [{**EXPERIMENT["published"][0], "metric": "energy", "protocol": "theirs"}],
            },
            {},
            "belongs to the protocol 'theirs', the experiment follows 'ours'; they cannot share a table",
        ),
    ],
)
def test_mistakes_about_cells_are_one_sentence(
    write: Write, one: dict[str, Any], two: dict[str, Any], expected: str
) -> None:
    folder = write(config={"experiments": ["one"]})
    write_yaml(merge(CELLS, one), folder / "experiments/one.yaml")
    write_yaml(merge(CELLS, two), folder / "experiments/two.yaml")
    with pytest.raises(ConfigError) as caught:
        Project(folder)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: no such file"):
        Project(tmp_path)
    write_yaml(CONFIG, tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"there is no scale 'tiny' in .*; nothing can stand here"):
        Project(tmp_path)


# -- what depends on what --------------------------------------------------------------------------


def runs(folder: Path) -> dict[str, RunConfig]:
    return Project(folder).experiments["atom"].runs


def test_a_scale_overrides_and_overrides_from_outside_come_last(write: Write) -> None:
    change = {
        "evaluation": {"n_samples": 20},
        "methods": {"am": {"settings": {"training": {"batch_size": 7}}}, "ald": None},
    }
    folder = write(scale={"experiments": {"atom": change}})
    atom = Project(folder, {"results": "elsewhere"}).experiments["atom"]
    assert Project(folder, {"results": "elsewhere"}).results == Path("elsewhere")
    assert list(atom.runs) == ["am", "wide", "oracle"]
    assert atom.data.evaluation.n_samples == 20
    assert atom.runs["am"].settings["training"]["batch_size"] == 7
    assert atom.runs["am"].settings["training"]["iterations"] == 10
    assert atom.seeds == (0, 1)


def test_an_experiment_that_extends_another_has_its_keys_and_those_of_the_scale(write: Write) -> None:
    training = {"methods": {"am": {"settings": {"training": {"iterations": 3}}}}}
    folder = write(config={"experiments": ["two"]}, scale={"experiments": {"one": training}})
    write_yaml(CELLS, folder / "experiments/one.yaml")
    two = {"extends": "one", "title": "Two", "dataset": {"held_out": "1/3"}, "evaluation": {"start": None}}
    write_yaml(two, folder / "experiments/two.yaml")
    found = Project(folder)
    assert list(found.known) == list(found.experiments) == ["two"]
    experiment = found.experiments["two"]
    assert experiment.title == "Two"
    assert experiment.runs["am"].settings["training"]["iterations"] == 3
    assert experiment.data.dataset["held_out"] == pytest.approx(1 / 3)
    assert (experiment.data.evaluation.start, experiment.data.evaluation.n_samples) == ("first", 10)


def test_weights_of_another_experiment_bring_it_along_and_leave_sampling_free(write: Write) -> None:
    folder = write(config={"experiments": ["rolled"]})
    write_yaml(CELLS, folder / "experiments/one.yaml")
    solver = {"methods": {"am": {"settings": {"sampling": {"rtol": 1e-2}}}}}
    rolled = {"extends": "one", "reuse_weights_of": "one", "evaluation": {"start": "first"}, **solver}
    write_yaml(rolled, folder / "experiments/rolled.yaml")
    project = Project(folder, {"results": str(folder / "results")})
    assert list(project.experiments) == ["rolled"]
    assert {name: e.trains_in for name, e in project.known.items()} == {"one": "one", "rolled": "one"}
    one, two = (project.known[name].runs["am"] for name in ("one", "rolled"))
    assert (one.settings, one.dataset) == (two.settings, two.dataset)
    assert (one.sampling.start, two.sampling.start) == ("previous", "first")
    project.write_settings()
    assert read_run(folder / "results/tiny/one/am/config.yaml") == one


@pytest.mark.parametrize(
    ("artifacts", "own", "expected"),
    [
        ({}, None, "build"),
        ({}, "archive", "archive"),
        ("archive", None, "archive"),
        ("build", "archive", "build"),
        ({"one": "archive"}, None, "archive"),
        ({"one": "build"}, "archive", "build"),
        ({"atom": "archive"}, None, "build"),
    ],
)
def test_weights_are_trained_or_fetched_as_is_chosen(write: Write, artifacts: Any, own: Any, expected: str) -> None:
    folder = write(config={"experiments": ["rolled"], "artifacts": artifacts})
    write_yaml({**CELLS, "artifacts": own}, folder / "experiments/one.yaml")
    write_yaml({"extends": "one", "reuse_weights_of": "one", "artifacts": None}, folder / "experiments/rolled.yaml")
    weights = "one" if expected == "build" else "archive/one"
    for experiment in Project(folder).known.values():
        assert (experiment.artifacts, experiment.weights) == (expected, weights)
    other = {"build": "archive", "archive": "build"}[expected]
    assert {e.artifacts for e in Project(folder, {"artifacts": other}).known.values()} == {other}


@pytest.mark.parametrize(
    ("artifacts", "expected"),
    [
        (
            "fetch",
            "config.yaml: artifacts: it is build or archive, for all experiments or for each by its name (got 'fetch')",
        ),
        (
            {"one": ["fetch"]},
            "config.yaml: artifacts: it is build or archive, for all experiments or for each by its name",
        ),
        ({"on": "archive"}, "config.yaml: artifacts.on: there is no such experiment; did you mean 'one'?"),
        ({"rolled": "archive"}, "artifacts.rolled: its weights are those of 'one'; choose for that one"),
    ],
)
def test_a_choice_of_weights_that_cannot_be_followed_is_a_sentence(write: Write, artifacts: Any, expected: str) -> None:
    folder = write(config={"experiments": ["rolled"], "artifacts": artifacts})
    write_yaml(CELLS, folder / "experiments/one.yaml")
    write_yaml({"extends": "one", "reuse_weights_of": "one"}, folder / "experiments/rolled.yaml")
    with pytest.raises(ConfigError) as caught:
        Project(folder)
    assert expected in str(caught.value)


def test_an_archive_that_the_registry_does_not_list_is_a_sentence_where_weights_are_asked_for(write: Write) -> None:
    folder = write(config={"artifacts": "archive"})
    registry = folder.parent / "data/registry.yaml"
    write_yaml({}, registry)
    with pytest.raises(ConfigError) as caught:
        Project(folder).published_archive()
    assert str(caught.value) == (
        f"atom: artifacts: archive: {registry} lists no published archive of the scale 'tiny' (archive: "
        "action-matching-tiny.zip); train with `artifacts: build`, or see docs/reviewing.md for how one is published"
    )
    assert Project(folder, {"artifacts": "build"}).published_archive() is None
    methods = {"am": None, "wide": None, "published": None}
    untrained = write(config={"artifacts": "archive"}, experiment={"methods": methods, "published": None}, name="other")
    assert Project(untrained).published_archive() is None
    entry = {"urls": ["https://example.org/a.zip"], "sha256": "0" * 64}
    source = {"title": "t", "licence": "MIT", "citation": "c", "files": {"action-matching-tiny.zip": entry}}
    write_yaml({"archive": source}, registry)
    listed = Project(folder).published_archive()
    assert listed is not None
    assert listed.sha256 == "0" * 64


def test_particles_start_at_the_first_time_or_at_the_one_before(write: Write) -> None:
    folder = write(config={"experiments": ["one"]})
    write_yaml(CELLS, folder / "experiments/one.yaml")
    course = Project(folder).experiments["one"].runs["am"].sampling
    observed = (0.0, 1 / 3, 2 / 3, 1.0)
    assert course.legs(observed) == ((0.0, (1 / 3,)), (2 / 3, (1.0,)))
    assert course.model_copy(update={"start": "first"}).legs(observed) == ((0.0, (1 / 3, 1.0)),)


def test_titles_and_kinds_of_runs(write: Write) -> None:
    found = runs(write())
    assert {name: run.method for name, run in found.items()} == {
        "am": "am", "wide": "am", "ald": "ald_true_score", "oracle": "oracle"
    }  # fmt: skip
    assert found["wide"].about.title == "wide AM"
    assert [name for name, run in found.items() if run.about.trained] == ["am", "wide"]
    assert [name for name, run in found.items() if run.about.control] == ["oracle"]


@pytest.mark.parametrize(
    ("change", "training", "sampling"),
    [
        ({"methods": {"am": {"title": "another"}}}, False, False),
        ({"title": "another"}, False, False),
        ({"published": []}, False, False),
        ({"methods": {"wide": {"settings": {"potential": {"width": 9}}}}}, False, False),
        ({"evaluation": {"metrics": [{"kind": "mmd"}]}}, False, False),
        ({"evaluation": {"times": [0.25, 1.0]}}, False, True),
        ({"evaluation": {"n_samples": 11}}, False, True),
        ({"methods": {"am": {"settings": {"sampling": {"rtol": 1e-6}}}}}, False, True),
        ({"methods": {"am": {"settings": {"training": {"iterations": 11}}}}}, True, True),
        ({"methods": {"am": {"settings": {"training": {"ema": 0.5}}}}}, True, True),
        ({"methods": {"am": {"settings": {"potential": {"depth": 2}}}}}, True, True),
        ({"methods": {"am": {"settings": {"weight": "parabolic"}}}}, True, True),
        ({"methods": {"am": {"method": "eam"}}}, True, True),
        ({"dataset": {"duration": 13_000}}, True, True),
        # Written out or left to their defaults, settings are the same.
        ({"methods": {"am": {"settings": {"training": {"learning_rate": 1e-3}}}}}, False, False),
        ({"dataset": {"duration": 14_000}}, False, False),
    ],
)
def test_digests_change_with_what_weights_and_samples_depend_on_and_with_nothing_else(
    write: Write, change: Any, training: bool, sampling: bool
) -> None:
    before, after = (runs(folder)["am"] for folder in (write(), write(experiment=change, name="changed")))
    assert (before.training_digest != after.training_digest) == training
    assert (before.sampling_digest != after.sampling_digest) == sampling


def test_runs_with_the_same_settings_have_digests_of_their_own(write: Write) -> None:
    same = copy.deepcopy(EXPERIMENT["methods"]["am"]) | {"method": "am"}
    found = runs(write(experiment={"methods": {"twin": same}}))
    assert found["am"].training_digest != found["twin"].training_digest
    assert found["am"].key(0) != found["twin"].key(0)


def test_what_is_resolved_survives_json(write: Write) -> None:
    for run in runs(write()).values():
        assert RunConfig.model_validate(json.loads(json.dumps(run.model_dump(mode="json")))) == run
