"""Measure predictions against the truth: ``metrics.csv``, ``floor.csv`` and ``history.csv``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from am.io.provenance import write_origin
from am.io.raw import find_raw
from am.io.samples import Samples, read_samples
from am.io.snapshots import DataError, Snapshots, read_snapshots
from am.io.tidy import BLOCK_COLUMNS, BLOCKS, DRAW_COLUMNS, FLOOR, HISTORY_COLUMNS, METRIC_COLUMNS, write_tidy
from am.metrics.bits import bits_per_dim
from am.metrics.evaluate import evaluate as measure
from am.metrics.evaluate import evaluate_pairs, evaluate_pictures
from am.metrics.fields import correlation, mass_error, mean_cosine, relative_error, sample_size_lost
from am.metrics.settings import (
    BitsPerDim,
    BitsPerDimError,
    FieldSettings,
    GrowthCorrelation,
    GrowthError,
    Incompressible,
    LikelihoodSettings,
    MassError,
    MedianBitsPerDim,
    MetricSettings,
    OfOneTime,
    PairedSettings,
    PictureSettings,
    SampleSizeLost,
    VelocityCosine,
    VelocityError,
)
from am.metrics.viewer import Viewer
from am.randomness import generator
from am.runs import DataConfig, Evaluation, read_data_config, read_run
from am.steps.sample import Sampler, choose_device, flat, snapshots

if TYPE_CHECKING:
    from am.marginals.marginals import Marginals

T = TypeVar("T")


def evaluate(config: Path, data: Path, samples: Path, out: Path, method: str, seed: int) -> None:
    """Every metric at every time, between ``samples`` and the test points of the seed, into ``out``.

    Distances are means over the draws that there are of the particles; ``draws.csv`` beside it holds each by itself,
    and no rows where particles were drawn once.

    ``blocks.csv`` beside it says how much the points themselves matter where all seeds share them: it holds the same
    without a tenth of particles and points, ten times. It has no rows where each seed has its own, or there are few.
    """
    plan = read_data_config(config)
    networks = [find_raw(*file) for file in plan.evaluation.files]
    truth, predicted = read_snapshots(data), read_samples(samples)
    metrics, n = plan.evaluation.metrics, plan.evaluation.n_samples
    viewer = Viewer(plan.build_dataset(str(config)), find_raw)
    fixed = {"experiment": plan.experiment, "method": method, "seed": seed}
    by_draw = [[*_against_truth(plan.evaluation, metrics, one, truth, seed, n, viewer)] for one in predicted.draws]
    rows = [same[0] | {"value": fmean(row["value"] for row in same)} for same in zip(*by_draw, strict=True)]
    rows += _of_fields(plan, predicted, truth, seed)
    rows += _of_likelihood(plan, predicted)
    _write((fixed | row for row in rows), METRIC_COLUMNS, out)
    shared = plan.build_dataset(str(config)).shared_test_points and n > BLOCKS
    parts = (
        fixed | row | {"block": block}
        for block in range(BLOCKS * shared)
        for row in _against_truth(plan.evaluation, metrics, predicted, truth, seed, n, viewer, block)
    )
    blocks, draws = out.with_name("blocks.csv"), out.with_name("draws.csv")
    _write(parts, BLOCK_COLUMNS, blocks)
    several = enumerate(by_draw if len(by_draw) > 1 else [])
    _write((fixed | row | {"draw": draw} for draw, of_draw in several for row in of_draw), DRAW_COLUMNS, draws)
    code = ["evaluate", f"am.datasets.{plan.dataset['name']}"]
    made_of = plan.origin(code, [data, samples, *networks], config, "times", "n_samples", "metrics")
    for file in (out, blocks, draws):
        write_origin(file, made_of)


def floor(config: Path, out: Path) -> None:
    """The same metrics between independent samples of the truth; the leading one for the size of histories too."""
    plan = read_data_config(config)
    truth, evaluation = plan.build_dataset(str(config)).population(), plan.evaluation
    networks = [find_raw(*file) for file in evaluation.files]
    viewer = Viewer(plan.build_dataset(str(config)), find_raw)
    rows: list[dict[str, Any]] = []
    for n in sorted({evaluation.n_samples, evaluation.history_samples}):
        metrics = evaluation.metrics if n == evaluation.n_samples else evaluation.metrics[:1]
        for repeat in range(evaluation.floor_repeats):
            for time in evaluation.times:
                rng = generator(plan.experiment, FLOOR, n, repeat, time)
                x, y = truth.sample(torch.full((2 * n,), time), rng).chunk(2)
                for metric in metrics:
                    if isinstance(metric, PairedSettings | LikelihoodSettings | FieldSettings):
                        continue
                    if isinstance(metric, PictureSettings):
                        fresh = viewer.fresh[torch.randperm(len(viewer.fresh), generator=rng)[:n]]
                        if len(fresh) < min(n, metric.max_points or n):
                            continue
                        value = evaluate_pictures(metric, fresh, viewer)
                    else:
                        value = measure(metric, x, y, _directions(metric, time), None, viewer)
                    rows.append(_row(time, metric, value, n) | {"seed": repeat})
    _write(({"experiment": plan.experiment, "method": FLOOR, **row} for row in rows), METRIC_COLUMNS, out)
    keys = ("times", "n_samples", "metrics", "history_samples", "floor_repeats")
    write_origin(out, plan.origin(["evaluate", f"am.datasets.{plan.dataset['name']}"], networks, config, *keys))


def history(config: Path, run_config: Path, data: Path, weights: Path, out: Path, seed: int, device: str) -> None:
    """The leading metric, averaged over times, with averaged weights that were kept along training."""
    plan, run = read_data_config(config), read_run(run_config)
    evaluation, truth = plan.evaluation, read_snapshots(data)
    sampler = Sampler(run, data, seed, choose_device(device), str(run_config))
    metric, n = evaluation.metrics[0], evaluation.history_samples
    viewer = Viewer(plan.build_dataset(str(config)), find_raw)
    rows: list[dict[str, Any]] = []
    for step, tensors in _evenly(list(snapshots(weights)), evaluation.history_milestones):
        sampler.load(tensors, str(weights))
        predicted = flat(sampler.predict(n), run.sampling.moments)
        rows_of_step = _against_truth(evaluation, [metric], predicted, truth, seed, n, viewer)
        values = [row["value"] for row in rows_of_step]
        rows.append({"iteration": step, "value": sum(values) / len(values)})
    fixed = {"experiment": plan.experiment, "method": run.run, "seed": seed, "metric": metric.label}
    fixed["n_samples"] = min(n, metric.max_points or n)
    _write(({**fixed, **row} for row in rows), HISTORY_COLUMNS, out)
    code = ["evaluate", f"am.datasets.{plan.dataset['name']}", f"am.methods.{run.method}"]
    made_of = plan.origin(code, [data, weights], config, "times", "metrics", "history_samples", "history_milestones")
    made_of["settings"].append(run.asked(run_config))
    write_origin(out, made_of)


def _evenly(all_: Sequence[T], count: int) -> list[T]:
    """So many of them, evenly spaced, the last among them; all where there are fewer."""
    n = len(all_)
    return [all_[round(n * (i + 1) / count) - 1] for i in range(count)] if count < n else list(all_)


def _against_truth(
    evaluation: Evaluation,
    metrics: Iterable[MetricSettings],
    predicted: Samples,
    truth: Snapshots,
    seed: int,
    n: int,
    viewer: Viewer,
    without: int | None = None,
) -> Iterable[dict[str, Any]]:
    for time in evaluation.times:
        (x, log_weight), y = predicted.at(time), truth.test(seed, time)[:n]
        if without is not None:
            x, y = _thinned(x, without), _thinned(y, without)
            log_weight = None if log_weight is None else _thinned(log_weight, without)
        weight = None if log_weight is None else torch.from_numpy(log_weight)
        for metric in metrics:
            if isinstance(metric, LikelihoodSettings | FieldSettings):
                continue
            found, true = torch.from_numpy(x), torch.from_numpy(y)
            try:
                value: float | None
                if isinstance(metric, PairedSettings):
                    value = evaluate_pairs(metric, found, true, viewer)
                elif isinstance(metric, PictureSettings):
                    value = evaluate_pictures(metric, viewer.pictures(found), viewer, weight)
                else:
                    value = measure(metric, found, true, _directions(metric, time), weight, viewer)
            except ValueError as error:
                what = f"at time {time}, {metric.label} of predictions (first) and truth (second)"
                raise DataError(f"{what}: {error}") from None
            if value is not None:
                yield _row(time, metric, value, len(x))


def _of_fields(plan: DataConfig, predicted: Samples, truth: Snapshots, seed: int) -> Iterable[dict[str, Any]]:
    """What a method says of the test points, and of the mass of its particles, beside what is true of them."""
    metrics = [metric for metric in plan.evaluation.metrics if isinstance(metric, FieldSettings)]
    if not metrics:
        return
    dataset = plan.build_dataset()
    known = dataset.truth()
    rates: list[tuple[Tensor, Tensor]] = []
    for start, times in plan.evaluation.legs(dataset.observed):
        for time in (time for time in times if time in plan.evaluation.times):
            y = torch.from_numpy(truth.test(seed, time)[: plan.evaluation.n_samples])
            for metric in metrics:
                try:
                    if isinstance(metric, GrowthCorrelation):
                        told = _growth(known, "rate", time, y, predicted)
                        rates += [told] if told else []
                        continue
                    value = _of_field(metric, known, start, time, y, predicted)
                except ValueError as error:
                    raise DataError(f"at time {time}, {metric.label}: {error}") from None
                if value is not None:
                    yield _row(time, metric, value, len(y))
    for metric in metrics:
        if isinstance(metric, GrowthCorrelation) and rates:
            found, exact = (torch.cat(parts) for parts in zip(*rates, strict=True))
            yield _row(math.nan, metric, correlation(found, exact), len(found))


def _of_likelihood(plan: DataConfig, predicted: Samples) -> Iterable[dict[str, Any]]:
    """Bits per dimension of test images at the last time, where the method says how likely they are."""
    found, dataset = predicted.log_density, plan.build_dataset()
    metrics = [metric for metric in plan.evaluation.metrics if isinstance(metric, LikelihoodSettings)]
    if found is None or not metrics:
        return
    try:
        bits = bits_per_dim(torch.from_numpy(found), len(dataset.columns), dataset.levels)
    except ValueError as error_:
        raise DataError(f"log_density of the samples: {error_}") from None
    for metric in metrics:
        match metric:
            case BitsPerDim():
                value = bits.mean
            case BitsPerDimError():
                value = bits.error
            case MedianBitsPerDim():
                value = bits.median
            case Incompressible():
                value = bits.incompressible
        yield _row(plan.evaluation.times[-1], metric, value, found.shape[1])


def _of_field(
    metric: OfOneTime, known: Marginals, start: float, time: float, y: Tensor, predicted: Samples
) -> float | None:
    """A value, or None where the method does not say what it would be of."""
    _, log_weight = predicted.at(time)
    velocity, _ = predicted.fields_at(time)
    match metric:
        case SampleSizeLost():
            return None if log_weight is None else sample_size_lost(torch.from_numpy(log_weight))
        case MassError():
            before, after = _true(known, "log_mass")(torch.tensor([start, time])).tolist()
            return None if log_weight is None else mass_error(torch.from_numpy(log_weight), after - before)
        case VelocityError() | VelocityCosine():
            exact = _true(known, "drift", "velocity")
            if velocity is None:
                return None
            compare = relative_error if isinstance(metric, VelocityError) else mean_cosine
            return compare(torch.from_numpy(velocity), exact(torch.full((len(y),), time), y))
        case GrowthError():
            told = _growth(known, "growth", time, y, predicted)
            return relative_error(*(rate - rate.mean() for rate in told)) if told else None
        case _:
            assert_never(metric)


def _growth(known: Marginals, name: str, time: float, y: Tensor, predicted: Samples) -> tuple[Tensor, Tensor] | None:
    """Growth rate and true one of the test points of a time; None where the method tells none."""
    exact = _true(known, name)
    _, growth = predicted.fields_at(time)
    if growth is None:
        return None
    return torch.from_numpy(growth), exact(torch.full((len(y),), time), y)


def _true(known: Marginals, *names: str) -> Callable[..., Tensor]:
    """The first function of these names that the truth has."""
    for name in names:
        if hasattr(known, name):
            field: Callable[..., Tensor] = getattr(known, name)
            return field
    raise DataError(f"the truth of this data set tells no {' or '.join(names)}")


def _thinned(rows: NDArray[Any], without: int) -> NDArray[Any]:
    return rows[np.arange(len(rows)) % BLOCKS != without]


def _directions(metric: MetricSettings, time: float) -> torch.Generator:
    """Randomness inside a metric (directions of slices): the same for every method, so that rows can be compared."""
    return generator("metric", metric.label, time)


def _row(time: float, metric: MetricSettings, value: float | Tensor, n: int) -> dict[str, Any]:
    return {"time": time, "metric": metric.label, "value": float(value), "n_samples": min(n, metric.max_points or n)}


def _write(rows: Iterable[dict[str, Any]], columns: tuple[str, ...], out: Path) -> None:
    write_tidy(pd.DataFrame(rows, columns=list(columns)), out)
