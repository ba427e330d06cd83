"""Settings: what is read, how it is merged, and that every mistake is explained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field

from am.config import ConfigError, Settings, digest, merge, nearest, parse, read_yaml, write_yaml
from am.experiments import Experiment, ProjectSettings, Scale

quick = settings(deadline=None, max_examples=60)


class Circle(Settings):
    kind: Literal["circle"] = "circle"
    radius: float = 1.0


class Square(Settings):
    kind: Literal["square"] = "square"
    side: float = 1.0
    rounded: bool = False


class Part(Settings):
    shape: Circle | Square = Field(default=Circle(), discriminator="kind")
    colours: tuple[str, ...] = ()


class Whole(Settings):
    title: str
    size: int = 1
    parts: tuple[Part, ...] = ()
    named: dict[str, Part] = Field(default_factory=dict)


def error(model: type[Settings], data: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(model, data, "file.yaml")
    text = str(caught.value)
    assert text.startswith("file.yaml: ")
    assert "\n" not in text
    return text.removeprefix("file.yaml: ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"title": "t", "siez": 2}, "siez: unknown key; did you mean 'size'?"),
        ({"titel": "t"}, "titel: unknown key; did you mean 'title'?"),
        ({"title": "t", "xyz": 2}, "xyz: unknown key; choose from: named, parts, size, title"),
        ({"title": "t", "parts": [{}, {"colors": []}]}, "parts.1.colors: unknown key; did you mean 'colours'?"),
        ({"title": "t", "named": {"a": {"shap": {}}}}, "named.a.shap: unknown key; did you mean 'shape'?"),
        (
            {"title": "t", "named": {"title": {"shap": {}}}},
            "named.title.shap: unknown key; did you mean 'shape'?",
        ),
        (
            {"title": "t", "parts": [{"shape": {"kind": "circle", "radios": 1}}]},
            "parts.0.shape.circle.radios: unknown key; did you mean 'radius'?",
        ),
        # "rounded" is no key of a circle, so it is not offered there.
        (
            {"title": "t", "parts": [{"shape": {"kind": "circle", "roundet": True}}]},
            "parts.0.shape.circle.roundet: unknown key; choose from: kind, radius",
        ),
        ({"title": "t", "parts": [{"shape": {"radius": 1}}]}, "parts.0.shape.kind: this key is required"),
        ({}, "title: this key is required"),
        ({"title": "t", "parts": [{"shape": {"kind": "circle", "radius": float("nan")}}]}, "finite"),
        ({"title": "t", "parts": [{"shape": {"kind": "square", "side": float("inf")}}]}, "finite"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_nearest_key(data: Any, expected: str) -> None:
    assert expected in error(Whole, data)


def test_a_wrong_kind_names_those_that_there_are() -> None:
    text = error(Whole, {"title": "t", "parts": [{"shape": {"kind": "circel"}}]})
    assert text.startswith("parts.0.shape: ")
    assert "'circel'" in text
    assert "'circle', 'square'" in text


@pytest.mark.parametrize("value", ["many", 1.5, None, [1], {"a": 1}])
def test_a_value_of_another_type_is_shown(value: Any) -> None:
    text = error(Whole, {"title": "t", "size": value})
    assert text.startswith("size: ")
    assert isinstance(value, list | dict) or f"(got {value!r})" in text


def test_settings_cannot_be_changed_and_give_back_what_was_parsed() -> None:
    data = {
        "title": "t",
        "size": 3,
        "parts": ({"shape": {"kind": "square", "side": 2.0, "rounded": True}, "colours": ("red",)},),
    }
    whole = parse(Whole, data, "file.yaml")
    assert whole.model_dump(exclude={"named"}) == data
    with pytest.raises(ValueError, match="frozen"):
        whole.size = 4


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.none(), inner, max_size=4)
        # Keys that exist, so that the search goes below the surface.
        | st.dictionaries(
            st.sampled_from(
                ["title", "dataset", "evaluation", "methods", "published", "times", "metrics", "kind", "scales",
                 "seeds", "experiments", "settings", "method", "metric", "confidence", "parts", "shape", "named"]
            ),
            inner | st.sampled_from(["mmd", "energy", "circle", "official"]),
            max_size=6,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize("model", [Whole, Experiment, Scale, ProjectSettings])
@quick
@given(data=PLAIN)
def test_parse_gives_settings_or_one_sentence(model: type[Settings], data: Any) -> None:
    try:
        given = isinstance(parse(model, data, "x"), model)
    except ConfigError as error:
        given = str(error).startswith("x: ")
    assert given


def test_nearest() -> None:
    assert nearest("widht", ["width", "depth"]) == "did you mean 'width'?"
    assert nearest("foo", ["width", "depth", "width"]) == "choose from: depth, width"
    assert nearest("foo", []) == "nothing can stand here"


# -- YAML ------------------------------------------------------------------------------------------


def yaml(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


def test_numbers_are_numbers(tmp_path: Path) -> None:
    texts = ["1e-4", "1E5", "-1.5e+3", ".5", "1.", "+2e2", "100_000", "-7", "1e", "e5", "1-4", "1.2.3", "v1e4"]
    read = yaml(tmp_path, "".join(f"k{i}: {text}\n" for i, text in enumerate(texts)))
    expected: list[Any] = [1e-4, 1e5, -1500.0, 0.5, 1.0, 200.0, 100_000, -7, "1e", "e5", "1-4", "1.2.3", "v1e4"]
    assert list(read.values()) == expected
    assert [type(value) for value in read.values()] == [type(value) for value in expected]


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    read = yaml(tmp_path, "a: &a {x: 1, y: 2}\nb: *a\nc:\n  <<: *a\n  y: 3\n")
    assert read == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert yaml(tmp_path, "# only a comment\n") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is given twice"),
        ("a:\n  - b: {c: 1, d: 2, c: 1}\n", "line 2: the key 'c' is given twice"),
        ("a: !!python/object/apply:os.mkdir [MADE]", "python/object/apply:os.mkdir"),
        ("a: !!python/name:os.system", "python/name"),
        ("a: !mine 3", "!mine"),
        ("- 1\n- 2\n", "expected a mapping, got list"),
        ("just words", "expected a mapping, got str"),
        ("a: [1, 2", "not valid YAML"),
        ("a: *b", "undefined alias 'b'"),
        ("a: 1\n---\nb: 1\n", "single document"),
        ("? [1, 2]\n: 3\n", "unhashable"),
        ("a: 2020-13-45\n", "month must be in 1..12"),
        ("a: !!int many\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        ("a: " + "[" * 1000, "not valid YAML"),
    ],
)
def test_what_is_not_a_mapping_of_plain_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"settings\.yaml: ") as caught:
        yaml(tmp_path, text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.yaml"]


@pytest.mark.parametrize(
    "line",
    ["{0}: &{0} [{1}]", "{0}: &{0} {{k: [{1}]}}", "{0}: &{0} {{<<: [{1}]}}"],
    ids=["lists", "mappings", "merge keys"],
)
def test_aliases_that_multiply_are_refused_at_once(tmp_path: Path, line: str) -> None:
    text = "a: &a {x: 1}\n"
    for before, name in pairwise("abcdefghi"):
        text += line.format(name, ", ".join([f"*{before}"] * 9)) + "\n"
    with pytest.raises(ConfigError, match=r"settings\.yaml: with its aliases written out it holds more than 100,000"):
        yaml(tmp_path, text)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: {c: *a}}\n"])
def test_what_holds_itself_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="aliases"):
        yaml(tmp_path, text)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "hydrogen.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"no such file; did you mean 'hydrogen\.yaml'\?"):
        read_yaml(tmp_path / "hydrgen.yaml")
    with pytest.raises(ConfigError, match="no such file; nothing can stand here"):
        read_yaml(tmp_path / "absent" / "a.yaml")


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x80")
    for path in (tmp_path / "binary.yaml", tmp_path, tmp_path / "binary.yaml" / "below"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)
MAPPING = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("yaml") / "new" / "settings.yaml"

    @quick
    @given(data=MAPPING)
    @example(data={"1e5": "1e5", "a": [".5", "1e-4", 1e-4, 1e300, -0.0], "b": "1_000", "yes": "no", "~": "null"})
    def check(data: dict[str, Any]) -> None:
        write_yaml(data, path)
        assert read_yaml(path) == data

    check()


# -- merging and digests ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "override", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"x": 1, "y": {"z": 2}}}, {"a": {"y": {"w": 3}}}, {"a": {"x": 1, "y": {"z": 2, "w": 3}}}),
        ({"a": 1, "b": 2}, {"b": None, "absent": None}, {"a": 1}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": None}}, {"a": {"y": 2}}),
        ({"a": 1}, {"a": {"x": 1, "y": None}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}}, {"a": 2}, {"a": 2}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),  # a list is replaced as a whole
        ({"a": None}, {"b": 1}, {"a": None, "b": 1}),
    ],
)
def test_merge(base: dict[str, Any], override: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merge(base, override) == expected


def leaves(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Values by the keys that lead to them; an empty mapping is a value too."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in data.items():
        below = isinstance(value, Mapping) and value
        found |= leaves(value, (*path, key)) if below else {(*path, key): value}
    return found


@quick
@given(base=MAPPING, override=MAPPING)
def test_laws_of_merging(base: dict[str, Any], override: dict[str, Any]) -> None:
    before = copy.deepcopy((base, override))
    merged = merge(base, override)
    assert (base, override) == before
    assert merge(base, {}) == base
    assert merge(merged, override) == merged
    found = leaves(merged)
    for path, value in leaves(override).items():
        if value is None:
            assert path not in found
        elif value != {}:
            assert found[path] == value
    for path, value in leaves(base).items():
        touched = any(path[:i] in leaves(override) for i in range(len(path) + 1))
        replaced = any(other[: len(path)] == path for other in leaves(override))
        if not touched and not replaced:
            assert found[path] == value


@quick
@given(data=MAPPING)
def test_a_digest_is_blind_to_the_order_of_keys_alone(data: dict[str, Any]) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert digest(turned(data)) == digest(data)
    assert digest({**data, "more": 1}) != digest({**data, "more": 2})


def test_digests_tell_values_apart() -> None:
    values: list[Any] = [None, 0, 1, -1, 1.5, "1", "", [], [1], [1, 2], [2, 1], {}, {"a": 1}, {"a": 2}, {"b": 1}]
    assert len({digest(value) for value in values}) == len(values)
