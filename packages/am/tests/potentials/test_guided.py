"""Actions centred on a guess: derivatives, pixels that stay, lines to the guess, and the loss in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from am.config import parse
from am.dynamics.ode import integrate
from am.dynamics.settings import OdeSettings
from am.marginals.images import PATHS, GuessedPath, ImagePath
from am.objectives.action_matching import action_matching
from am.objectives.path import WEIGHTS, draw_moving
from am.potentials.build import ConditionalPotential, build_potential
from am.potentials.potential import Potential
from am.potentials.settings import PotentialSettings
from am.randomness import generator

SHAPE = (3, 8, 8)
SIZE = math.prod(SHAPE)
every_task = pytest.mark.parametrize("task", ["colorization", "superresolution", "inpainting"])
either = pytest.mark.parametrize("quadratic", [False, True], ids=["sees-x", "quadratic"])


def path(task: str) -> ImagePath:
    images = 2 * torch.rand(20, SIZE, generator=generator("images"), dtype=torch.float64) - 1
    return PATHS[task](images, SHAPE, 256)


def action(task: str, quadratic: bool, trained: bool = True, **settings: object) -> Potential:
    torch.manual_seed(0)
    convolution = {"channels": 8, "depth": 2, "quadratic": quadratic, **settings}
    options = parse(PotentialSettings, {"kind": "guided", "convolution": convolution}, "test")
    potential = build_potential(options, path(task), generator("build")).double()
    if trained:
        with torch.no_grad():
            for parameter in potential.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return potential


def points(task: str, n: int = 4) -> tuple[Tensor, Tensor]:
    time = torch.linspace(0.1, 0.9, n, dtype=torch.float64)
    return time, path(task).sample(time, generator("points"))


@either
@every_task
def test_derivatives_match_finite_differences_where_pixels_are_free(task: str, quadratic: bool) -> None:
    potential, (time, x) = action(task, quadratic), points(task)
    value, ds_dt, ds_dx = potential.derivatives(time, x)
    torch.testing.assert_close(value, potential(time, x))
    torch.testing.assert_close(potential.space(time, x), ds_dx)
    layout = path(task)
    assert isinstance(layout, GuessedPath)
    direction = torch.randn(x.shape, generator=generator("directions"), dtype=torch.float64)
    direction[:, :SIZE] *= layout.free(x)
    direction[:, SIZE:] = 0
    h = 1e-5
    slope = (potential(time, x + h * direction) - potential(time, x - h * direction)) / (2 * h)
    torch.testing.assert_close((ds_dx * direction).sum(1), slope, rtol=1e-6, atol=1e-6)
    slope = (potential(time + h, x) - potential(time - h, x)) / (2 * h)
    torch.testing.assert_close(ds_dt, slope, rtol=1e-6, atol=1e-6)


@either
@every_task
def test_known_pixels_and_conditions_do_not_move(task: str, quadratic: bool) -> None:
    potential, (time, x) = action(task, quadratic), points(task)
    layout = path(task)
    assert isinstance(layout, GuessedPath)
    gradient = potential.gradient(time, x)
    assert not gradient.requires_grad
    free = torch.cat([layout.free(x).expand(len(x), -1), torch.zeros_like(x[:, SIZE:])], 1) > 0
    assert float(gradient[~free].abs().max()) == 0
    assert float((gradient[free] == 0).double().mean()) < 0.01


@either
@every_task
def test_untrained_particles_end_at_the_guess(task: str, quadratic: bool) -> None:
    potential, layout = action(task, quadratic, trained=False), path(task)
    assert isinstance(layout, GuessedPath)
    start = layout.sample(torch.zeros(5, dtype=torch.float64), generator("start"))
    end = integrate(potential.gradient, start, torch.tensor([0.0, 1.0]), OdeSettings()).x[-1]
    missed = (end[:, :SIZE] - layout.guess(start)).abs()
    assert float(missed.max()) < 0.01 * float((start[:, :SIZE] - layout.guess(start)).abs().max())
    assert float((start[:, :SIZE] - layout.guess(start)).abs().max()) > 0.1


@either
@every_task
def test_with_velocities_and_the_square_weight_the_loss_is_the_error_of_the_image(task: str, quadratic: bool) -> None:
    potential = action(task, quadratic)
    time = torch.linspace(0.0, 0.95, 6, dtype=torch.float64)
    sample = draw_moving(path(task), time, generator("loss"))  # type: ignore[arg-type]
    loss, _ = action_matching(potential, sample, WEIGHTS["decreasing_squared"])
    assert sample.velocity is not None
    left = (1 - time)[:, None]
    image = sample.x + left * sample.velocity
    estimate = sample.x + left * potential.space(time, sample.x)
    error = (estimate - image).square().sum(1).mean() / 2
    constant = (left * sample.velocity).square().sum(1).mean() / 2
    torch.testing.assert_close(loss + constant, error)


def test_a_quadratic_action_ends_all_particles_of_a_condition_at_one_estimate() -> None:
    time = torch.zeros(2, dtype=torch.float64)
    start = path("superresolution").sample(time, generator("start"))
    alike = start[:1].repeat(2, 1)
    free = path("superresolution").free(alike)[0] > 0  # type: ignore[attr-defined]
    alike[1, :SIZE][free] = start[1, :SIZE][free]
    for quadratic, same in ((True, True), (False, False)):
        potential = action("superresolution", quadratic)
        one, other = integrate(potential.gradient, alike, torch.tensor([0.0, 1.0]), OdeSettings()).x[-1]
        assert (float((one - other).abs().max()) < 0.05) == same


@pytest.mark.parametrize("task", ["generation", "torus"])
def test_where_nothing_is_given_there_is_no_guess(task: str) -> None:
    with pytest.raises(ValueError, match="conditioned on nothing"):
        action(task, quadratic=False)


def test_images_must_fold() -> None:
    with pytest.raises(ValueError, match="8 x 8 pixels do not fold by 3 x 3"):
        action("colorization", quadratic=False, fold=3)


def test_the_scale_is_that_of_free_pixels() -> None:
    potential = action("superresolution", quadratic=False)
    assert isinstance(potential, ConditionalPotential)
    layout = path("superresolution")
    assert isinstance(layout, GuessedPath)
    ends = layout.sample(torch.ones(20, dtype=torch.float64), generator("ends"))
    free = layout.free(ends)[0] > 0
    error = (ends[:, :SIZE] - layout.guess(ends))[:, free].square().mean().sqrt()
    torch.testing.assert_close(potential.potential.error, error, rtol=0.05, atol=0)  # type: ignore[arg-type]
