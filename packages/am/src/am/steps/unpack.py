"""Take the weights of a run from the archive that the project published: the files that training would have left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

from am.config import ConfigError, nearest
from am.io.archives import ArchiveError, extract, opened
from am.io.provenance import Asked, ProvenanceError, named, origin, read_provenance, write_origin
from am.io.registry import ARCHIVES, find_file
from am.runs import TRAINED, RunConfig, read_run, step_digest


def unpack(archive: Path, config: Path, scale: str, seed: int, out: Path, registry: Path) -> None:
    """Write the weights to ``out`` and, beside them, what else training left; each with its origin.

    Parameters
    ----------
    archive
        As :mod:`am.steps.archive` writes it; its name is that of its entry in the registry.
    config
        The run's ``config.yaml``, whose settings the weights must have been trained with.

    Raises
    ------
    ConfigError
        The archive is not the one of the registry, holds no weights of this run, or some of other settings.
    ArchiveError
        It is damaged, or what it holds is not what its own records say.
    """
    run = read_run(config)
    _check_archive(archive, registry)
    made_of = origin(
        [archive],
        step_digest("unpack"),
        settings=[Asked(file=named(config), keys=["training"], sha256=run.training_digest)],
    )
    with opened(archive) as content:
        place = _place(content, archive, run, scale, seed)
        with TemporaryDirectory(prefix="am-") as folder:
            settings, record = Path(folder, "config.yaml"), Path(folder, "training.json")
            run_folder = f"results/{scale}/{run.experiment}/{run.run}/"
            extract(content, {run_folder + settings.name: settings, place + record.name: record})
            try:
                told, theirs = read_provenance(record), read_run(settings)
            except (ProvenanceError, ConfigError) as error:
                sentence = (
                    str(error)
                    .replace(str(record), place + record.name)
                    .replace(str(settings), run_folder + settings.name)
                )
                raise ArchiveError(f"{archive}: {sentence}") from None
        if told["config_sha256"] != run.training_digest:
            raise ConfigError(
                f"{config}: the weights in {archive} were trained with other settings"
                f"{_difference(run, theirs)}; change them back, or train with `artifacts: build`"
            )
        for name in TRAINED:
            with content.open(place + name) as file:
                sha256 = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            if name != record.name and sha256 != told.get("files", {}).get(name):
                raise ArchiveError(f"{archive}: {place}{name} is not what was trained; its record differs")
        extract(content, {place + name: out.with_name(name) for name in TRAINED})
    for name in TRAINED:
        write_origin(out.with_name(name), made_of)


def _check_archive(archive: Path, registry: Path) -> None:
    entry = find_file(registry, ARCHIVES, archive.name)
    if not archive.is_file():
        raise ConfigError(f"{archive}: there is no such file; `am retrieve` fetches it")
    if fault := entry.fault(archive):
        raise ConfigError(f"{archive}: it {fault} in {registry}; delete it, and it will be fetched again")


def _place(content: ZipFile, archive: Path, run: RunConfig, scale: str, seed: int) -> str:
    """The folder of the archive that holds the weights: where they were trained, or had been fetched to."""
    names = set(content.namelist())
    asked = f"{run.experiment}/{run.run}/seed{seed}"
    for place in (f"results/{scale}/{asked}/", f"results/{scale}/{ARCHIVES}/{asked}/"):
        if all(place + name in names for name in TRAINED):
            return place
    held = {"/".join(name.split("/")[-4:-1]) for name in names if name.endswith(f"/{TRAINED[0]}")}
    raise ConfigError(f"{archive}: it holds no weights of {asked}; {nearest(asked, held)}")


def _difference(ours: RunConfig, theirs: RunConfig) -> str:
    """The first setting of training that is not the same, as a clause."""
    here, there = (dict(_flat(run.training_settings)) for run in (ours, theirs))
    for key in {**here, **there}:
        if here.get(key) != there.get(key):
            return f": {key} is {here.get(key)} here and {there.get(key)} there"
    return ""


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value
