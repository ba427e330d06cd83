"""Methods as models: settings, ``fit`` to a path of marginals, then samples, velocities and likelihoods."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from pydantic import BaseModel
from torch import Tensor

from am import plugins
from am.config import ConfigError, merge, nearest, write_yaml
from am.extras import require_packages
from am.io.files import atomic
from am.marginals.marginals import Marginals
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import ActionMethod, Method, Prediction, TrainedMethod, TruthMethod
from am.randomness import derive_seed, generator
from am.runs import build_method
from am.training.arithmetic import arithmetic
from am.training.checkpoint import load_weights, write_tensors
from am.training.devices import launch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Points = Tensor | ArrayLike


class NotFittedError(ValueError):
    """A model that was asked for what only a fitted one knows; its text is one sentence for the user."""


class Model:
    """Any method by its name, as :func:`method_names` lists them, to be fitted to a path.

    Parameters
    ----------
    method
        Its name.
    settings
        The method's settings by keyword. One that stands in a section can be given by its own name: ``iterations``
        for ``training.iterations``. A section can be given as a mapping.

    Raises
    ------
    ConfigError
        There is no such method or setting, or a value is wrong: names the nearest valid choice.
    MissingExtraError
        A package that the method is trained with is not installed: names the command that installs it.

    Examples
    --------
    >>> import am, torch
    >>> clouds = [torch.randn(200, 2), torch.randn(200, 2) + 3]
    >>> model = am.Model("otcfm", iterations=20).fit(am.SnapshotPath(clouds, [0, 1]))
    >>> model.velocity(0.5, clouds[0]).shape
    torch.Size([200, 2])
    """

    def __init__(self, method: str, /, **settings: Any) -> None:
        self._set(method, settings)
        require_packages(f"the method '{method}'", *self.method.needs)

    def _set(self, method: str, settings: Mapping[str, Any]) -> None:
        """All of a model that is not fitted; what only training needs may be missing."""
        self.name = method
        kind: type[Method[Any]] = plugins.load("am.methods", method).METHOD
        self.method = build_method(method, _nested(kind.settings_type, settings, method), method)
        """The method with all its settings."""
        self.network: Any = None
        """What was trained; the path where nothing is."""
        self.losses: list[dict[str, float]] = []
        """Rows of the training log: step, seconds, loss, learning rate, norm of the gradient, parts of the loss."""
        self._log_start: Callable[[Tensor], Tensor] | None = None
        self._dimension = 0
        self._times: list[float] | None = None

    def fit(self, path: Marginals, seed: int = 0, *, state: Path | str | None = None, device: str = "cpu") -> Self:
        """Train on a path; returns the model itself.

        Parameters
        ----------
        path
            Anything with ``dimension`` and ``sample(time, generator)``: see :class:`am.Marginals`.
        seed
            Every random number is a function of it and of the method's name.
        state
            Folder for checkpoints, from which a killed training goes on; none are written by default.
        device
            cpu, cuda, or auto.

        Raises
        ------
        ConfigError
            The method learns from snapshots and the path has none, or there is no such device.
        TrainingError
            Training cannot go on.
        """
        method = self.method
        if method.learns_from == "snapshots" and not isinstance(path, SnapshotPath):
            raise ConfigError(f"{self.name}: it learns from snapshots, so its path must be an am.SnapshotPath")
        network: Any = path if method.learns_from == "snapshots" or isinstance(method, TruthMethod) else None
        if isinstance(method, TrainedMethod):
            fabric = launch(device)
            key = f"{self.name}/{seed}"
            with torch.random.fork_rng(devices=[]), _folder(state) as folder:
                torch.manual_seed(derive_seed(key, "weights"))
                network = method.build(path, generator(key, "build"))
                trained = method.train(network, path, key=key, state=folder, fabric=fabric)
                with trained.log.open(newline="") as file:
                    rows = list(csv.DictReader(file))
            network.load_state_dict(trained.weights)
            network.eval()
            self.losses = [{name: float(value) for name, value in row.items()} for row in rows]
        self.network = network
        log_density = getattr(path, "log_density", None)
        self._log_start = log_density and (lambda x: log_density(x.new_zeros(len(x)), x))
        self._dimension = path.dimension
        self._times = path.times.tolist() if isinstance(path, SnapshotPath) else None
        return self

    def sample(self, start: Points, times: Sequence[float] | Tensor, seed: int = 0) -> Prediction:
        """Push particles, (n, d) at ``times[0]``, to each of ``times``, (T,) increasing in [0, 1].

        Returns
        -------
        Prediction
            ``x`` (T, n, d), of which ``x[0]`` is the start; ``log_weight`` (T, n) or None; ``nfe``.
        """
        x = self._points(start)
        moments = torch.as_tensor(times, dtype=x.dtype, device=x.device)
        rng = generator(self.name, "sample", seed, device=x.device)
        with arithmetic():
            return self.method.sample(self.network, x, moments, rng)

    def velocity(self, t: float | Points, x: Points) -> Tensor:
        """Mean velocity of particles per unit of t at (n, d) points: (n, d); ``t`` is a number or (n,).

        Raises
        ------
        ValueError
            The method does not know it as a field.
        """
        return self._field(self.method.velocity, t, x, "has no velocity field; take small steps with sample")

    def growth_rate(self, t: float | Points, x: Points) -> Tensor:
        """Rate of log-weights per unit of t at (n, d) points: (n,); ``t`` is a number or (n,).

        Raises
        ------
        ValueError
            The method weighs no particles.
        """
        return self._field(self.method.growth_rate, t, x, "weighs no particles; 'uam' does")

    def action(self, t: float | Points, x: Points) -> Tensor:
        """The action s_t(x), (n,), which is known up to a function of t; ``t`` is a number or (n,).

        Closed forms of balanced losses set its mean over q_t to zero at each time.

        Raises
        ------
        ValueError
            The method learns none.
        """

        def value(network: Any, time: Tensor, points: Tensor) -> Tensor | None:
            with torch.no_grad():
                return network(time, points) if isinstance(self.method, ActionMethod) else None

        return self._field(value, t, x, "learns no action; 'am', 'eam', 'uam' and 'cam' do")

    def log_likelihood(
        self,
        x: Points,
        log_start_density: Callable[[Tensor], Tensor] | None = None,
        *,
        time: float = 1.0,
        seed: int | None = None,
    ) -> Tensor:
        """Log-density of the flow at ``time`` and (n, d) points: (n,).

        Parameters
        ----------
        log_start_density
            (n, d) -> (n,), the log-density at t = 0; by default the ``log_density`` of the path, where it has one.
        seed
            None computes the divergence exactly, by d backward passes; a number estimates it along one random
            direction a point (Hutchinson).

        Raises
        ------
        ValueError
            Samples of the method follow no deterministic flow, or the density at t = 0 is not known.
        """
        from am.dynamics.likelihood import log_likelihood
        from am.dynamics.settings import OdeSettings

        points = self._points(x)
        flow = self.method.flow(self.network)
        if flow is None:
            raise ValueError(f"{self.name}: its samples follow no deterministic flow, which a likelihood needs")
        start = log_start_density or self._log_start
        if start is None:
            raise ValueError(f"{self.name}: its path tells no density at t = 0; give log_start_density")
        rng = None if seed is None else generator(self.name, "likelihood", seed, device=points.device)
        with arithmetic():
            return log_likelihood(flow, points, start, OdeSettings(), end=time, generator=rng)[0]

    def save(self, folder: Path | str) -> Path:
        """Write ``settings.yaml`` and, of what trains, ``model.safetensors`` into a folder; returns its path.

        Raises
        ------
        NotFittedError
            There is nothing to save yet.
        ConfigError
            The model is more than its settings and weights: it needs its path again.
        """
        if not self._dimension:
            raise NotFittedError(f"{self.name}: fit it before it is saved")
        if self.network is not None and not isinstance(self.method, TrainedMethod):
            raise ConfigError(f"{self.name}: it is its path, and has nothing else to save")
        folder = Path(folder)
        about = {
            "method": self.name,
            "settings": self.method.settings.model_dump(mode="json"),
            "dimension": self._dimension,
            "times": self._times,
        }
        if isinstance(self.method, TrainedMethod):
            weights = {name: tensor.detach().cpu() for name, tensor in self.network.state_dict().items()}
            load_weights(self.fresh(), weights, self.name)  # what cannot be loaded is not saved
            folder.mkdir(parents=True, exist_ok=True)
            write_tensors(folder / "model.safetensors", weights, {"method": self.name})
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / "settings.yaml") as temporary:
            write_yaml(about, temporary)
        return folder

    @classmethod
    def of(cls, method: str, settings: Mapping[str, Any], dimension: int, times: list[float] | None) -> Model:
        """A model of a path with so many dimensions, and snapshots at these learning times, before it is fitted."""
        kind = next((kind for kind in _Named.__subclasses__() if kind._method == method), Model)
        model = kind.__new__(kind)
        model._set(method, settings)
        model._dimension, model._times = dimension, times
        return model

    def fresh(self) -> Any:
        """A network like the trained one, built without its path: shapes come from settings, the rest is loaded."""
        if not isinstance(self.method, TrainedMethod):
            return None
        rng = generator("stand-in")
        if self._times is None:
            path: Marginals = _StandIn(self._dimension)
        else:
            path = SnapshotPath([torch.randn(2, self._dimension, generator=rng) for _ in self._times], self._times)
        try:
            return self.method.build(path, rng).eval()
        except Exception as error:
            raise ConfigError(f"{self.name}: its network cannot be built without its path ({error})") from error

    def _points(self, x: Points) -> Tensor:
        if not self._dimension:
            raise NotFittedError(f"{self.name}: fit it first")
        device = next((p.device for p in self.network.parameters()), None) if self._trained else None
        points = torch.as_tensor(x, dtype=torch.get_default_dtype(), device=device)
        if points.ndim != 2 or points.shape[1] != self._dimension:
            raise ValueError(f"{self.name}: points must be (n, {self._dimension}), got {tuple(points.shape)}")
        return points

    @property
    def _trained(self) -> bool:
        return isinstance(self.method, TrainedMethod)

    def _field(
        self, field: Callable[[Any, Tensor, Tensor], Tensor | None], t: float | Points, x: Points, lacks: str
    ) -> Tensor:
        points = self._points(x)
        time = torch.as_tensor(t, dtype=points.dtype, device=points.device).expand(len(points))
        with arithmetic():
            found = field(self.network, time, points)
        if found is None:
            raise ValueError(f"{self.name}: it {lacks}")
        return found


class _Named(Model):
    """A model whose method is fixed."""

    _method: ClassVar[str]

    def __init__(self, **settings: Any) -> None:
        super().__init__(self._method, **settings)


class ActionMatching(_Named):
    """Action Matching: the gradient field that moves q_0 along q_t (Neklyudov et al., ICML 2023).

    Settings: ``width`` and ``depth`` of the network, ``iterations``, ``learning_rate``, ``batch_size`` and others of
    training, the loss's ``estimator``. Further ones and errors as of :class:`am.Model`.

    Examples
    --------
    >>> import am, torch
    >>> path = am.Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])
    >>> model = am.ActionMatching(width=16, depth=2, iterations=20).fit(path)
    >>> model.sample(torch.randn(100, 2), [0, 1]).x.shape
    torch.Size([2, 100, 2])
    """

    _method = "am"


class EntropicActionMatching(_Named):
    """The drift of a diffusion of given noise: dx = grad s_t dt + sigma dW (Neklyudov et al., ICML 2023).

    Settings: ``sigma``, in units of length per square root of t, and those of :class:`am.ActionMatching`.

    Examples
    --------
    >>> import am, torch
    >>> path = am.SnapshotPath([torch.randn(200, 2), torch.randn(200, 2) + 3], [0, 1])
    >>> model = am.EntropicActionMatching(sigma=0.5, width=16, depth=2, iterations=20).fit(path)
    >>> model.sample(torch.randn(100, 2), [0, 0.5, 1], seed=1).x.shape
    torch.Size([3, 100, 2])
    """

    _method = "eam"


class UnbalancedActionMatching(_Named):
    """Particles that move and change their weight: dx = grad s_t dt, d log w = lambda s_t dt.

    Neklyudov et al., ICML 2023. Settings: ``growth``, which is lambda, and those of :class:`am.ActionMatching`.

    Examples
    --------
    >>> import am, torch
    >>> clouds = [torch.randn(200, 2), torch.randn(400, 2) + 1]
    >>> path = am.SnapshotPath(clouds, [0, 1], coupling="unbalanced", masses=[200, 400])
    >>> model = am.UnbalancedActionMatching(growth=0.1, width=16, depth=2, iterations=20).fit(path)
    >>> model.growth_rate(0.5, clouds[0]).shape
    torch.Size([200])
    """

    _method = "uam"


class ConvexActionMatching(_Named):
    """Action Matching for a cost of motion that is not kinetic: dx = grad c*(grad s_t) dt.

    Neklyudov et al., ICML 2023. Settings: ``power``, and those of :class:`am.ActionMatching`.

    Examples
    --------
    >>> import am, torch
    >>> path = am.Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])
    >>> am.ConvexActionMatching(width=16, depth=2, iterations=20).fit(path).velocity(0.5, torch.zeros(3, 2)).shape
    torch.Size([3, 2])
    """

    _method = "cam"


class ClosedFormActionMatching(_Named):
    """Action Matching without training: an action that is linear in features, by one linear solve.

    Settings: ``features`` (``waves``, ``bandwidths``, ``degree``) and ``solving`` (``draws``, ``folds``, ``ridges``);
    the loss's ``estimator``. Further ones and errors as of :class:`am.Model`.

    Examples
    --------
    >>> import am, torch
    >>> path = am.Gaussian(mean=lambda t: torch.stack([2 * t, -t], -1), scale=lambda t: 1 + t[:, None])
    >>> model = am.ClosedFormActionMatching(waves=10, draws=500).fit(path)
    >>> model.sample(torch.randn(100, 2), [0, 1]).x.shape
    torch.Size([2, 100, 2])
    """

    _method = "am_closed"


class ClosedFormEntropicActionMatching(_Named):
    """The drift of a diffusion of given noise, by one linear solve.

    Settings: ``sigma``, in units of length per square root of t, and those of :class:`am.ClosedFormActionMatching`.

    Examples
    --------
    >>> import am, torch
    >>> path = am.SnapshotPath([torch.randn(200, 2), torch.randn(200, 2) + 3], [0, 1])
    >>> model = am.ClosedFormEntropicActionMatching(sigma=0.5, waves=10, draws=500).fit(path)
    >>> model.sample(torch.randn(100, 2), [0, 0.5, 1], seed=1).x.shape
    torch.Size([3, 100, 2])
    """

    _method = "eam_closed"


class ClosedFormUnbalancedActionMatching(_Named):
    """Particles that move and change their weight, by one linear solve.

    Settings: ``growth``, which is lambda, and those of :class:`am.ClosedFormActionMatching`.

    Examples
    --------
    >>> import am, torch
    >>> clouds = [torch.randn(200, 2), torch.randn(400, 2) + 1]
    >>> path = am.SnapshotPath(clouds, [0, 1], coupling="unbalanced", masses=[200, 400])
    >>> model = am.ClosedFormUnbalancedActionMatching(growth=0.1, waves=10, draws=500).fit(path)
    >>> model.growth_rate(0.5, clouds[0]).shape
    torch.Size([200])
    """

    _method = "uam_closed"


class IndependentFlowMatching(_Named):
    """Flow matching along lines between independently drawn points (I-CFM: Tong et al., TMLR 2024).

    Settings: ``sigma``, the width of lines; ``width``, ``depth``; those of training.

    Examples
    --------
    >>> import am, torch
    >>> path = am.SnapshotPath([torch.randn(200, 2), torch.randn(200, 2) + 3], [0, 1])
    >>> model = am.IndependentFlowMatching(width=16, depth=2, iterations=20).fit(path)
    >>> density = lambda x: -(x.square() + torch.log(torch.tensor(2 * torch.pi))).sum(-1) / 2
    >>> model.log_likelihood(torch.randn(5, 2) + 3, density).shape
    torch.Size([5])
    """

    _method = "icfm"


class OptimalTransportFlowMatching(_Named):
    """Flow matching along lines of an optimal coupling of each minibatch (OT-CFM: Tong et al., TMLR 2024).

    Settings as of :class:`am.IndependentFlowMatching`.

    Examples
    --------
    >>> import am, torch
    >>> path = am.SnapshotPath([torch.randn(200, 2), torch.randn(200, 2) + 3], [0, 1])
    >>> am.OptimalTransportFlowMatching(width=16, depth=2, iterations=20).fit(path).velocity(0, path.points[0]).shape
    torch.Size([200, 2])
    """

    _method = "otcfm"


class SchroedingerBridgeFlowMatching(_Named):
    """Flow matching along Brownian bridges of an entropic coupling (SB-CFM: Tong et al., TMLR 2024).

    Settings as of :class:`am.IndependentFlowMatching`; ``sigma`` is the noise of the bridges.

    Examples
    --------
    >>> import am, torch
    >>> path = am.SnapshotPath([torch.randn(200, 2), torch.randn(200, 2) + 3], [0, 1])
    >>> am.SchroedingerBridgeFlowMatching(width=16, depth=2, iterations=20).fit(path).velocity(0, path.points[0]).shape
    torch.Size([200, 2])
    """

    _method = "sbcfm"


class ScoreAndFlowMatching(_Named):
    """A diffusion by flow and score along Brownian bridges ([SF]2M: Tong et al., AISTATS 2024).

    Settings as of :class:`am.SchroedingerBridgeFlowMatching`.

    Examples
    --------
    >>> import am, torch
    >>> path = am.SnapshotPath([torch.randn(200, 2), torch.randn(200, 2) + 3], [0, 1])
    >>> am.ScoreAndFlowMatching(width=16, depth=2, iterations=20).fit(path).sample(path.points[0], [0, 1]).x.shape
    torch.Size([2, 200, 2])
    """

    _method = "sf2m"


class NeuralSDE(_Named):
    """A stochastic differential equation that is fitted by simulating it from snapshot to snapshot.

    Settings: ``steps`` a simulation takes between snapshots, and those of training.

    Examples
    --------
    >>> import am, torch
    >>> path = am.SnapshotPath([torch.randn(200, 2), torch.randn(200, 2) + 3], [0, 1])
    >>> model = am.NeuralSDE(training={"iterations": 3, "batch_size": 32, "boundary_batch_size": 32}).fit(path)
    >>> model.sample(path.points[0], [0, 1]).x.shape
    torch.Size([2, 200, 2])
    """

    _method = "neural_sde"


def method_names() -> list[str]:
    """Names of all methods, rivals and controls that :class:`Model` takes.

    Examples
    --------
    >>> import am
    >>> "am" in am.method_names()
    True
    """
    return plugins.names("am.methods")


class _StandIn:
    """A path that has nothing but a dimension."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def sample(self, time: Tensor, generator: torch.Generator) -> Tensor:
        """Standard normal points."""
        return torch.randn(len(time), self.dimension, generator=generator)

    def moving(self, time: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same, and velocities likewise."""
        return self.sample(time, generator), self.sample(time, generator)


@contextmanager
def _folder(state: Path | str | None) -> Iterator[Path]:
    """The folder given, or one for as long as it is needed."""
    if state is not None:
        yield Path(state)
        return
    with TemporaryDirectory(prefix="am-") as folder:
        yield Path(folder)


def _nested(kind: type[BaseModel], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings in their sections: a name that is no field stands in the only section, nearest the top, that has it."""
    nested: dict[str, Any] = {}
    for name, value in given.items():
        level: dict[tuple[str, ...], type[BaseModel]] = {(): kind}
        homes: list[tuple[str, ...]] = []
        while level and not homes:
            homes = [section for section, model in level.items() if name in model.model_fields]
            level = {(*path, field): below for path, model in level.items() for field, below in _sections(model)}
        if len(homes) > 1:
            sections = " or ".join(".".join(home) for home in homes)
            raise ConfigError(f"{where}: '{name}' stands in several sections; give it as a part of {sections}")
        if not homes:
            raise ConfigError(f"{where}: there is no setting '{name}'; {nearest(name, _all_names(kind))}")
        part = {name: value}
        for section in reversed(homes[0]):
            part = {section: part}
        nested = merge(nested, part)
    return nested


def _sections(kind: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in kind.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield name, section


def _all_names(kind: type[BaseModel]) -> set[str]:
    return set(kind.model_fields).union(*(_all_names(section) for _, section in _sections(kind)))
