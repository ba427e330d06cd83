"""Seeds are functions of names."""

from __future__ import annotations

import random

import torch

from am.randomness import derive_seed, generator


def test_the_same_names_give_the_same_seed_whatever_happened_before() -> None:
    before = derive_seed("hydrogen", "am", 0)
    random.seed(3)
    torch.manual_seed(3)
    assert derive_seed("hydrogen", "am", 0) == before
    first = torch.rand(4, generator=generator("a", 1))
    torch.rand(100)
    assert torch.equal(torch.rand(4, generator=generator("a", 1)), first)


def test_order_number_and_boundaries_of_names_matter() -> None:
    names: list[tuple[object, ...]] = [
        ("a", "b"), ("b", "a"), ("ab",), ("a", "b", ""), ("", "a", "b"), ("a", 1), ("a", 1.5), ("a", 11), ("a", 1, 1),
        ("a1",), ("",),
    ]  # fmt: skip
    assert len({derive_seed(*parts) for parts in names}) == len(names)


def test_seeds_fill_63_bits_evenly() -> None:
    seeds = [derive_seed("run", step) for step in range(4000)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    for bit in range(63):
        share = sum(seed >> bit & 1 for seed in seeds) / len(seeds)
        assert abs(share - 0.5) < 0.04


def test_generators_of_neighbouring_steps_are_independent() -> None:
    drawn = torch.stack([torch.randn(256, generator=generator("run", step)) for step in range(64)])
    correlation = torch.corrcoef(drawn) - torch.eye(64)
    assert correlation.abs().max() < 6 / 256**0.5
    assert float(drawn.mean()) < 0.05
