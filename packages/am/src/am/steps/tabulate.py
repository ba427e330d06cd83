"""Bring the metrics of all runs of an experiment into its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from am.experiments import ResolvedExperiment
from am.io.provenance import origin
from am.report.measured import Measured, read_measured
from am.report.pairs import compare_pairs, markdown_pairs
from am.report.tables import markdown, markdown_times, summarise, summarise_times, write_table
from am.runs import step_digest
from am.steps.failed import by_run, failures
from am.steps.recorded import BESIDE, require


def tabulate(experiment: ResolvedExperiment, metrics: Sequence[Path], floor: Path, out: Path) -> None:
    """Write ``out`` (a CSV), the same as Markdown, and both for every time (``<name>_times``) and pair (``_pairs``).

    Raises
    ------
    ProvenanceError
        A result is not as recorded, or one that the experiment does not ask for.
    """
    require(experiment, [*metrics, *(path.with_name(name) for path in metrics for name in BESIDE), floor])
    failed = by_run(failures(experiment, floor.absolute().parents[1]).values())
    write_tables(experiment, read_measured([*metrics, floor]), out, failed)


def write_tables(
    experiment: ResolvedExperiment, measured: Measured, out: Path, failed: Mapping[str, str] | None = None
) -> None:
    """The same of results that were checked; ``failed`` tells why runs failed, by run."""
    asked = [experiment.asked("labels", "published", "protocol")]
    made_of = origin(measured.files, step_digest("tabulate"), ["tabulate"], asked)
    protocol = experiment.data.evaluation.protocol
    values, floors, labels = measured.metrics, measured.floor, experiment.labels()
    blocks, draws = measured.blocks, measured.draws
    published, costs = experiment.published, measured.costs
    higher, positive = experiment.data.evaluation.higher, experiment.data.evaluation.positive
    summary = summarise(experiment.name, values, floors, labels, published, costs, blocks, higher, draws, positive)
    if failed:
        summary["failed"] = summary["method"].map(dict(failed)).fillna("")
    write_table(summary, markdown(summary, protocol), out, out.with_suffix(".md"), made_of)
    times = summarise_times(experiment.name, values, floors, labels, blocks, higher, draws, positive)
    beside = out.with_stem(f"{out.stem}_times")
    write_table(times, markdown_times(times, protocol), beside, beside.with_suffix(".md"), made_of)
    pairs = compare_pairs(experiment.name, values, labels, blocks, higher)
    beside = out.with_stem(f"{out.stem}_pairs")
    write_table(pairs, markdown_pairs(pairs, labels, protocol), beside, beside.with_suffix(".md"), made_of)
