"""One run, whose every setting is known: what each step reads from a ``config.yaml``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from am import plugins
from am.config import ConfigError, Settings, digest, parse, read_yaml, write_yaml
from am.datasets.contract import Dataset, Time
from am.extras import require_packages
from am.io.code_digest import code_digest
from am.io.files import atomic
from am.io.provenance import Asked, Origin, named, origin
from am.methods.contract import Method, TrainedMethod
from am.metrics.settings import BitsPerDim, DistanceSettings, MetricSettings

if TYPE_CHECKING:
    from am.marginals.marginals import Marginals

TRAINED = ("snapshots.safetensors", "training.csv", "training.json", "model.safetensors")
"""What training leaves, beside each other."""

Legs = tuple[tuple[float, tuple[float, ...]], ...]
"""Times at which particles start, each with the later times that they are pushed to from there."""


class Course(Settings):
    """Where particles go, and from where."""

    times: tuple[Time, ...] = Field(min_length=1, description="times to predict, in (0, 1], increasing")
    start: Literal["first", "previous"] = Field(
        default="first",
        description="first: particles start at t = 0; previous: for each time anew, from the test points of the "
        "observed time before it",
    )
    n_samples: PositiveInt = Field(description="particles, and points of the truth at each time")
    draws: PositiveInt = Field(
        default=1,
        description="times that particles of methods with noise are drawn from the same weights; distances "
        "are means over them",
    )
    shown: tuple[Time, ...] = Field(
        default=(), description="further times to predict, which figures show and nothing judges"
    )

    @property
    def moments(self) -> tuple[float, ...]:
        """All times to predict, increasing."""
        return tuple(sorted({*self.times, *self.shown}))

    def legs(self, observed: tuple[float, ...] | None) -> Legs:
        """The parts of the course; ``observed`` are the times that a data set has points at."""
        if self.start == "first":
            return ((0.0, self.moments),)
        return tuple((max(t for t in observed or (0.0,) if t < time - 1e-9), (time,)) for time in self.moments)


class Evaluation(Course):
    """What is asked of every method of an experiment."""

    protocol: str = Field(default="", description="id of a protocol that others have published numbers under")
    metrics: tuple[MetricSettings, ...] = Field(
        min_length=1, description="what is measured; the first, a distance, leads"
    )
    floor_repeats: PositiveInt = Field(default=20, description="pairs of samples of the truth behind the floor")
    history_samples: PositiveInt = Field(default=1000, description="particles for the metric along training")
    history_milestones: PositiveInt = Field(
        default=3, description="weights kept along training that are measured, evenly spaced, the last among them"
    )
    snapshot_times: PositiveInt = Field(default=21, description="equal times at which data.h5ad holds training points")
    snapshot_size: NonNegativeInt = Field(default=2000, description="training points at each of them")

    @property
    def likelihood(self) -> BitsPerDim | None:
        """What likelihoods of test images are estimated from, where a metric asks for them."""
        return next((metric for metric in self.metrics if isinstance(metric, BitsPerDim)), None)

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Source and name of each file of the registry that its metrics need."""
        return tuple(sorted({file for metric in self.metrics for file in metric.files}))

    @field_validator("times")
    @classmethod
    def _increasing(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(times)):
            raise ValueError("times must increase")
        return times

    @property
    def higher(self) -> frozenset[str]:
        """Names of the metrics of which higher values are better."""
        return frozenset(metric.label for metric in self.metrics if metric.better == "higher")

    @property
    def positive(self) -> frozenset[str]:
        """Names of the metrics that cannot be negative."""
        return frozenset(metric.label for metric in self.metrics if metric.is_positive)

    @field_validator("metrics")
    @classmethod
    def _told_apart(cls, metrics: tuple[MetricSettings, ...]) -> tuple[MetricSettings, ...]:
        labels = [metric.label for metric in metrics]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two metrics are called '{label}'; give one of them another name")
        if not isinstance(metrics[0], DistanceSettings):
            raise ValueError(f"the first metric must be a distance that all methods have, not '{metrics[0].label}'")
        return metrics


class SamplingPlan(Course):
    """What samples depend on, beside the weights."""

    solver: dict[str, Any] | None = Field(default_factory=dict, description="the method's ``sampling`` settings")
    likelihood: BitsPerDim | None = Field(default=None, description="what likelihoods are estimated from, if asked for")


class About(Settings):
    """What tables and figures say of a run; no number depends on it."""

    title: str
    control: bool = False
    trained: bool = True
    weighs: bool = False


class RunConfig(Settings):
    """A row of an experiment: ``<experiment>/<run>/config.yaml``."""

    experiment: str
    run: str
    method: str
    dataset: dict[str, Any]
    settings: dict[str, Any]
    sampling: SamplingPlan
    about: About

    def build_method(self, where: str = "settings") -> Method[Any]:
        """The method, with all its settings."""
        solver = {"sampling": self.sampling.solver} if self.sampling.solver else {}
        return build_method(self.method, {**self.settings, **solver}, where)

    def build_dataset(self, where: str = "dataset") -> Dataset:
        """The data set."""
        return build_dataset(self.dataset, where)

    def learned_path(self, dataset: Dataset, data: Path, where: str = "settings") -> Marginals:
        """What the method may learn from: ``data`` is the prepared ``data.h5ad``."""
        from_snapshots = self.build_method(where).learns_from == "snapshots"
        return dataset.snapshots(data) if from_snapshots else dataset.marginals(data)

    def key(self, seed: int) -> str:
        """Name of the run with this seed, from which its random numbers derive."""
        return f"{self.experiment}/{self.run}/{seed}"

    @property
    def training_settings(self) -> dict[str, Any]:
        """The settings that weights depend on, as plain data."""
        return self.model_dump(mode="json", include={"experiment", "run", "method", "dataset", "settings"})

    @property
    def training_digest(self) -> str:
        """Changes when, and only when, a setting that weights depend on does."""
        return digest(self.training_settings)

    @property
    def sampling_digest(self) -> str:
        """Changes when, and only when, a setting that samples depend on does."""
        return digest(self.model_dump(mode="json", exclude={"about"}))

    def asked(self, where: Path) -> Asked:
        """The settings that samples depend on, as an origin records them; they stand ``where``."""
        return Asked(file=named(where), keys=["sampling"], sha256=self.sampling_digest)

    def code_digest(self, step: str) -> str:
        """Digest of the code that ``step`` runs for this method on this data set."""
        return step_digest(step, f"am.methods.{self.method}", f"am.datasets.{self.dataset['name']}")


class DataConfig(Settings):
    """What an experiment's data and truth depend on: ``<experiment>/config.yaml``."""

    experiment: str
    seeds: tuple[NonNegativeInt, ...]
    dataset: dict[str, Any]
    evaluation: Evaluation

    def build_dataset(self, where: str = "dataset") -> Dataset:
        """The data set."""
        return build_dataset(self.dataset, where)

    def code_digest(self, step: str) -> str:
        """Digest of the code that ``step`` runs for this data set."""
        return step_digest(step, f"am.datasets.{self.dataset['name']}")

    def asked(self, *keys: str) -> str:
        """Digest of the data set, and of those keys of the evaluation that a result depends on."""
        return digest([self.dataset, self.evaluation.model_dump(mode="json", include=set(keys))])

    def origin(self, code: Sequence[str], inputs: Iterable[Path], where: Path, *keys: str) -> Origin:
        """What makes a file now: ``code`` is what :func:`step_digest` takes, ``keys`` count of the settings ``where``.

        A data set among the code brings the files that it is read from.
        """
        sources = self.build_dataset(str(where)).sources() if f"am.datasets.{self.dataset['name']}" in code else ()
        settings = Asked(file=named(where), keys=list(keys), sha256=self.asked(*keys))
        return origin([*inputs, *sources], step_digest(*code), code, [settings])


@cache
def step_digest(step: str, *modules: str) -> str:
    """Digest of the code of a step and of plug-ins that it loads by name.

    A plug-in of another distribution counts by its name and the distribution's version. Each digest is computed once a
    process: the code that a process runs does not change.
    """
    own = {f"am.{kind}.{name}" for kind in ("methods", "datasets") for name in plugins.own_names(f"am.{kind}")}
    foreign = [(module, plugins.release(*module.rsplit(".", 1))) for module in modules if module not in own]
    base = code_digest([f"am.steps.{step}", *(module for module in modules if module in own)])
    return digest([base, foreign]) if foreign else base


def build_dataset(settings: Mapping[str, Any], where: str) -> Dataset:
    """The data set that a ``dataset`` section describes."""
    options = dict(settings)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: dataset.name: this key is required")
    kind: type[Dataset] = plugins.load("am.datasets", name).DATASET
    return kind(parse(kind.settings_type, options, f"{where}: dataset"))


def build_method(name: str, settings: Mapping[str, Any], where: str) -> Method[Any]:
    """The method ``name`` with its settings."""
    kind: type[Method[Any]] = plugins.load("am.methods", name).METHOD
    return kind(parse(kind.settings_type, settings, where))


def build_trained_method(run: RunConfig, where: str) -> TrainedMethod[Any]:
    """The method of a run that trains; MissingExtraError where a package that it needs is not installed."""
    method = run.build_method(where)
    require_packages(f"the method '{run.method}'", *method.needs)
    if not isinstance(method, TrainedMethod):
        raise ConfigError(f"{where}: the method '{run.method}' has nothing to train")
    return method


def write_settings(settings: RunConfig | DataConfig, path: Path) -> None:
    """Write a ``config.yaml``, whole or not at all."""
    with atomic(path) as temporary:
        write_yaml(settings.model_dump(mode="json"), temporary)


def read_run(path: Path) -> RunConfig:
    """Read a run's ``config.yaml``."""
    return parse(RunConfig, read_yaml(path), str(path))


def read_data_config(path: Path) -> DataConfig:
    """Read an experiment's ``config.yaml``."""
    return parse(DataConfig, read_yaml(path), str(path))
