"""Files of weights: read as written, or refused in one sentence."""

from __future__ import annotations

import os
import pickle
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from am.training.checkpoint import CheckpointError, load_weights, read_tensors, write_tensors

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
    "a.bias": torch.tensor([1e-40, -0.0]),  # a denormal, and a sign that only its bits show
    "scale": torch.tensor(2.5, dtype=torch.float64),
    "count": torch.tensor([3, -4]),
    "flag": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_tensors_and_facts_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.safetensors"
    about = {"step": 3, "seconds": 1.25, "run": "hydrogen/am/0", "nested": {"list": [1, None, True]}}
    write_tensors(path, TENSORS, about)
    tensors, facts = read_tensors(path)
    assert facts == about
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert tensors[name].numpy().tobytes() == tensor.numpy().tobytes()
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]


def test_views_and_parameters_are_written_by_value(tmp_path: Path) -> None:
    whole, parameter = torch.arange(12.0).reshape(3, 4), nn.Parameter(torch.ones(2))
    views = {"transposed": whole.T, "column": whole[:, 1], "parameter": parameter}
    write_tensors(tmp_path / "a", views)
    tensors, facts = read_tensors(tmp_path / "a")
    assert facts == {}
    assert all(torch.equal(tensors[name], tensor) for name, tensor in views.items())
    assert not tensors["parameter"].requires_grad


def test_what_was_read_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_tensors(path, {"x": torch.arange(1000.0)})
    tensors, _ = read_tensors(path)
    write_tensors(path, {"x": torch.zeros(1000)})
    path.unlink()
    assert torch.equal(tensors["x"], torch.arange(1000.0))


def test_the_same_content_makes_the_same_file(tmp_path: Path) -> None:
    for i in range(8):
        write_tensors(
            tmp_path / str(i), dict(reversed(TENSORS.items())) if i % 2 else TENSORS, {"title": "\u00e9t\u00e9"}
        )
    assert len({(tmp_path / str(i)).read_bytes() for i in range(8)}) == 1
    assert read_tensors(tmp_path / "0")[1] == {"title": "\u00e9t\u00e9"}


def test_a_flipped_bit_is_noticed_in_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_tensors(path, {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(7)}, {"step": 3})
    content = bytearray(path.read_bytes())
    for position in range(len(content)):
        content[position] ^= 1 << 5 * position % 8
        path.write_bytes(content)
        assert "delete it to train again" in refusal(path)
        content[position] ^= 1 << 5 * position % 8
    path.write_bytes(content)
    read_tensors(path)


def test_every_truncation_and_every_tail_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_tensors(path, {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(7)}, {"step": 3})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert "not a whole safetensors file" in refusal(path)
    for tail in (b"\0", b"{}", content):
        path.write_bytes(content + tail)
        assert "not a whole safetensors file" in refusal(path)


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "plain").write_bytes(pickle.dumps(Payload(marker)))
    torch.save({"weights": Payload(marker)}, tmp_path / "torch")
    for name in ("plain", "torch"):
        assert "not a whole safetensors file" in refusal(tmp_path / name)
    assert not marker.exists()
    pickle.loads((tmp_path / "plain").read_bytes())  # noqa: S301  (shows that it would have run)
    assert marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        b"\0" * 8,
        b"\xff" * 64,
        b"hello, world",
        struct.pack("<Q", 1 << 60) + b"{}",
        b"PK\3\4" + b"x" * 99,
    ],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert "not a whole safetensors file" in refusal(tmp_path / "a")


@pytest.mark.parametrize("facts", ["{", "[1]", "[" * 100_000], ids=["cut", "a list", "deep"])
def test_a_header_without_facts_is_refused(tmp_path: Path, facts: str) -> None:
    save_file({}, tmp_path / "a", {"about": facts, "sha256": sha256(facts.encode()).hexdigest()})
    assert "its header holds no facts as JSON" in refusal(tmp_path / "a")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e4m3fn, torch.complex64, torch.bool, torch.int64])
def test_numbers_of_every_kind_are_read_as_written(tmp_path: Path, kind: torch.dtype) -> None:
    tensors = {"a": torch.tensor([0.0, 1.0, 2.0]).to(kind), "b": torch.tensor(1.0).to(kind)}
    write_tensors(tmp_path / "a", tensors)
    read, _ = read_tensors(tmp_path / "a")
    assert all(
        torch.equal(read[name].to(torch.complex64), tensor.to(torch.complex64)) for name, tensor in tensors.items()
    )
    assert {tensor.dtype for tensor in read.values()} == {kind}


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == "no such file of weights"
    assert "not a whole safetensors file" in refusal(tmp_path)


def test_a_file_of_others_has_no_digest(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "a")
    assert "does not match its digest" in refusal(tmp_path / "a")


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    tensors: dict[str, Tensor | None] = {**nn.Linear(3, 2).state_dict(), **changes}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (changed(bias=None), "'bias' is missing"),
        (changed(wieght=torch.zeros(2)), "'wieght' has no place; did you mean 'weight'?"),
        (changed(weight=torch.zeros(3, 2)), "'weight' is (3, 2), this one needs (2, 3)"),
        (changed(bias=torch.zeros(())), "'bias' is (), this one needs (2,)"),
        ({}, "'weight' is missing"),
    ],
)
def test_weights_of_another_network_are_refused(tensors: dict[str, Tensor], expected: str) -> None:
    network = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, tensors, "model.safetensors")
    assert str(caught.value) == f"model.safetensors: weights of another network: {expected}"
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_weights_of_the_same_network_are_taken() -> None:
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    load_weights(other, one.state_dict(), "here")
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)
