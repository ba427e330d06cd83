"""Paths of images against their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from am.marginals.images import PATHS, CirclePoints, Generation, GuessedPath, ImageEnds, ImagePath, Torus
from am.randomness import generator

SHAPE = (3, 4, 6)
SIZE = math.prod(SHAPE)
N = 4000
TASKS = sorted(PATHS)
CONDITIONAL = ("colorization", "superresolution", "inpainting")
every_task = pytest.mark.parametrize("task", TASKS)


def images(n: int, name: str = "images") -> Tensor:
    return 2 * torch.rand(n, SIZE, generator=generator(name)) - 1


def path(task: str, n: int = 5, **options: bool) -> ImagePath:
    return PATHS[task](images(n), SHAPE, 256, **options)


def points(task: str, time: float, n: int = N) -> tuple[Tensor, Tensor]:
    """Many points of one image, and that image."""
    one = path(task, 1)
    x = one.at(torch.full((n,), time), one.images.expand(n, -1), generator(task, time))
    return x, one.images[0]


def assert_normal(x: Tensor, mean: Tensor, scale: float) -> None:
    """Each column of (n, d) is normal with its own mean."""
    z = ((x - mean) / scale).double().numpy()
    worst = min(stats.kstest(column, "norm").pvalue for column in z.T)
    assert worst > 1e-3 / z.shape[1]


@pytest.mark.parametrize("time", [0.0, 0.3, 0.8])
def test_generation_shrinks_noise_and_lets_the_image_grow(time: float) -> None:
    x, image = points("generation", time)
    assert_normal(x, time * image, 1 - time)


@pytest.mark.parametrize("time", [0.0, 0.5, 0.9])
def test_the_diffusion_has_the_variance_of_its_integrated_rate(time: float) -> None:
    x, image = points("vp_diffusion", time)
    age = np.linspace(0, 1 - time, 100_001)
    kept = math.exp(-np.trapezoid(0.1 + 19.9 * age, age) / 2)
    assert_normal(x, kept * image, math.sqrt(1 - kept**2))


@pytest.mark.parametrize("time", [0.0, 0.9])
def test_the_torus_wraps_a_normal(time: float) -> None:
    x, image = points("torus", time)
    assert float(x.min()) >= -1
    assert float(x.max()) < 1
    # First harmonic of a wrapped normal: exp(-(pi s)^2 / 2) at the image's angle.
    harmonic = torch.exp(1j * math.pi * x).mean(0)
    exact = torch.exp(1j * math.pi * image / 2) * math.exp(-((math.pi * (1 - time)) ** 2) / 2)
    assert float((harmonic - exact).abs().max()) < 4.5 / math.sqrt(N)


def test_colours_leave_grey_along_lines() -> None:
    x, image = points("colorization", 0.25)
    red, green, blue = image.view(3, -1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    assert_normal(x[:, :SIZE], 0.75 * grey.repeat(3) + 0.25 * image, 0.75 * 0.1)
    torch.testing.assert_close(x[:, SIZE:], grey.expand(N, -1))


def test_superresolution_keeps_one_pixel_in_four_and_is_given_what_lies_between() -> None:
    x, image = points("superresolution", 0.4)
    picture, moving = image.view(SHAPE), torch.ones(SHAPE, dtype=torch.bool)
    moving[:, ::2, ::2] = False
    assert torch.equal(x[:, :SIZE].view(N, *SHAPE)[..., ::2, ::2], picture[:, ::2, ::2].expand(N, 3, 2, 3))
    assert_normal(x[:, :SIZE][:, moving.flatten()], 0.4 * image[moving.flatten()], 0.6)
    for channel, given in zip(picture, x[0, SIZE:].view(SHAPE), strict=True):
        small = Image.fromarray(channel[::2, ::2].numpy().copy())
        large = np.asarray(small.resize((6, 4), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(given, large, atol=1e-5)


def test_inpainting_noises_each_half_as_often() -> None:
    x, image = points("inpainting", 0.4)
    known = x[:, 2 * SIZE :].view(N, 1, *SHAPE[1:]).expand(N, *SHAPE).flatten(1) > 0
    assert torch.equal(x[:, :SIZE][known], image.expand(N, -1)[known])
    assert torch.equal(x[:, SIZE : 2 * SIZE], image * known)
    noise = ((x[:, :SIZE] - 0.4 * image) / 0.6)[~known]
    assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-3
    halves, counts = np.unique(known.numpy(), axis=0, return_counts=True)
    assert (halves.sum(1) == SIZE // 2).all()
    assert len(halves) == 4
    assert stats.chisquare(counts).pvalue > 1e-3


@every_task
def test_paths_end_in_images_and_in_each_of_them(task: str) -> None:
    whole = path(task)
    end = whole.sample(torch.ones(10), generator("end"))
    assert end.shape == (10, whole.dimension)
    found = whole.pictures(end)
    distance = torch.cdist(found, whole.images)
    assert float(distance.min(1).values.max()) < 1e-5
    assert torch.bincount(distance.argmin(1)).tolist() == [2] * 5


@every_task
def test_velocities_are_differences_of_what_is_drawn_alike(task: str) -> None:
    one, time, h = path(task), torch.linspace(0.05, 0.95, 200, dtype=torch.float64), 1e-6
    x, velocity = one.moving(time, generator("same"))
    early, late = (one.sample(time + shift, generator("same")) for shift in (-h, h))
    assert torch.equal(x, one.sample(time, generator("same")))
    whole = (late - early).abs() < 1  # the others went around the torus in between
    torch.testing.assert_close(velocity[whole], ((late - early) / (2 * h))[whole], rtol=1e-6, atol=1e-6)
    assert whole.double().mean() > 0.99
    assert float(velocity[:, :SIZE].abs().mean()) > 0.1


@pytest.mark.parametrize("task", CONDITIONAL)
def test_conditions_do_not_change_in_time(task: str) -> None:
    one = path(task)
    early, late = (one.at(torch.full((5,), t), one.images, generator("same")) for t in (0.1, 0.9))
    assert torch.equal(early[:, SIZE:], late[:, SIZE:])
    assert not torch.equal(early[:, :SIZE], late[:, :SIZE])


def guessed(task: str, n: int = 200) -> tuple[GuessedPath, Tensor, Tensor]:
    """A path, points of it, and guesses of their images as pictures."""
    one = path(task, n)
    assert isinstance(one, GuessedPath)
    x = one.at(torch.full((n,), 0.3), one.images, generator("guess"))
    return one, x, one.guess(x).view(n, *SHAPE)


def test_between_kept_pixels_the_guess_is_the_mean_of_their_neighbours() -> None:
    one, _, guess = guessed("superresolution")
    pictures = one.images.view(-1, *SHAPE)
    assert torch.equal(guess[..., ::2, ::2], pictures[..., ::2, ::2])
    torch.testing.assert_close(guess[..., 2, 3], (pictures[..., 2, 2] + pictures[..., 2, 4]) / 2)
    torch.testing.assert_close(guess[..., 1, 4], (pictures[..., 0, 4] + pictures[..., 2, 4]) / 2)
    corners = sum(pictures[..., row, column] for row in (0, 2) for column in (2, 4))
    torch.testing.assert_close(guess[..., 1, 3], corners / 4)
    torch.testing.assert_close(guess[..., 3, 5], pictures[..., 2, 4])  # nothing lies beyond


def test_beside_half_an_image_the_guess_repeats_its_edge() -> None:
    one, x, guess = guessed("inpainting")
    pictures, known = one.images.view(-1, *SHAPE), x[:, 2 * SIZE :].view(-1, *SHAPE[1:])
    seen = set()
    for picture, mask, filled in zip(pictures, known, guess, strict=True):
        rows = range(SHAPE[1]) if mask.any(1).all() else [r for r in range(SHAPE[1]) if mask[r].any()]
        columns = range(SHAPE[2]) if mask.any(0).all() else [c for c in range(SHAPE[2]) if mask[:, c].any()]
        seen.add((rows[0], rows[-1], columns[0], columns[-1]))
        for row in range(SHAPE[1]):
            for column in range(SHAPE[2]):
                nearest = min(max(row, rows[0]), rows[-1]), min(max(column, columns[0]), columns[-1])
                assert torch.equal(filled[:, row, column], picture[:, nearest[0], nearest[1]])
    assert len(seen) == 4


def test_grey_is_the_guess_of_colours() -> None:
    one, _, guess = guessed("colorization")
    grey = torch.einsum("nchw,c->nhw", one.images.view(-1, *SHAPE), torch.tensor([0.299, 0.587, 0.114]))
    torch.testing.assert_close(guess, grey[:, None].expand_as(guess))


def test_a_condition_can_be_shown_as_it_is_given() -> None:
    one, x, guess = guessed("superresolution")
    shown = one.from_condition(x, guessed=False)
    assert torch.equal(shown[:, :SIZE], x[:, SIZE:])
    assert torch.equal(shown[:, SIZE:], x[:, SIZE:])
    assert torch.equal(one.from_condition(x), torch.cat([guess.flatten(1), x[:, SIZE:]], 1))
    one, x, _ = guessed("inpainting")
    assert torch.equal(one.from_condition(x, guessed=False)[:, :SIZE], x[:, SIZE : 2 * SIZE])
    one, x, grey = guessed("colorization")
    assert torch.equal(one.from_condition(x, guessed=False)[:, :SIZE], grey.flatten(1))


@pytest.mark.parametrize("task", CONDITIONAL)
def test_pixels_are_free_where_they_move(task: str) -> None:
    one, x, _ = guessed(task)
    early = one.at(torch.zeros(len(x)), one.images, generator("guess"))
    moved = (early - x)[:, :SIZE] != 0
    assert torch.equal(moved, one.free(x).expand(len(x), -1) > 0)
    torch.testing.assert_close(one.guess(early), one.guess(x))


def test_dequantised_levels_fill_the_gaps_between_them() -> None:
    levels = 4
    middle = (2 * torch.arange(levels).repeat_interleave(SIZE // levels) + 1) / levels - 1
    path = Generation(middle[None], SHAPE, levels, dequantise=True)
    x = path.sample(torch.ones(N), generator("levels")).flatten().numpy()
    assert stats.kstest(x, stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_half_of_the_images_are_mirrored() -> None:
    plain, flipping = path("generation", 1), path("generation", 1, flip=True)
    x = flipping.sample(torch.ones(N), generator("flip"))
    mirrored = plain.images.view(SHAPE).flip(-1).flatten()
    same = (x == plain.images[0]).all(1)
    assert bool(((x == mirrored).all(1) ^ same).all())
    assert stats.binomtest(int(same.sum()), N).pvalue > 1e-3


def test_both_ends_are_drawn_afresh() -> None:
    ends = ImageEnds(path("generation", 3))
    first, second = (ends.draw(0, N, generator(name)) for name in "ab")
    assert not bool((first == second).any())
    assert stats.kstest(first.flatten().numpy(), "norm").pvalue > 1e-3
    assert len(torch.unique(ends.draw(1, 30, generator("c")), dim=0)) == 3


def test_circles_have_no_end() -> None:
    torus = path("torus")
    assert isinstance(torus, Torus)
    x = CirclePoints(torus).sample(torch.full((50,), 0.5), generator("circle"))
    cos, sin = x.chunk(2, 1)
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones(50, SIZE))
    torch.testing.assert_close(
        torch.atan2(sin, cos) / math.pi, torus.sample(torch.full((50,), 0.5), generator("circle"))
    )
