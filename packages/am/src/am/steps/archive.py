"""Put a finished run into one file that a reviewer, or a machine, can take from there: a Workflow Run RO-Crate."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from am.config import ConfigError, read_yaml
from am.experiments import Project, ResolvedExperiment
from am.io.archives import write_archive
from am.io.provenance import file_sha256, read_origin, read_provenance, sidecar
from am.io.registry import ARCHIVES, find_file, read_registry
from am.report.crate import METADATA, Input, RunStory, describe
from am.report.croissant import CARRIED, CELLS
from am.runs import TRAINED
from am.steps.draw import FIGURES
from am.steps.explain import explain_all

log = logging.getLogger(__name__)

PROJECT_FILES = (
    *("Snakefile", "Makefile", "README.md", "LICENSE", "CITATION.cff", "pyproject.toml"),
    *("requirements.in", "requirements.lock", "environment.yml", "data/registry.yaml", "data/derive_myoblast.py"),
    *("config", "workflow", "packages", "tests", "docs", "benchmarks", "notebooks"),
)
"""What of the project goes along, from its top folder: all that its results can be made again with."""
MEGABYTE = 1_000_000


def archive(project: Project, root: Path, results: Path, kept: Path, out: Path, largest: float = 50.0) -> None:
    """Write the archive of what the workflow left in ``results``, the scale's folder.

    It holds the project; settings, weights, samples, metrics, tables, figures, verdict and report of the run, with
    the origin of each; and the committed results in ``kept``. Unpacked anywhere, ``am review`` and ``am verify`` give
    there what they give here. Data are not in it, but what they must be is.

    Parameters
    ----------
    root
        The project's top folder.
    largest
        Samples of more megabytes than this stay out; ``provenance.json`` beside them tells their digest.

    Raises
    ------
    ConfigError
        The run is not finished, or ``root`` holds no project; names what is missing.
    ArchiveError
        A file has a name that cannot be unpacked everywhere.
    ProvenanceError
        A record of provenance is not one.
    """
    made, left_out = _run(project, results, largest)
    place = Path("results", project.scale)
    files = dict(_project(root))
    files |= {(Path("results/expected") / path.relative_to(kept)).as_posix(): path for path in _below(kept)}
    files |= {(place / path.relative_to(results)).as_posix(): path for path in made}
    files = {name: files[name] for name in sorted(files)}
    story = _story(project, root, results, made, left_out, place)
    told = describe({name: (path, file_sha256(path)) for name, path in files.items()}, story, _citation(root))
    write_archive({METADATA: told, **files}, out)
    log.info("%s: %d files, %d bytes, sha256 %s", out, len(files) + 1, out.stat().st_size, file_sha256(out))


def _citation(root: Path) -> dict[str, Any]:
    return read_yaml(root / "CITATION.cff")


def _project(root: Path) -> Iterator[tuple[str, Path]]:
    for name in PROJECT_FILES:
        top = root / name
        if not top.exists():
            raise ConfigError(f"{top}: there is no such file; archive from the top folder of the project")
        for path in [top] if top.is_file() else _below(top):
            yield path.relative_to(root).as_posix(), path


def _below(folder: Path) -> list[Path]:
    """Plain files, without what tools leave."""

    def counts(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        made = any(part.startswith(".") or part == "__pycache__" or part.endswith(".egg-info") for part in parts)
        return path.is_file() and not path.is_symlink() and not made and parts[0] not in ("site", "api", "out")

    return sorted(path for path in folder.rglob("*") if counts(path))


def _run(project: Project, results: Path, largest: float) -> tuple[list[Path], list[Path]]:
    """Files of a finished run, and those that are too large."""
    wanted: dict[Path, bool] = {}
    """Whether each must be there."""
    for experiment in project.experiments.values():
        wanted |= dict(_shown(experiment, results))
        wanted |= dict.fromkeys(_weights(experiment, results), True)
    wanted |= {results / f"verdict.{kind}": True for kind in ("csv", "md", "html")}
    wanted |= {results / name: False for name in ("report.html", "workflow.html")}
    for path, needed in wanted.items():
        if needed and not path.is_file():
            raise ConfigError(f"{path}: no such file; run the workflow to its verdict first")
    found = {path for path in wanted if path.is_file()}
    bulky = {path for path in found if path.name == "samples.npz" and path.stat().st_size > largest * MEGABYTE}
    origins = {sidecar(path) for path in wanted} | {sidecar(path) for path in _data(project, results)}
    return sorted(found - bulky | {path for path in origins if path.is_file()}), sorted(bulky)


def _weights(experiment: ResolvedExperiment, results: Path) -> Iterator[Path]:
    """What training left where samples say that their weights were: trained for this or another experiment, fetched."""
    for name, seed in experiment.configured:
        if name not in experiment.runs or not experiment.runs[name].about.trained:
            continue
        record = results / experiment.name / name / f"seed{seed}" / "provenance.json"
        if not record.is_file():
            yield record
            continue
        for model in (Path(path) for path in read_provenance(record)["data"] if Path(path).name == TRAINED[-1]):
            *_, above, trains, run, of_seed, _ = ("",) * 4 + model.parts
            yield from (results / trains / run / "config.yaml", results / trains / "config.yaml")
            folder = Path(ARCHIVES, trains) if above == ARCHIVES else Path(trains)
            yield from (results / folder / run / of_seed / file for file in TRAINED)


def _shown(experiment: ResolvedExperiment, results: Path) -> Iterator[tuple[Path, bool]]:
    """What a verdict rests on, and what is shown beside it."""
    folder = results / experiment.name
    yield folder / "config.yaml", True
    yield folder / "floor.csv", True
    for name in experiment.contestants:
        yield folder / name / "config.yaml", name in experiment.runs
    for name, seed in experiment.configured:
        place = folder / name / f"seed{seed}"
        yield place / "metrics.csv", True
        for file in ("blocks.csv", "draws.csv", "history.csv", "samples.npz", "provenance.json"):
            yield place / file, False
    for part in ("", "_times", "_pairs"):
        for kind in ("csv", "md"):
            yield results / "tables" / f"{experiment.name}{part}.{kind}", True
    for figure in FIGURES:
        for kind in ("pdf", "png", "gif"):
            yield results / "figures" / f"{experiment.name}_{figure}.{kind}", False


def _data(project: Project, results: Path) -> Iterator[Path]:
    """The prepared data of all experiments."""
    for experiment in project.known.values():
        folder = results / experiment.name
        yield folder / "data.h5ad"
        yield from (folder / f"seed{seed}" / "data.h5ad" for seed in experiment.data.seeds)


def _story(
    project: Project, root: Path, results: Path, made: Iterable[Path], left_out: Iterable[Path], place: Path
) -> RunStory:
    records = [read_provenance(path) for path in made if path.name in ("provenance.json", "training.json")]
    if not records:
        raise ConfigError(f"{results}: no run here left a record of provenance")
    versions: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, version in record["versions"].items():
            versions[name].add(version)
    inside = [(place / path.relative_to(results)).as_posix() for path in made]
    shown = explain_all(results)
    others = [path for path, finding in shown.items() if finding]
    description = (
        f"The workflow at the scale {project.scale}: {', '.join(project.experiments)}. It ran on "
        f"{', '.join(sorted({record['device'] for record in records}))}. After unpacking, `make verify` gives the "
        f"verdict on results/expected, and `am verify --project config --scale {project.scale} --results {place} --out "
        f"results/verify/{project.scale}/verdict.html` the one on this run."
    )
    if left_out:
        listed = ", ".join((place / path.relative_to(results)).as_posix() for path in left_out)
        description += f" Left out for their size, their digests stand beside them: {listed}."
    if others:
        sentence = f"{len(others)} of {len(shown)} figures, tables and verdicts are not as they were recorded."
        description += f" {sentence}"
        log.warning("%s The first: %s. `am explain %s` tells of all.", sentence, shown[others[0]], results)
    return RunStory(
        name=f"Action Matching, reproduced: a run at the scale {project.scale}",
        description=description,
        started=min(record["started"] for record in records),
        finished=max(record["finished"] for record in records),
        commits=sorted({record["commit"] for record in records}),
        versions={name: sorted(found) for name, found in sorted(versions.items())},
        inputs=[*_outside(project, root), *_prepared(project, results, place)],
        read=["config/config.yaml", "data/registry.yaml", *(name for name in inside if name.endswith("/config.yaml"))],
        results=[name for name in inside if not name.endswith("/config.yaml")],
        about=dict(_carried(project, root)),
    )


def _outside(project: Project, root: Path) -> Iterator[Input]:
    """Files from outside that data sets and metrics are read from."""
    registry = root / "data/registry.yaml"
    sources = read_registry(registry)
    data = [experiment.data for experiment in project.known.values()]
    for source, file in sorted({one for e in data for one in (*e.build_dataset().files, *e.evaluation.files)}):
        entry = find_file(registry, source, file)
        about = sources[source]
        yield Input(f"data/raw/{source}/{file}", entry.sha256, entry.urls[0], about.licence, about.citation)


def _prepared(project: Project, results: Path, place: Path) -> Iterator[Input]:
    """Data as methods saw them; they are made again from their settings."""
    for path in _data(project, results):
        if sidecar(path).is_file():
            yield Input((place / path.relative_to(results)).as_posix(), read_origin(path)["sha256"])


def _carried(project: Project, root: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Licence and citation of data that the library carries."""
    file = root / CARRIED
    if file.is_file() and any(experiment.data.dataset["name"] == file.stem for experiment in project.known.values()):
        yield CARRIED, {"license": CELLS["licence"], "citation": CELLS["citation"]}
