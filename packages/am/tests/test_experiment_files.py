"""Experiments in files: variants, presets, published numbers, and keys by their old names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from am.config import ConfigError, merge, write_yaml
from am.experiment_files import ExperimentFiles, with_new_names
from am.experiments import Project

CELLS: dict[str, Any] = {
    "title": "Cells",
    "dataset": {"name": "myoblast"},
    "evaluation": {"times": ["1/3", 1.0], "n_samples": 10, "start": "previous", "metrics": [{"kind": "energy"}]},
    "methods": {"am": {"settings": {"training": {"iterations": 10}}}, "oracle": {}},
}
VARIANTS = {
    "all_step": {"title": "All steps", "reuse_weights_of": "cells", "evaluation": {"start": "first"}},
    "without_1": {"title": "One held out", "dataset": {"held_out": "1/3"}, "evaluation": {"times": ["1/3"]}},
    "leaky": {"extends": "cells_without_1", "dataset": {"scaler": "all"}, "evaluation": {"protocol": "p-leaky"}},
}
HEADER = "method,metric,value,scale,confidence,source,claim"
NUMBER = "am,energy,0.5,tiny,official,a paper,it works"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a project of one file with variants; more files by name, and published numbers by experiment."""

    def written(
        changes: Any = None,
        published: dict[str, str] | None = None,
        scale: Any = None,
        ask: Any = "cells",
        **files: Any,
    ) -> Path:
        write_yaml({"scale": "tiny", "experiments": [ask]}, tmp_path / "config.yaml")
        write_yaml({"title": "tiny", "seeds": [0], "experiments": scale or {}}, tmp_path / "scales/tiny.yaml")
        cells = merge({**CELLS, "variants": VARIANTS}, changes or {})
        for name, content in {"cells": cells, **files}.items():
            write_yaml(content, tmp_path / f"experiments/{name}.yaml")
        for name, text in (published or {}).items():
            (tmp_path / "published").mkdir(exist_ok=True)
            (tmp_path / f"published/{name}.csv").write_text(text)
        return tmp_path

    return written


def test_a_variant_is_an_experiment_of_its_own_with_the_keys_that_it_does_not_give(write: Write) -> None:
    project = Project(write(ask="cells_without_1"))
    assert list(project.known) == ["cells_without_1"]
    one = project.experiments["cells_without_1"]
    assert (one.name, one.title, one.file.name) == ("cells_without_1", "One held out", "cells.yaml")
    assert one.data.experiment == one.runs["am"].experiment == "cells_without_1"
    assert one.runs["am"].key(3) == "cells_without_1/am/3"
    assert one.runs["am"].settings["training"]["iterations"] == 10
    assert (one.data.evaluation.times, one.data.evaluation.n_samples) == ((1 / 3,), 10)
    assert one.asked("labels")["experiment"] == "cells_without_1"


def test_a_variant_is_the_same_as_a_file_that_extends(write: Write) -> None:
    folder = write(apart={"extends": "cells", **VARIANTS["without_1"]})
    files = ExperimentFiles(folder)
    apart = files.read("apart").data
    assert apart.pop("extends") == "cells"
    assert files.read("cells_without_1").data == apart


def test_a_variant_may_extend_another(write: Write) -> None:
    leaky = Project(write(ask="cells_leaky")).experiments["cells_leaky"]
    assert leaky.title == "One held out"
    assert leaky.data.dataset["held_out"] == pytest.approx(1 / 3)
    assert leaky.data.evaluation.protocol == "p-leaky"


def test_a_variant_brings_along_what_trains_for_it(write: Write) -> None:
    project = Project(write(ask="cells_all_step"))
    assert {name: one.trains_in for name, one in project.known.items()} == {"cells": "cells", "cells_all_step": "cells"}


def test_a_scale_overrides_a_variant_after_its_file(write: Write) -> None:
    overrides = {
        "cells": {"evaluation": {"n_samples": 5, "draws": 2}},
        "cells_without_1": {"evaluation": {"n_samples": 6}},
    }
    evaluation = Project(write(ask="cells_without_1", scale=overrides)).experiments["cells_without_1"].data.evaluation
    assert (evaluation.n_samples, evaluation.draws) == (6, 2)


def test_a_preset_is_built_on_and_is_no_experiment(write: Write) -> None:
    preset = {"preset": True, "extends": "cells", "evaluation": {"n_samples": 7}, "variants": {"a": {"title": "A"}}}
    folder = write(ask="base_a", base=preset, other={"extends": "base", "title": "O"})
    files = ExperimentFiles(folder)
    assert list(files) == ["base_a", "cells", "cells_all_step", "cells_leaky", "cells_without_1", "other"]
    assert len(files) == 6
    assert Project(folder).experiments["base_a"].data.evaluation.n_samples == 7
    assert Project(folder, {"experiments": ["other"]}).experiments["other"].data.evaluation.n_samples == 7
    with pytest.raises(ConfigError) as caught:
        Project(folder, {"experiments": ["base"]})
    assert str(caught.value).endswith(
        "base.yaml: preset: 'base' is a preset, not an experiment; did you mean 'base_a'?"
    )


def test_files_that_nothing_asks_for_are_not_read(write: Write) -> None:
    folder = write()
    (folder / "experiments/unfinished.yaml").write_text("title: [")
    assert list(Project(folder).known) == ["cells"]


@pytest.mark.parametrize(
    ("ask", "changes", "more", "expected"),
    [
        ("cells_withot_1", {}, {}, "there is no experiment 'cells_withot_1' in {}; did you mean 'cells_without_1'?"),
        ("cells", {"variants": 3}, {}, "cells.yaml: variants: expected a mapping, got int"),
        ("cells", {"variants": {"a": 3}}, {}, "cells.yaml: variants.a: expected a mapping, got int"),
        ("cells", {"variants": {50: {}}}, {}, "cells.yaml: variants.50: a name is text; write '50' with the quotes"),
        ("cells_a b", {"variants": {"a b": {}}}, {}, "variants.a b: its name may have letters, digits, _ and - only"),
        ("cells", {"preset": 3}, {}, "cells.yaml: preset: it is true or false (got 3)"),
        (
            "cells_a",
            {"variants": {"a": {"variants": {}}}},
            {},
            "cells.yaml: variants.a.variants: this key is of a file, not of a variant",
        ),
        (
            "cells_a",
            {"variants": {"a": {"titel": "t"}}},
            {},
            "cells.yaml: variants.a: titel: unknown key; did you mean 'title'?",
        ),
        (
            "cells_a",
            {"variants": {"a": {"extends": "cells_a"}}},
            {},
            "cells.yaml: variants.a: extends: 'cells_a' extends 'cells_a' already",
        ),
        (
            "cells_a",
            {"variants": {"a": {}}},
            {"cells_a": CELLS},
            "cells_a.yaml and {}/cells.yaml: variants.a are both called 'cells_a'; rename one of them",
        ),
        (
            "cells",
            {"like": "cells", "extends": "cells"},
            {},
            "cells.yaml: like: this is the old name of extends, which is given too",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_the_file_and_the_place(
    write: Write, ask: str, changes: Any, more: Any, expected: str
) -> None:
    folder = write(changes, ask=ask, **more)
    with pytest.raises(ConfigError) as caught:
        Project(folder)
    assert expected.replace("{}", str(folder / "experiments")) in str(caught.value)


# -- published numbers -----------------------------------------------------------------------------


def test_published_numbers_belong_to_one_experiment_and_keep_their_order(write: Write) -> None:
    numbers = {"cells": f"{HEADER}\n{NUMBER}\noracle,energy,0.25,,restated,s,c\n"}
    folder = write(published=numbers)
    found = Project(folder).experiments["cells"].published
    assert [(one.method, one.value, one.scale) for one in found] == [("am", 0.5, ("tiny",)), ("oracle", 0.25, ())]
    for variant in ("without_1", "all_step"):
        assert Project(folder, {"experiments": [f"cells_{variant}"]}).experiments[f"cells_{variant}"].published == ()


def test_published_numbers_of_a_variant_have_a_file_of_its_name(write: Write) -> None:
    folder = write(ask="cells_leaky", published={"cells_leaky": f"{HEADER}\n{NUMBER}\n"})
    assert [one.value for one in Project(folder).experiments["cells_leaky"].published] == [0.5]


def test_published_numbers_may_stand_in_the_experiments_own_file(write: Write) -> None:
    own = [dict(zip(HEADER.split(","), NUMBER.split(","), strict=True))]
    inline, table = (
        Project(write(changes, published=published)).experiments["cells"].shown("published")
        for changes, published in (({"published": own}, None), ({}, {"cells": f"{HEADER}\n{NUMBER}\n"}))
    )
    assert inline == table


def test_a_scale_may_leave_published_numbers_out(write: Write) -> None:
    folder = write(published={"cells": f"{HEADER}\n{NUMBER}\n"}, scale={"cells": {"published": []}})
    assert Project(folder).experiments["cells"].published == ()


@pytest.mark.parametrize(
    ("changes", "published", "expected"),
    [
        ({}, {"cell": HEADER}, "published/cell.csv: there is no experiment 'cell'; did you mean 'cells'?"),
        (
            {"published": [{"method": "am"}]},
            {"cells": f"{HEADER}\n{NUMBER}\n"},
            "cells.yaml: published: numbers stand in {}/published/cells.csv already; move these there",
        ),
        (
            {},
            {"cells": f"{HEADER}\n{NUMBER}\n{NUMBER.replace('energy', 'enrgy')}\n"},
            "cells.csv: line 3, column metric: the experiment computes no metric 'enrgy'; did you mean 'energy'?",
        ),
        (
            {},
            {"cells": f"{HEADER}\n{NUMBER.replace('tiny', 'tinny')}\n"},
            "cells.csv: line 2, column scale: there is no scale 'tinny'; did you mean 'tiny'?",
        ),
        (
            {},
            {"cells": f"{HEADER},protocol\n{NUMBER},theirs\n"},
            "cells.csv: line 2, column protocol: the number for 'am' belongs to the protocol 'theirs', the experiment "
            "follows ''",
        ),
        (
            {},
            {"cells": f"{HEADER},at_times\n{NUMBER},0.4 0.5 0.6\n"},
            "cells.csv: line 2, column at_times: 3 values are given for 'am', the experiment asks for 2 times",
        ),
    ],
)
def test_a_mistake_about_published_numbers_names_file_line_and_column(
    write: Write, changes: Any, published: dict[str, str], expected: str
) -> None:
    folder = write(changes, published=published)
    with pytest.raises(ConfigError) as caught:
        Project(folder)
    assert expected.replace("{}", str(folder)) in str(caught.value)


# -- old names -------------------------------------------------------------------------------------


def test_old_names_mean_what_the_new_ones_do_and_are_one_warning_each(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    new = {"extends": "cells", "reuse_weights_of": "cells", "figures": {"methods": ["am"]}}
    old = {"like": "cells", "weights_of": "cells", "pictured": ["am"]}
    folder = write(new={**new, "title": "T"}, old={**old, "title": "T"}, scale={"cells": {"pictured": ["oracle"]}})
    with caplog.at_level(logging.WARNING):
        files = ExperimentFiles(folder)
        assert files.read("old").data == files.read("new").data
    assert [record.message.removeprefix(f"{folder}/experiments/") for record in caplog.records] == [
        f"old.yaml: the key '{was}' is now called '{now}', and its old name will not be read after this release."
        for was, now in (("like", "extends"), ("weights_of", "reuse_weights_of"), ("pictured", "figures.methods"))
    ]
    assert Project(folder).experiments["cells"].pictured == ("oracle",)


def test_new_names_are_left_as_they_are_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    content = {"title": "T", "extends": "cells", "figures": {"methods": ["am"]}}
    assert with_new_names(content, "here") == content
    assert caplog.records == []
