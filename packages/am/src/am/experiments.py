"""The project's settings as a whole: scales, experiments and the runs that they ask for.

``config.yaml`` says what runs; ``scales/<scale>.yaml`` and the files of ``experiments/`` beside it say how
(:mod:`am.experiment_files`). The values of a scale override those of an experiment. Everything is checked here, before
the workflow builds its DAG, and nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, WithJsonSchema, field_validator

from am import plugins
from am.benchmarks import FOLDER, Benchmark, read_benchmarks
from am.config import ConfigError, Settings, digest, merge, nearest, parse, read_yaml
from am.datasets.contract import Dataset
from am.experiment_files import NAME, ExperimentFiles, Written, with_new_names
from am.io.provenance import Asked, named
from am.io.registry import ARCHIVES, RemoteFile, published_archive
from am.methods.contract import Method, TrainedMethod
from am.metrics.settings import COLOUR_METRICS, IMAGE_METRICS, LikelihoodSettings, PairedSettings
from am.report.labels import Label
from am.report.published import Published
from am.runs import (
    About,
    Course,
    DataConfig,
    Evaluation,
    RunConfig,
    SamplingPlan,
    build_dataset,
    build_method,
    write_settings,
)

LEAKY = "-leaky"
"""Ending of protocols that let what judges into training: their numbers are those of no other."""
Name = Annotated[str, Field(pattern=NAME)]


def _listed(seeds: Any) -> Any:
    return range(seeds) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed is given twice")
    return seeds


_COUNT_OR_LIST = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
    ]
}
Seeds = Annotated[
    tuple[NonNegativeInt, ...],
    Field(min_length=1),
    BeforeValidator(_listed),
    AfterValidator(_different),
    WithJsonSchema(_COUNT_OR_LIST),
]
"""How many, counted from 0, or which."""
Artifacts = Literal["build", "archive"]
"""Where weights come from: training, or the archive that the project published of the scale."""


class Run(Settings):
    """One row of an experiment: a method with its settings."""

    method: str | None = Field(default=None, description="name of the method; the row's own name when left out")
    title: str | None = Field(default=None, description="words for tables and legends; the method's when left out")
    seeds: Seeds | None = Field(
        default=None, description="how many, or which: those of the scale, and more; the scale's when left out"
    )
    long: bool | None = Field(
        default=None,
        description="only at scales that have what takes long; when left out, that of methods that simulate to train",
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="the method's settings")


class Figures(Settings):
    """What figures of an experiment show."""

    methods: tuple[str, ...] = Field(default=(), description="runs in histograms and animation; all when empty")


class Experiment(Settings):
    """A data set, what is asked, who is asked, and what the paper says."""

    title: str = Field(description="words for the catalogue and for headings")
    extends: str | None = Field(
        default=None, description="another experiment, or a preset, whose keys count where none stand here"
    )
    dataset: dict[str, Any] = Field(description="name of the data set, and its settings")
    evaluation: Evaluation
    methods: dict[Name, Run]
    figures: Figures = Field(default=Figures(), description="what figures show")
    published: tuple[Published, ...] = Field(
        default=(), description="published numbers, where no file of config/published holds them; never inherited"
    )
    reuse_weights_of: str | None = Field(
        default=None, description="another experiment, of the same data and settings, that trains for this one"
    )
    artifacts: Artifacts | None = Field(
        default=None,
        description="build: train; archive: take weights from the published archive; build when left out here and in "
        "config.yaml",
    )


class Scale(Settings):
    """How much of everything: seeds, and overrides of the experiments."""

    title: str
    seeds: Seeds
    long: bool = Field(default=False, description="also run what takes long")
    extends: Name | None = Field(
        default=None, description="another scale, which holds but for what stands here; results lie in its folder"
    )
    experiments: dict[str, dict[str, Any]] = Field(default_factory=dict)


class ProjectSettings(Settings):
    """The keys of ``config.yaml``."""

    scale: str = "laptop"
    experiments: tuple[str, ...] = Field(min_length=1)
    benchmarks: tuple[str, ...] = Field(default=(), description="folders of workflow/benchmarks that are opt-in")
    results: str = Field(
        default="results", pattern=r"^[^-{}\x00-\x1f][^{}\x00-\x1f]*$", description="folder of all results; no braces"
    )
    tensorboard: bool = False
    partial: bool = Field(
        default=False, description="show what there is, and runs that failed as failed, instead of running them again"
    )
    artifacts: Artifacts | dict[str, Artifacts] = Field(
        default_factory=dict,
        description="build or archive, of all experiments or by name; goes before what their files say",
    )

    @field_validator("artifacts", mode="before")
    @classmethod
    def _chosen(cls, choice: Any) -> Any:
        words = choice.values() if isinstance(choice, dict) else [choice]
        if not all(word in get_args(Artifacts) for word in words):
            raise ValueError("it is build or archive, for all experiments or for each by its name")
        return choice


class ResolvedExperiment:
    """An experiment at a scale, whose every setting is known and valid."""

    def __init__(
        self,
        written: Written,
        parts: Experiment,
        scale_name: str,
        scale: Scale,
        benchmarks: Mapping[str, Benchmark],
        artifacts: Artifacts,
    ) -> None:
        self.file, self.name, self.seeds = written.file, written.name, scale.seeds
        self.scale, self._asked_at = scale.extends or scale_name, scale_name
        where = written.where
        self.title, self.published = parts.title, parts.published
        for run in parts.figures.methods:
            if run not in parts.methods:
                raise ConfigError(f"{where}: figures.methods: there is no run '{run}'; {nearest(run, parts.methods)}")
        methods = {name: run for name, run in parts.methods.items() if scale.long or not _takes_long(name, run)}
        self.pictured = tuple(name for name in parts.figures.methods or methods if name in methods)
        self._more = {name: run.seeds for name, run in methods.items() if run.seeds is not None}
        for name, seeds in self._more.items():
            if missing := set(self.seeds) - set(seeds):
                raise ConfigError(f"{where}: methods.{name}.seeds: the scale's seed {min(missing)} is not among them")
        self.trains_in = parts.reuse_weights_of or self.name
        """Name of the experiment that the weights of its runs come from."""
        self.artifacts = artifacts
        dataset = build_dataset(parts.dataset, where)
        _check_evaluation(parts.evaluation, dataset, where)
        _check_protocol(parts.evaluation.protocol, dataset, where)
        _check_published(parts, written)
        self.data = DataConfig(
            experiment=self.name,
            seeds=tuple(dict.fromkeys(seed for seeds in (self.seeds, *self._more.values()) for seed in seeds)),
            dataset={"name": parts.dataset["name"], **dataset.settings.model_dump(mode="json")},
            evaluation=parts.evaluation,
        )
        self.runs = {
            run: self._resolve(run, settings, f"{where}: methods.{run}.settings") for run, settings in methods.items()
        }
        self.benchmarks = {name: one for name, one in benchmarks.items() if self.name in one.experiments}
        """Runs whose rules lie in folders of their own."""
        for name in self.benchmarks:
            if name in self.runs:
                raise ConfigError(f"{where}: methods.{name}: a benchmark of workflow/benchmarks has this name too")

    @property
    def contestants(self) -> tuple[str, ...]:
        """Names of all runs, those of benchmarks too."""
        return (*self.runs, *self.benchmarks)

    @property
    def configured(self) -> list[tuple[str, int]]:
        """The runs and seeds that are asked for, those of benchmarks too."""
        return [(run, seed) for run in self.contestants for seed in self._more.get(run, self.seeds)]

    @property
    def weights(self) -> str:
        """Folder of what training leaves, below that of the scale: what is trained and what is fetched never meet."""
        return self.trains_in if self.artifacts == "build" else f"{ARCHIVES}/{self.trains_in}"

    def shown(self, *keys: str) -> str:
        """Digest of what is shown beside numbers: of labels, published and protocol, those that ``keys`` name."""
        parts: dict[str, Any] = {
            "labels": [asdict(label) for label in self.labels()],
            "published": [entry.model_dump(mode="json") for entry in self.published],
            "protocol": self.data.evaluation.protocol,
        }
        return digest({key: parts[key] for key in keys})

    def asked(self, *keys: str) -> Asked:
        """The settings that a table, figure or verdict depends on, as its origin records them."""
        return Asked(
            file=named(self.file),
            experiment=self.name,
            scale=self._asked_at,
            benchmarks=sorted(self.benchmarks),
            keys=list(keys),
            sha256=self.shown(*keys),
        )

    def labels(self) -> list[Label]:
        """What tables and figures call the runs, in the order of the experiment's file."""
        own = [Label(name, run.about.title, run.about.control) for name, run in self.runs.items()]
        return own + [benchmark.label(name) for name, benchmark in self.benchmarks.items()]

    def _resolve(self, name: str, run: Run, where: str) -> RunConfig:
        method = build_method(run.method or name, run.settings, where)
        settings = method.settings.model_dump(mode="json")
        evaluation = self.data.evaluation
        return RunConfig(
            experiment=self.name,
            run=name,
            method=run.method or name,
            dataset=self.data.dataset,
            sampling=SamplingPlan(
                **evaluation.model_dump(include=set(Course.model_fields)),
                solver=settings.pop("sampling", {}),
                likelihood=evaluation.likelihood,
            ),
            settings=settings,
            about=About(
                title=run.title or method.title,
                control=method.control,
                trained=isinstance(method, TrainedMethod),
                weighs=method.weighs,
            ),
        )


def _takes_long(name: str, run: Run) -> bool:
    kind: type[Method[Any]] = plugins.load("am.methods", run.method or name).METHOD
    return kind.simulates if run.long is None else run.long


def _check_evaluation(evaluation: Evaluation, dataset: Dataset, where: str) -> None:
    for metric in evaluation.metrics:
        if isinstance(metric, IMAGE_METRICS) and dataset.image_shape is None:
            raise ConfigError(f"{where}: evaluation.metrics: '{metric.label}' needs images, and these points are none")
        if isinstance(metric, COLOUR_METRICS) and dataset.image_shape is not None and dataset.image_shape[0] != 3:
            raise ConfigError(
                f"{where}: evaluation.metrics: '{metric.label}' needs images of 3 channels, "
                f"and these have {dataset.image_shape[0]}"
            )
        if isinstance(metric, LikelihoodSettings) and not dataset.has_density:
            raise ConfigError(
                f"{where}: evaluation.metrics: '{metric.label}' needs dequantised images that are made from standard "
                f"normal noise: task generation or vp_diffusion, and dequantise"
            )
        if isinstance(metric, LikelihoodSettings) and evaluation.times[-1] != 1:
            raise ConfigError(f"{where}: evaluation.times: '{metric.label}' is of images, which there are at time 1")
        if isinstance(metric, LikelihoodSettings) and evaluation.likelihood is None:
            raise ConfigError(f"{where}: evaluation.metrics: '{metric.label}' is of bits_per_dim: ask for both")
        if isinstance(metric, PairedSettings) and not dataset.conditioned:
            raise ConfigError(
                f"{where}: evaluation.metrics: '{metric.label}' compares images in pairs, "
                f"and this task is conditioned on nothing"
            )
    observed = dataset.observed
    if observed is None:
        if evaluation.start == "previous":
            raise ConfigError(f"{where}: evaluation.start: there is no previous time where every time is observed")
        return
    for time in evaluation.times:
        if not any(abs(time - other) < 1e-9 for other in observed[1:]):
            listed = ", ".join(f"{other:.10g}" for other in observed[1:])
            raise ConfigError(f"{where}: evaluation.times: nothing was observed at {time:g}; choose from: {listed}")


def _check_protocol(protocol: str, dataset: Dataset, where: str) -> None:
    if dataset.leaky and not protocol.endswith(LEAKY):
        raise ConfigError(
            f"{where}: evaluation.protocol: the data let points that judge into training, which '{protocol}' must say: "
            f"it must end with '{LEAKY}'"
        )
    if protocol.endswith(LEAKY) and not dataset.leaky:
        raise ConfigError(
            f"{where}: evaluation.protocol: '{protocol}' lets points that judge into training, and the data do not; "
            "dataset.scaler: all does"
        )


def _check_published(parts: Experiment, written: Written) -> None:
    protocol = parts.evaluation.protocol
    metrics = [metric.label for metric in parts.evaluation.metrics]
    for index, entry in enumerate(parts.published):

        def at(key: str, index: int = index) -> str:
            if written.numbers:
                return f"{written.numbers[index]}, column {key}"
            return f"{written.where}: published.{index}.{key}"

        if entry.metric not in metrics:
            raise ConfigError(
                f"{at('metric')}: the experiment computes no metric '{entry.metric}'; {nearest(entry.metric, metrics)}"
            )
        if entry.at_times and len(entry.at_times) != len(parts.evaluation.times):
            raise ConfigError(
                f"{at('at_times')}: {len(entry.at_times)} values are given for '{entry.method}', the experiment asks "
                f"for {len(parts.evaluation.times)} times"
            )
        if entry.protocol is not None and entry.protocol != protocol:
            raise ConfigError(
                f"{at('protocol')}: the number for '{entry.method}' belongs to the protocol '{entry.protocol}', "
                f"the experiment follows '{protocol}'; they cannot share a table"
            )


def _check_scales(published: Sequence[Published], written: Written, scales: Sequence[str]) -> None:
    """A number is never compared at a scale that there is not, which nobody would notice."""
    for place, entry in zip(written.numbers, published, strict=False):
        for scale in entry.scale:
            if scale not in scales:
                raise ConfigError(f"{place}, column scale: there is no scale '{scale}'; {nearest(scale, scales)}")


def _check_weights(experiment: ResolvedExperiment, source: ResolvedExperiment, where: str) -> None:
    """Weights mean the same in both experiments, or it is a mistake."""
    if experiment.data.dataset != source.data.dataset:
        raise ConfigError(f"{where}: reuse_weights_of: the data of '{source.name}' have other settings")
    for name, run in experiment.runs.items():
        theirs = source.runs.get(name)
        if run.about.trained and (theirs is None or (theirs.method, theirs.settings) != (run.method, run.settings)):
            raise ConfigError(
                f"{where}: reuse_weights_of: '{source.name}' does not train '{name}' with the same settings"
            )
    for name, seed in experiment.configured:
        if name in experiment.runs and experiment.runs[name].about.trained and (name, seed) not in source.configured:
            raise ConfigError(
                f"{where}: reuse_weights_of: '{source.name}' does not train '{name}' with the seed {seed}"
            )


class Project:
    """All that is to run, read from ``config.yaml`` and what lies beside it.

    Parameters
    ----------
    folder
        Holds ``config.yaml``, ``scales/``, ``experiments/`` and ``published/``; benchmarks lie in
        ``workflow/benchmarks/`` beside it.
    overrides
        Values that take the place of those in ``config.yaml``.
    opt_in
        Whether benchmarks that are opt-in take part unnamed, and what takes long does: where kept results are judged,
        and nothing runs.

    Raises
    ------
    ConfigError
        The first thing that is wrong, in one sentence.
    """

    def __init__(self, folder: Path, overrides: Mapping[str, Any] | None = None, opt_in: bool = False) -> None:
        self._folder, self._overrides = folder, dict(overrides or {})
        base = folder / "config.yaml"
        settings = parse(ProjectSettings, read_yaml(base), str(base))
        if overrides:
            settings = parse(ProjectSettings, merge(settings.model_dump(), overrides), "the command line")
        self.level = self._most(settings.scale) if opt_in else settings.scale
        """The scale that was asked for."""
        scale_file = _choose(folder / "scales", self.level, "scale")
        scale = parse(Scale, self._read_scale(scale_file), str(scale_file))
        known = ExperimentFiles(folder)
        overrides_of: dict[str, dict[str, Any]] = {}
        for name, values in scale.experiments.items():
            if name not in known:
                raise ConfigError(
                    f"{scale_file}: experiments.{name}: there is no such experiment; {nearest(name, known)}"
                )
            overrides_of[name] = with_new_names(values, f"{scale_file}: experiments.{name}")
        known.check_published()
        self.scale, self.seeds = scale.extends or self.level, scale.seeds
        """The scale in whose folder results lie, and its seeds."""
        self.results = Path(settings.results)
        self.tensorboard = settings.tensorboard
        self.partial = settings.partial
        self.benchmarks = read_benchmarks(folder.parent / FOLDER, known, settings.benchmarks, opt_in)
        """Those that run, by the name of their folder."""

        said = settings.artifacts
        chosen = said if isinstance(said, dict) else {}
        every = said if isinstance(said, str) else None

        def resolve(name: str, user: str | None = None) -> ResolvedExperiment:
            written = known.read(name, overrides_of, str(scale_file))
            where = written.where
            parts = parse(Experiment, written.data, where)
            if parts.reuse_weights_of and user:
                raise ConfigError(f"{where}: reuse_weights_of: it trains nothing itself, as '{user}' would need")
            source = resolve(parts.reuse_weights_of, name) if parts.reuse_weights_of else None
            artifacts = source.artifacts if source else every or chosen.get(name) or parts.artifacts or "build"
            experiment = ResolvedExperiment(written, parts, self.level, scale, self.benchmarks, artifacts)
            _check_scales(parts.published, written, _stems(folder / "scales"))
            if source:
                _check_weights(experiment, source, where)
            self.known[name] = experiment
            return experiment

        self.known: dict[str, ResolvedExperiment] = {}
        """The experiments asked for, and those that train for them."""
        self.experiments = {name: resolve(name) for name in settings.experiments}
        """The experiments asked for."""
        for name in chosen:
            if name not in known:
                raise ConfigError(f"{base}: artifacts.{name}: there is no such experiment; {nearest(name, known)}")
            if name in self.known and self.known[name].artifacts != chosen[name]:
                trains = self.known[name].trains_in
                raise ConfigError(f"{base}: artifacts.{name}: its weights are those of '{trains}'; choose for that one")

    def published_archive(self) -> RemoteFile | None:
        """The archive that weights are taken from, as the registry lists it; None where every experiment trains.

        Raises
        ------
        ConfigError
            The registry lists none of this scale.
        """
        for experiment in self.known.values():
            if experiment.artifacts == "archive" and any(run.about.trained for run in experiment.runs.values()):
                try:
                    return published_archive(self._folder.parent / "data/registry.yaml", self.scale)
                except ConfigError as error:
                    raise ConfigError(f"{experiment.name}: artifacts: archive: {error}") from None
        return None

    def _read_scale(self, file: Path) -> dict[str, Any]:
        """A scale's keys over those of the one that it extends."""
        data = read_yaml(file)
        if not isinstance(base := data.get("extends"), str):
            return data
        below = read_yaml(_choose(file.parent, base, "scale"))
        if "extends" in below:
            raise ConfigError(f"{file}: extends: '{base}' extends a scale itself")
        return merge(below, data)

    def _most(self, scale: str) -> str:
        """The scale that extends this one, with more runs in the same folder; itself where none does."""
        folder = self._folder / "scales"
        extending = (name for name in _stems(folder) if read_yaml(folder / f"{name}.yaml").get("extends") == scale)
        return next(extending, scale)

    def at(self, scale: str) -> Project:
        """The same project at another scale, to judge what was kept of it."""
        return Project(self._folder, {**self._overrides, "scale": scale}, opt_in=True)

    def write_settings(self) -> None:
        """Write the ``config.yaml`` of every experiment and of every run into the results."""
        for experiment in self.known.values():
            folder = self.results / self.scale / experiment.name
            write_settings(experiment.data, folder / "config.yaml")
            for name, run in experiment.runs.items():
                write_settings(run, folder / name / "config.yaml")


def _stems(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml"))


def _choose(folder: Path, name: str, what: str) -> Path:
    if name not in _stems(folder):
        raise ConfigError(f"there is no {what} '{name}' in {folder}; {nearest(name, _stems(folder))}")
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{folder / name}.yaml: its name may have letters, digits, _ and - only")
    return folder / f"{name}.yaml"
