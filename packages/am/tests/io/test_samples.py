"""What a method predicts: the file comes back as it went, and every other file is refused in one sentence."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from am.io.samples import Samples, read_samples, write_samples
from am.io.snapshots import DataError

TIME = np.repeat([0.5, 1.0], [3, 2])
X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
WEIGHT = np.random.default_rng(1).standard_normal(5).astype(np.float32)


def refusal(path: Path) -> str:
    """The sentence that reading ends in, without the path that it starts with."""
    with pytest.raises(DataError) as caught:
        read_samples(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    return sentence.removeprefix(f"{path}: ")


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("shape", [(5, 3), (5, 1), (5, 2, 4, 4)], ids=["points", "a line", "images"])
def test_samples_come_back_as_they_went(tmp_path: Path, shape: tuple[int, ...], weight: Any) -> None:
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    path = tmp_path / "new" / "samples.npz"
    write_samples(Samples(x, TIME, weight), path)
    back = read_samples(path)
    np.testing.assert_array_equal(back.x, x, strict=True)
    np.testing.assert_array_equal(back.time, TIME, strict=True)
    if weight is None:
        assert back.log_weight is None
    else:
        np.testing.assert_array_equal(back.log_weight, weight, strict=True)
    assert [file.name for file in path.parent.iterdir()] == ["samples.npz"]


def test_likelihoods_are_as_many_as_there_are_probes_and_images(tmp_path: Path) -> None:
    likely = np.random.default_rng(3).standard_normal((2, 4)).astype(np.float32)
    write_samples(Samples(X, TIME, log_density=likely), tmp_path / "samples.npz")
    np.testing.assert_array_equal(read_samples(tmp_path / "samples.npz").log_density, likely, strict=True)
    write_samples(Samples(X, TIME, log_density=likely[0]), tmp_path / "flat.npz")
    assert refusal(tmp_path / "flat.npz") == "the array 'log_density' is of float32 and shape (4,)"


def test_what_other_noise_gives_stands_behind_the_first(tmp_path: Path) -> None:
    again, weights = np.stack([X + 1, X + 2]), np.stack([WEIGHT + 1, WEIGHT + 2])
    write_samples(Samples(X, TIME, WEIGHT, redrawn=again, redrawn_log_weight=weights), tmp_path / "a.npz")
    back = read_samples(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.at(0.5)[0], X[:3])
    for k, draw in enumerate(back.draws):
        x, weight = draw.at(1.0)
        np.testing.assert_array_equal(x, X[3:] + k)
        np.testing.assert_array_equal(weight, WEIGHT[3:] + k)
    assert len(back.draws) == 3
    assert [draw.log_weight for draw in Samples(X, TIME, redrawn=again).draws] == [None] * 3
    assert len(Samples(X, TIME).draws) == 1
    np.savez(tmp_path / "short.npz", x=X, time=TIME, redrawn=again[:, :4])
    assert "arrays of different lengths" in refusal(tmp_path / "short.npz")
    np.savez(tmp_path / "flat.npz", x=X, time=TIME, redrawn=X)
    assert "the array 'redrawn' is of float32 and shape (5, 3)" in refusal(tmp_path / "flat.npz")


def test_samples_of_any_writer_are_read(tmp_path: Path) -> None:
    """What numpy itself writes, uncompressed, in double precision and with an array that is not asked for."""
    np.savez(tmp_path / "a.npz", x=X.astype(np.float64), time=TIME, names=np.array([["a"]]))
    back = read_samples(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.x, X, strict=True)
    assert back.log_weight is None


def test_points_are_chosen_by_their_time() -> None:
    samples = Samples(X, TIME, WEIGHT)
    x, weight = samples.at(0.5)
    np.testing.assert_array_equal(x, X[:3])
    np.testing.assert_array_equal(weight, WEIGHT[:3])
    x, weight = Samples(X, TIME).at(1.0)
    np.testing.assert_array_equal(x, X[3:])
    assert weight is None


def test_times_are_the_same_up_to_rounding() -> None:
    times = np.array([0.1 + 0.2, 0.3 + 1e-6])
    np.testing.assert_array_equal(Samples(X[:2], times).at(0.3)[0], X[:1])


def test_a_time_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(DataError, match=r"^no samples at time 0\.7; times: \[0\.5, 1\.0\]$"):
        Samples(X, TIME).at(0.7)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.npz") == "no such file of samples"
    assert refusal(tmp_path).startswith("not a whole npz file (")


def test_a_file_that_was_cut_off_is_refused_wherever(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    write_samples(Samples(X, TIME, WEIGHT), path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert refusal(path).startswith("not a whole npz file (")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("x,time\n1,2\n")
    np.save(tmp_path / "array.npy", X)
    for name in ("text.npz", "array.npy"):
        assert refusal(tmp_path / name).startswith("not a whole npz file (")


def test_a_file_with_a_flipped_bit_is_refused_or_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    write_samples(Samples(X, TIME, WEIGHT), path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            back = read_samples(path)
        except DataError:
            continue
        np.testing.assert_array_equal(back.x, X)
        np.testing.assert_array_equal(back.time, TIME)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", "not an array")
        file.writestr("time.npy", "not an array")
    assert refusal(tmp_path / "a.npz").startswith("not a whole npz file (the magic string is not correct")


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    objects = np.empty(5, dtype=object)
    objects[:] = [Payload(tmp_path / "ran")] * 5
    np.savez(tmp_path / "a.npz", x=objects, time=TIME)
    assert refusal(tmp_path / "a.npz") == "the array 'x' holds Python objects, not numbers"
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    (tmp_path / "b.npz").write_bytes(buffer.getvalue())
    assert refusal(tmp_path / "b.npz").startswith("not a whole npz file (")
    assert not (tmp_path / "ran").exists()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"time": TIME, "y": X}, "the array 'x' is missing; it has: time, y"),
    ({"x": X}, "the array 'time' is missing; it has: x"),
    ({"x": X[:, 0], "time": TIME}, "the array 'x' is of float32 and shape (5,)"),
    ({"x": np.array(1.0), "time": TIME}, "the array 'x' is of float64 and shape ()"),
    ({"x": X.astype(str), "time": TIME}, "the array 'x' is of <U32 and shape (5, 3)"),
    ({"x": X.astype(complex), "time": TIME}, "the array 'x' is of complex128 and shape (5, 3)"),
    ({"x": X > 0, "time": TIME}, "the array 'x' is of bool and shape (5, 3)"),
    ({"x": X, "time": TIME[:, None]}, "the array 'time' is of float64 and shape (5, 1)"),
    ({"x": X, "time": TIME.astype("datetime64[s]")}, "the array 'time' is of datetime64[s] and shape (5,)"),
    ({"x": X, "time": TIME, "log_weight": X}, "the array 'log_weight' is of float32 and shape (5, 3)"),
    ({"x": X, "time": TIME[:4]}, "arrays of different lengths: {'x': 5, 'time': 4}"),
    (
        {"x": X, "time": TIME, "log_weight": WEIGHT[:1]},
        "arrays of different lengths: {'x': 5, 'time': 5, 'log_weight': 1}",
    ),
    ({"x": X.astype(float) + 1e300, "time": TIME}, "the array 'x' holds a number that is not finite"),
    *(
        (
            {"x": X, "time": TIME, "log_weight": WEIGHT} | {name: np.where(array > array.min(), array, bad)},
            f"the array '{name}' holds a number that is not finite",
        )
        for name, array in (("x", X), ("time", TIME), ("log_weight", WEIGHT))
        for bad in (np.nan, np.inf, -np.inf)
    ),
]


@pytest.mark.parametrize(("arrays", "expected"), BAD, ids=[expected[:50] for _, expected in BAD])
def test_arrays_that_cannot_be_samples_are_refused(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert refusal(tmp_path / "a.npz") == expected


def bomb(path: Path, shape: tuple[int, ...], dtype: str, stored: int) -> None:
    """An npz file whose ``x`` is said to be of this shape, with so many bytes of zeros behind its header."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as file:
            about = {"descr": dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, about)
            for start in range(0, stored, 1 << 20):
                file.write(bytes(min(1 << 20, stored - start)))
        with archive.open("time.npy", "w") as file:
            np.lib.format.write_array(file, np.ones(shape[0]))


@pytest.mark.parametrize(
    ("shape", "dtype", "stored", "sentence"),
    [
        ((1 << 7, 1 << 20), "<f4", 1 << 29, "would unpack to"),
        ((1 << 6, 1 << 18), "<U1", 1 << 26, "the array 'x' is of <U1 and shape"),
        ((1 << 20,), "<f4", 1 << 22, "the array 'x' is of float32 and shape"),
        ((2, 1 << 40), "<f4", 8, "not a whole npz file (the array 'x' of shape"),
        ((2, 3), "<f4", 1 << 29, "not a whole npz file (the array 'x' of shape"),
        ((2, 3), "|O", 48, "the array 'x' holds Python objects"),
    ],
)
def test_a_file_that_would_fill_the_memory_is_refused_by_its_headers(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, stored: int, sentence: str
) -> None:
    path = tmp_path / "samples.npz"
    bomb(path, shape, dtype, stored)
    tracemalloc.start()
    try:
        assert sentence in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_constants_shrink_and_are_samples_all_the_same(tmp_path: Path) -> None:
    write_samples(Samples(np.zeros((100_000, 50), np.float32), np.ones(100_000)), tmp_path / "a.npz")
    assert read_samples(tmp_path / "a.npz").x.shape == (100_000, 50)


def test_what_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "not a whole npz file (it is no plain file)"
