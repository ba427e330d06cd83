"""Runs that failed: what they did not leave tells which, and their logs tell why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from am.experiments import ResolvedExperiment

_MADE = ("samples.npz", "metrics.csv")


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
    """Runs and seeds of an experiment that were begun and did not end, by run and seed.

    Such a run has a log, and lacks what a step of it makes: weights, samples or metrics. Metrics that are older than
    the log are of another attempt. Runs that were never begun have no log, and are none of these.

    Parameters
    ----------
    results
        Folder of the scale's results, with ``logs`` and a folder for each experiment.
    """
    found = {}
    for run, seed in experiment.configured:
        logs = sorted(_logs(experiment, results, run, seed), key=lambda path: path.stat().st_mtime)
        folder = results / experiment.name / run / f"seed{seed}"
        made = [folder / name for name in _MADE]
        if run in experiment.runs and experiment.runs[run].about.trained:
            made.insert(0, results / experiment.weights / run / f"seed{seed}" / "model.safetensors")
        if logs and not all(path.exists() for path in made):
            metrics = made[-1]
            if not metrics.exists() or metrics.stat().st_mtime < logs[-1].stat().st_mtime:
                found[run, seed] = Failure(run, seed, logs[-1], _why(logs[-1]))
    return found


def by_run(found: Iterable[Failure]) -> dict[str, str]:
    """A sentence for each run, by name: which of its seeds failed, and why."""
    told: dict[str, list[str]] = {}
    for failure in found:
        told.setdefault(failure.run, []).append(str(failure))
    return {run: "; ".join(sentences) for run, sentences in told.items()}


def _logs(experiment: ResolvedExperiment, results: Path, run: str, seed: int) -> list[Path]:
    """Logs of the steps to metrics; what is measured along training is beside them, and keeps no metrics from being."""
    logs = results / "logs"
    if run in experiment.benchmarks:
        own = [logs / f"sample_{run}" / experiment.name / f"seed{seed}.log"]
    else:
        own = [logs / "train_method" / experiment.weights / run / f"seed{seed}.log"]
    steps = ("sample_method", "evaluate_samples")
    own += [logs / step / experiment.name / run / f"seed{seed}.log" for step in steps]
    return [path for path in own if path.exists()]


def _why(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if last.startswith("am: "):
        return last.removeprefix("am: ")
    return f"it ended after '{last}'" if last else "it was ended from outside, without a word"
