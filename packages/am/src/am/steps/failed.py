"""Runs that failed: what they did not leave tells which, and their logs tell why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from am.experiments import ResolvedExperiment
from am.steps.seeds import among, said_of


@dataclass(frozen=True)
class Failure:
    """A run that ended before there was anything to measure."""

    run: str
    seed: int
    log: Path
    """Of the step that failed."""
    why: str
    """The last that it said."""

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.why}"


def failures(experiment: ResolvedExperiment, results: Path) -> dict[tuple[str, int], Failure]:
    """Runs and seeds of an experiment of which a step was begun and did not end, by run and seed.

    The last step that a run has a log of did not leave what it makes: weights, samples or metrics. Of a step that
    handles several seeds, those failed of which its log says so; or all, where it says so of none. Runs that were never
    begun have no log, and are none of these.

    Parameters
    ----------
    results
        Folder of the scale's results, with ``logs`` and a folder for each experiment.
    """
    found = {}
    for run, seed in experiment.configured:
        logs = [(log, made) for log, made in _steps(experiment, results, run, seed) if log.exists()]
        if not logs:
            continue
        log, made = max(logs, key=lambda one: one[0].stat().st_mtime)
        if made.exists():
            continue
        text = log.read_text(encoding="utf-8", errors="replace")
        of_seeds = said_of(text)
        if seed in of_seeds or not of_seeds:
            found[run, seed] = Failure(run, seed, log, of_seeds.get(seed) or _why(text))
    return found


def by_run(found: Iterable[Failure]) -> dict[str, str]:
    """A sentence for each run, by name: which of its seeds failed, and why."""
    told: dict[str, list[str]] = {}
    for failure in found:
        told.setdefault(failure.run, []).append(str(failure))
    return {run: "; ".join(sentences) for run, sentences in told.items()}


def _steps(experiment: ResolvedExperiment, results: Path, run: str, seed: int) -> Iterator[tuple[Path, Path]]:
    """Logs of the steps to metrics, and what each step makes.

    What is measured along training is beside them, and keeps no metrics from being.
    """
    logs, folder = results / "logs", results / experiment.name / run / f"seed{seed}"
    if run in experiment.benchmarks:
        yield logs / f"sample_{run}" / experiment.name / f"seed{seed}.log", folder / "samples.npz"
    else:
        weights = results / experiment.weights / run / f"seed{seed}" / "model.safetensors"
        yield logs / "train_method" / experiment.weights / run / f"seed{seed}.log", weights
    for step, made in (("sample_method", "samples.npz"), ("evaluate_samples", "metrics.csv")):
        for log in (logs / step / experiment.name / run).glob("seed*.log"):
            if seed in among(log.stem.removeprefix("seed")):
                yield log, folder / made


def _why(text: str) -> str:
    lines = text.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if last.startswith("am: "):
        return last.removeprefix("am: ")
    return f"it ended after '{last}'" if last else "it was ended from outside, without a word"
