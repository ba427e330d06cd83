"""Samples are read as they were written, and refused in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from am.results.samples import Samples, SamplesError, read_samples, write_samples


def samples(weighted: bool = True) -> Samples:
    rng = np.random.default_rng(0)
    time = np.repeat([0.1 * 3, 0.7], 50)
    return Samples(rng.normal(size=(100, 3)).astype("f4"), time, 500 * rng.normal(size=100) if weighted else None)


@pytest.mark.parametrize("weighted", [True, False])
def test_a_round_trip(tmp_path: Path, weighted: bool) -> None:
    written = samples(weighted)
    write_samples(written, tmp_path / "samples.npz")
    back = read_samples(tmp_path / "samples.npz")
    np.testing.assert_array_equal(back.x, written.x)
    np.testing.assert_array_equal(back.time, written.time)
    assert (back.log_weight is None) is not weighted
    if weighted:
        np.testing.assert_array_equal(back.log_weight, written.log_weight)


def test_points_at_a_time() -> None:
    written = samples()
    points, log_weight = written.at(0.3)
    assert log_weight is not None
    assert written.log_weight is not None
    np.testing.assert_array_equal(points, written.x[:50])
    np.testing.assert_array_equal(log_weight, written.log_weight[:50])
    assert samples(weighted=False).at(0.7)[1] is None
    with pytest.raises(SamplesError, match=r"time 0\.5, only at 0\.3, 0\.7"):
        samples().at(0.5)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[300] ^= 0xFF
    path.write_bytes(content)


BAD: list[tuple[dict[str, Any], Callable[[Path], object], str]] = [
    ({}, Path.unlink, "no such samples"),
    ({}, truncate, "not whole"),
    ({}, flip, "not whole"),
    ({}, lambda path: path.write_text("x,time"), "not whole"),
    ({"x": np.array([{}] * 100)}, lambda _: None, "not whole"),
    ({"x": None}, lambda _: None, "'x' is missing"),
    ({"time": None}, lambda _: None, "'time' is missing"),
    ({"time": np.zeros(99)}, lambda _: None, "'x' has 100 points, 'time' has 99"),
    ({"x": np.full((100, 3), np.nan)}, lambda _: None, "'x' holds numbers that are not finite"),
    ({"log_weight": np.full(100, np.inf)}, lambda _: None, "'log_weight' holds numbers that are not finite"),
]


@pytest.mark.parametrize(("change", "spoil", "sentence"), BAD)
def test_bad_samples_are_one_clear_sentence(
    tmp_path: Path, change: dict[str, Any], spoil: Callable[[Path], object], sentence: str
) -> None:
    path = tmp_path / "samples.npz"
    arrays = {"x": np.ones((100, 3)), "time": np.ones(100), "log_weight": np.zeros(100)} | change
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    spoil(path)
    with pytest.raises(SamplesError, match=sentence) as caught:
        read_samples(path)
    assert str(path) in str(caught.value)
