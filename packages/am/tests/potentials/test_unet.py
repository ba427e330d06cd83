"""Actions of images: derivatives by finite differences, conditions that do not move, circles without ends."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from am.config import ConfigError, parse
from am.marginals.gaussian import Gaussian
from am.marginals.images import PATHS, ImagePath
from am.objectives.action_matching import action_matching
from am.objectives.path import draw_path
from am.potentials.build import build_potential
from am.potentials.potential import Potential
from am.potentials.settings import PotentialSettings, UNetSettings, VelocitySettings
from am.potentials.velocity import build_velocity
from am.randomness import generator

SHAPE = (3, 8, 8)
SIZE = math.prod(SHAPE)
UNET = {"channels": 64, "multipliers": [1, 1], "blocks": 1, "attention": [4]}


def path(task: str) -> ImagePath:
    images = 2 * torch.rand(20, SIZE, generator=generator("images")) - 1
    return PATHS[task](images, SHAPE, 256)


def action(task: str, **settings: object) -> Potential:
    torch.manual_seed(0)
    options = parse(PotentialSettings, {"kind": "unet", "unet": UNET, **settings}, "test")
    potential = build_potential(options, path(task), generator("build"))
    with torch.no_grad():
        for parameter in potential.parameters():  # what starts at zero would hide mistakes
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return potential


def points(task: str, n: int = 4) -> tuple[Tensor, Tensor]:
    time = torch.linspace(0.1, 0.9, n)
    return time, path(task).sample(time, generator("points"))


def along(potential: Potential, time: Tensor, x: Tensor, step_time: Tensor, step_x: Tensor, h: float) -> Tensor:
    ahead = potential(time + h * step_time, x + h * step_x)
    return ((ahead - potential(time - h * step_time, x - h * step_x)) / (2 * h)).detach()


def moving(task: str, x: Tensor) -> Tensor:
    """Random directions in which a particle may move."""
    directions = torch.randn(x.shape, generator=generator("directions"))
    directions[:, SIZE:] = 0
    return directions / directions.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("task", ["generation", "colorization", "torus"])
@pytest.mark.parametrize("kind", ["unet", "patches", "scaled"])
def test_derivatives_match_finite_differences(task: str, kind: str) -> None:
    potential, (time, x) = action(task, kind=kind), points(task)
    value, ds_dt, ds_dx = potential.derivatives(time, x)
    torch.testing.assert_close(value, potential(time, x))
    direction = moving(task, x)
    still, ahead = torch.zeros_like(time), torch.ones_like(time)
    slope = along(potential, time, x, still, direction, 1e-2)
    torch.testing.assert_close((ds_dx * direction).sum(1).detach(), slope, rtol=1e-2, atol=1e-2 * float(slope.std()))
    assert float(ds_dt.detach().abs().min()) > 0.01
    slope = along(potential, time, x, ahead, torch.zeros_like(x), 1e-2)
    torch.testing.assert_close(ds_dt.detach(), slope, rtol=1e-2, atol=1e-2 * float(slope.std()))


def test_the_loss_can_be_differentiated_in_the_weights() -> None:
    """Along a random direction of weights, against finite differences."""
    potential = action("generation")
    sample = draw_path(path("generation"), torch.linspace(0, 1, 8), 8, generator("loss"))
    parameters = list(potential.parameters())
    gradient = torch.autograd.grad(action_matching(potential, sample)[0], parameters)
    direction = [torch.randn(p.shape, generator=generator("weights", i)) for i, p in enumerate(parameters)]
    expected = float(sum((g * d).sum() for g, d in zip(gradient, direction, strict=True)))

    def loss_at(h: float) -> float:
        moved = deepcopy(potential)
        with torch.no_grad():
            torch._foreach_add_(list(moved.parameters()), direction, alpha=h)
        return float(action_matching(moved, sample)[0].detach())

    assert (loss_at(1e-3) - loss_at(-1e-3)) / 2e-3 == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("task", ["colorization", "superresolution", "inpainting"])
def test_conditions_are_seen_and_do_not_move(task: str) -> None:
    potential, (time, x) = action(task), points(task)
    gradient = potential.gradient(time, x)
    assert float(gradient[:, SIZE:].abs().max()) == 0
    other = x.clone()
    other[:, SIZE:] += 0.5
    assert not torch.allclose(gradient, potential.gradient(time, other))


@pytest.mark.parametrize("kind", ["unet", "patches", "scaled", "residual"])
def test_a_turn_around_the_torus_changes_nothing(kind: str) -> None:
    potential, (time, x) = action("torus", kind=kind), points("torus")
    turned = x + 2 * torch.randint(-1, 2, x.shape, generator=generator("turns"))
    for here, there in zip(potential.derivatives(time, x), potential.derivatives(time, turned), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-3)


def test_an_untrained_action_is_zero() -> None:
    settings = parse(PotentialSettings, {"kind": "unet", "unet": UNET}, "test")
    time, x = points("generation")
    untrained = build_potential(settings, path("generation"), generator("build"))
    assert not bool(untrained(time, x).any())


@pytest.mark.parametrize(
    ("build", "settings"), [(build_potential, PotentialSettings), (build_velocity, VelocitySettings)]
)
def test_a_unet_wants_images(build: object, settings: type) -> None:
    plain = Gaussian(lambda t: torch.zeros(len(t), 4), lambda t: torch.ones(len(t), 4))
    with pytest.raises(ValueError, match="these points are none"):
        build(settings(kind="unet"), plain, generator("build"))  # type: ignore[operator]


def test_a_unet_wants_sides_that_can_be_halved() -> None:
    with pytest.raises(ValueError, match="8 x 8 pixels cannot be halved 4 times"):
        action("generation", unet={**UNET, "multipliers": [1, 1, 1, 1, 1]})


@pytest.mark.parametrize("channels", [32, 80])
def test_channels_come_in_groups(channels: int) -> None:
    with pytest.raises(ConfigError, match=f"32 groups of two channels or more, got {channels}"):
        parse(UNetSettings, {"channels": channels}, "test")


@pytest.mark.parametrize("task", ["generation", "superresolution"])
def test_patches_are_told_apart_and_are_all_the_same(task: str) -> None:
    """Patches that change places take their gradients along; those of other patches stay."""
    potential, (time, x) = action(task, kind="patches"), points(task)
    picture = x.view(len(x), -1, 8, 8)
    gradient = potential.gradient(time, x).view_as(picture)
    moved = potential.gradient(time, picture.roll(4, -1).flatten(1)).view_as(picture)
    torch.testing.assert_close(moved, gradient.roll(4, -1))
    picture = picture.clone()
    picture[..., :4, :4] += 1
    changed = potential.gradient(time, picture.flatten(1)).view_as(picture)
    same = torch.isclose(changed, gradient, rtol=1e-5, atol=1e-6).flatten(0, 1).all(0)
    expected = torch.ones(8, 8, dtype=torch.bool)
    expected[:4, :4] = False
    assert bool(same[expected].all())
    assert not bool((changed - gradient)[:, :3, :4, :4].abs().max() < 1e-4)


@pytest.mark.parametrize(("patch", "expected"), [(3, "8 x 8 pixels do not divide into patches of 3 x 3")])
def test_patches_must_fit(patch: int, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        action("generation", kind="patches", patch=patch)
