"""Steps that handle several seeds in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am.config import ConfigError
from am.steps.seeds import SeedsError, among, each, said_of, together


@given(st.lists(st.integers(0, 200), min_size=1, unique=True))
def test_the_word_for_a_list_of_seeds_can_be_read_again(seeds: list[int]) -> None:
    word = together(seeds)
    assert among(word) == set(seeds)
    assert word.replace("_", "").isalnum()


@pytest.mark.parametrize("word", ["", "x", "1_to_x", "1_to_2_to_3", "1_and_"])
def test_a_word_of_another_kind_has_no_seeds(word: str) -> None:
    assert among(word) == set()


def test_each_seed_has_its_own_paths() -> None:
    called: list[tuple[Any, ...]] = []
    paths = [Path("a{seed}/b{seed}.csv"), None]
    each([3, 7], paths, lambda *found: called.append(found))
    assert called == [(3, Path("a3/b3.csv"), None), (7, Path("a7/b7.csv"), None)]


def test_one_path_for_several_seeds_is_refused_before_anything_is_done() -> None:
    with pytest.raises(ConfigError, match=r"out.csv: it would be one file for 2 seeds; write \{seed\} in its path"):
        each([0, 1], [Path("out.csv")], lambda *_: pytest.fail("called"))


def test_all_seeds_are_tried_and_each_that_fails_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    tried = []

    def step(seed: int) -> None:
        tried.append(seed)
        if seed != 1:
            raise ConfigError(f"of {seed},\nin two lines")

    with pytest.raises(SeedsError, match="2 of 3 seeds failed: 0, 2"):
        each([0, 1, 2], [], step)
    assert tried == [0, 1, 2]
    assert said_of(capsys.readouterr().err) == {0: "of 0, in two lines", 2: "of 2, in two lines"}


def test_what_is_no_sentence_of_the_library_ends_all_at_once() -> None:
    tried = []

    def step(seed: int) -> None:
        tried.append(seed)
        raise ValueError("a fault of the code")

    with pytest.raises(ValueError, match="a fault of the code"):
        each([0, 1], [], step)
    assert tried == [0]


def test_a_single_seed_ends_as_it_would_alone() -> None:
    def step(seed: int, path: Path) -> None:
        raise ConfigError(f"{path}: of {seed}")

    with pytest.raises(ConfigError, match=r"^one.csv: of 4$"):
        each([4], [Path("one.csv")], step)
