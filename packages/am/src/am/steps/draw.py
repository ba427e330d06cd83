"""Draw the figures of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from am.config import ConfigError, nearest
from am.experiments import ResolvedExperiment
from am.io.provenance import Origin, origin
from am.io.samples import Samples, read_samples
from am.io.snapshots import read_snapshots
from am.io.tidy import blocks_beside, read_blocks, read_history, read_losses, read_metrics
from am.metrics.settings import DistanceSettings
from am.report.figures.animation import animation
from am.report.figures.bars import bars
from am.report.figures.grid import grid
from am.report.figures.growth import growth
from am.report.figures.histograms import histograms
from am.report.figures.image_rows import image_rows
from am.report.figures.method_ranks import method_ranks
from am.report.figures.metric_over_iterations import metric_over_iterations
from am.report.figures.metric_over_time import metric_over_time
from am.report.figures.saving import save_animation, save_figure
from am.report.figures.training_losses import training_losses
from am.report.figures.trajectories import trajectories
from am.report.measured import Measured
from am.report.pairs import compare_pairs
from am.report.ranks import ranks
from am.report.tables import summarise, summarise_times
from am.runs import step_digest
from am.steps.recorded import require

PANELS, FOLLOWED = 12, 3
"""Images in a row of panels, and those that are followed through time."""
Draw = Callable[[ResolvedExperiment, Sequence[Path], Sequence[Path], Origin], None]


def draw(figure: str, experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path]) -> None:
    """Draw one figure into each of ``out``, by suffix (PDF, PNG; GIF for the animation).

    Parameters
    ----------
    figure
        A key of :data:`FIGURES`.
    inputs
        Results to show, told apart by their names and the folders that they lie in.

    Raises
    ------
    ConfigError
        There is no such figure, it is not written in such a file, or an input is missing or is of no run.
    ProvenanceError
        An input is not as recorded, or one that the experiment does not ask for.
    """
    _check(figure, out)
    require(experiment, _read(figure, inputs))
    shown = ("labels", "published") if figure == "bars" else ("labels",)
    made_of = origin(_read(figure, inputs), step_digest("draw"), ["draw"], [experiment.asked(*shown)])
    FIGURES[figure](experiment, inputs, out, made_of)


def _read(figure: str, inputs: Sequence[Path]) -> list[Path]:
    return [*inputs, *(blocks_beside(_metrics(inputs)) if figure in _OVER_CELLS else ())]


def _check(figure: str, out: Sequence[Path]) -> None:
    if figure not in FIGURES:
        raise ConfigError(f"there is no figure '{figure}'; {nearest(figure, FIGURES)}")
    suffixes = (".gif",) if figure == "animation" else (".pdf", ".png")
    for path in out:
        if path.suffix not in suffixes:
            raise ConfigError(f"{path}: the figure '{figure}' is written as {' or '.join(suffixes)}")


def _iterations(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    metric = experiment.data.evaluation.metrics[0]
    figure = metric_over_iterations(
        read_history(_named("history.csv", inputs)),
        read_metrics(_named("floor.csv", inputs)),
        experiment.labels(),
        metric.label,
        metric.axis,
        read_metrics(_metrics(inputs)),
    )
    for path in out:
        save_figure(figure, path, made_of)


def draw_times(experiment: ResolvedExperiment, measured: Measured, out: Sequence[Path]) -> None:
    """The figure ``times`` of results that were checked."""
    made_of = origin(measured.files, step_digest("draw"), ["draw"], [experiment.asked("labels")])
    _over_times(experiment, measured.metrics, measured.floor, out, made_of)


def _times(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    metrics, floor = (read_metrics(_named(name, inputs)) for name in ("metrics.csv", "floor.csv"))
    _over_times(experiment, metrics, floor, out, made_of)


def _over_times(
    experiment: ResolvedExperiment, metrics: pd.DataFrame, floor: pd.DataFrame, out: Sequence[Path], made_of: Origin
) -> None:
    metric = experiment.data.evaluation.metrics[0]
    figure = metric_over_time(metrics, floor, experiment.labels(), metric.label, metric.axis)
    for path in out:
        save_figure(figure, path, made_of)


def _bars(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    evaluation, labels = experiment.data.evaluation, experiment.labels()
    metrics, blocks, distances = _distances(experiment, inputs)
    floor = read_metrics(_named("floor.csv", inputs))
    summary, over_time = (
        table(
            experiment.name,
            metrics,
            floor,
            labels,
            blocks=blocks,
            higher=evaluation.higher,
            positive=evaluation.positive,
        )
        for table in (summarise, summarise_times)
    )
    comparable = [one for one in experiment.published if not one.scale or experiment.scale in one.scale]
    figure = bars(summary, over_time, labels, [*distances.items()], _shown(evaluation.times), comparable)
    for path in out:
        save_figure(figure, path, made_of)


def _ranks(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    labels, higher = experiment.labels(), experiment.data.evaluation.higher
    metrics, blocks, distances = _distances(experiment, inputs)
    pairs = compare_pairs(experiment.name, metrics, labels, blocks, higher)
    if pairs.empty:
        raise ConfigError("the figure 'ranks' needs two methods that were run, controls not counted")
    found = {
        name: tuple(
            ranks(pairs[pairs["metric"] == name], "higher" if name in higher else "lower", told)
            for told in ("nearer", "ranked")
        )
        for name in distances
    }
    figure = method_ranks({name: (each, both) for name, (each, both) in found.items()}, labels, distances)
    for path in out:
        save_figure(figure, path, made_of)


def _losses(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    files = _named("training.csv", inputs)
    frames = [read_losses(path).assign(method=_run(path, experiment), seed=_seed(path)) for path in files]
    figure = training_losses(pd.concat(frames, ignore_index=True), experiment.labels())
    for path in out:
        save_figure(figure, path, made_of)


def _histograms(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    truth, models = _clouds(experiment, inputs)
    dataset = experiment.data.build_dataset()
    figure = histograms(truth, models, _shown(experiment.data.evaluation.times), dataset.columns, dataset.unit)
    for path in out:
        save_figure(figure, path, made_of)


def _animation(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    truth, models = _clouds(experiment, inputs)
    dataset = experiment.data.build_dataset()
    frames = animation(truth, models, dataset.columns, dataset.unit)
    for path in out:
        save_animation(frames, 500, path, made_of)


def _grid(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    shape, _, truth, models = _pictures(experiment, inputs, "grid")
    last = experiment.data.evaluation.times[-1]
    blocks = [(title, samples.at(last)[0]) for title, samples in [("truth", truth), *models]]
    figure = grid(blocks, shape)
    for path in out:
        save_figure(figure, path, made_of)


def _panels(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    shape, start, truth, models = _pictures(experiment, inputs, "panels")
    last = experiment.data.evaluation.times[-1]
    rows = [(title, samples.at(last)[0][:PANELS]) for title, samples in [*models, ("truth", truth)]]
    figure = image_rows([("input", start[:PANELS]), *rows], shape)
    for path in out:
        save_figure(figure, path, made_of)


def _paths(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    shape, start, _, models = _pictures(experiment, inputs, "paths")
    moments = experiment.data.evaluation.moments
    rows = [
        (f"{title}, {i + 1}", np.stack([start[i], *(samples.at(time)[0][i] for time in moments)]))
        for title, samples in models
        for i in range(min(FOLLOWED, len(start)))
    ]
    figure = image_rows(rows, shape, [f"t = {time:g}" for time in (0.0, *moments)])
    for path in out:
        save_figure(figure, path, made_of)


def _pictures(
    experiment: ResolvedExperiment, inputs: Sequence[Path], figure: str
) -> tuple[tuple[int, int, int], NDArray[np.float32], Samples, list[tuple[str, Samples]]]:
    """Shape of images, points that particles start from, the truth, and what methods make of them."""
    shape = experiment.data.build_dataset().image_shape
    if shape is None:
        raise ConfigError(f"the figure '{figure}' shows images, and '{experiment.data.dataset['name']}' has none")
    truth, models = _clouds(experiment, inputs)
    return shape, read_snapshots(_named("data.h5ad", inputs)[0]).test(experiment.seeds[0], 0.0), truth, models


def _trajectories(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    evaluation = experiment.data.evaluation
    dataset = experiment.data.build_dataset()
    truth, models = _clouds(experiment, inputs)
    points = read_snapshots(_named("data.h5ad", inputs)[0])
    legs = [
        (points.test(experiment.seeds[0], start)[: evaluation.n_samples], start, times)
        for start, times in evaluation.legs(dataset.observed)
    ]
    # Particles start where there may be no prediction, and the same snapshot is not drawn twice.
    others = [(x, start) for x, start, _ in legs if not np.isclose(start, evaluation.times, rtol=0, atol=1e-9).any()]
    underneath = Samples(
        np.concatenate([*(x for x, _ in others), truth.x]),
        np.concatenate([*(np.full(len(x), start) for x, start in others), truth.time]),
    )
    lines = [
        (
            title,
            [
                (np.array([start, *times]), np.stack([x, *(samples.at(time)[0] for time in times)]))
                for x, start, times in legs
            ],
        )
        for title, samples in models
    ]
    figure = trajectories(underneath, lines, dataset.columns, dataset.unit)
    for path in out:
        save_figure(figure, path, made_of)


def _growth(experiment: ResolvedExperiment, inputs: Sequence[Path], out: Sequence[Path], made_of: Origin) -> None:
    dataset, times = experiment.data.build_dataset(), _shown(experiment.data.evaluation.times)
    truth, models = _clouds(experiment, inputs)
    points = [(time, truth.at(time)[0]) for time in times]
    rates = []
    if dataset.fields_known and hasattr(known := dataset.truth(), "growth"):
        import torch

        exact = [known.growth(torch.full((len(x),), time), torch.from_numpy(x)).numpy() for time, x in points]
        rates.append(("truth", exact))
    for title, samples in models:
        told = [rate for time in times if (rate := samples.fields_at(time)[1]) is not None]
        if told:
            rates.append((title, told))
    if not rates:
        raise ConfigError("the figure 'growth' needs a run that tells a growth rate")
    figure = growth(points, rates, dataset.columns, dataset.unit)
    for path in out:
        save_figure(figure, path, made_of)


def _clouds(experiment: ResolvedExperiment, inputs: Sequence[Path]) -> tuple[Samples, list[tuple[str, Samples]]]:
    """The truth of the first seed, and what each method predicts with that seed, by title."""
    points = read_snapshots(_named("data.h5ad", inputs)[0])
    chosen = (points.split == "test") & (points.seed == experiment.seeds[0])
    # Points at other times only start particles.
    chosen &= np.isclose(points.time[:, None], experiment.data.evaluation.times, rtol=0, atol=1e-9).any(1)
    truth = Samples(points.x[chosen], points.time[chosen])
    titles = {label.method: label.title for label in experiment.labels()}
    files = _named("samples.npz", inputs)
    models = [(titles[_run(path, experiment)], read_samples(path)) for path in files]
    return truth, models


def _distances(
    experiment: ResolvedExperiment, inputs: Sequence[Path]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Rows of distances in ``metrics.csv`` and ``blocks.csv``, and what each of them is, by name."""
    metrics, blocks = read_metrics(_named("metrics.csv", inputs)), read_blocks(blocks_beside(_metrics(inputs)))
    distances = {one.label: one.axis for one in experiment.data.evaluation.metrics if isinstance(one, DistanceSettings)}
    there = set(metrics["metric"])
    distances = {name: quantity for name, quantity in distances.items() if name in there}
    return metrics[metrics["metric"].isin(list(distances))], blocks, distances


def _shown(times: Sequence[float]) -> list[float]:
    """At most five of the times."""
    return [times[round(i * (len(times) - 1) / 4)] for i in range(5)] if len(times) > 5 else list(times)


def _metrics(inputs: Sequence[Path]) -> list[Path]:
    return [path for path in inputs if path.name == "metrics.csv"]


def _named(name: str, paths: Sequence[Path]) -> list[Path]:
    found = [path for path in paths if path.name == name]
    if not found:
        raise ConfigError(f"the figure needs a {name} among its inputs")
    return found


def _run(path: Path, experiment: ResolvedExperiment) -> str:
    name = path.parent.parent.name
    if name not in experiment.contestants:
        suggestion = nearest(name, experiment.contestants)
        raise ConfigError(f"{path}: must lie in <run>/seed<number>/; there is no run '{name}'; {suggestion}")
    return name


def _seed(path: Path) -> int:
    number = path.parent.name.removeprefix("seed")
    if not number.isdecimal():
        raise ConfigError(f"{path}: must lie in <run>/seed<number>/, not in {path.parent.name}/")
    return int(number)


FIGURES: Mapping[str, Draw] = {
    "iterations": _iterations,
    "times": _times,
    "bars": _bars,
    "ranks": _ranks,
    "losses": _losses,
    "histograms": _histograms,
    "animation": _animation,
    "grid": _grid,
    "panels": _panels,
    "paths": _paths,
    "trajectories": _trajectories,
    "growth": _growth,
}
"""Figures by name."""
_OVER_CELLS = ("bars", "ranks")
"""Those whose intervals hold the luck of cells too, which ``blocks.csv`` beside ``metrics.csv`` tells."""
