"""The training loop: one for all methods.

Killed at any moment and started again, it ends with the weights that an uninterrupted run has, bit
for bit on a CPU with the same number of threads: the draws of a step depend on the step alone
(``stream``), and weights, averages, optimiser state and learned times are written together, whole or not at all.
"""

from __future__ import annotations

import csv
import fcntl
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from am.config import Settings
from am.extras import brought_by
from am.io.files import atomic
from am.marginals.marginals import Marginals
from am.randomness import derive_seed
from am.training.arithmetic import arithmetic
from am.training.checkpoint import load_weights, read_tensors, write_tensors
from am.training.devices import Processes, launch, precision
from am.training.fingerprint import fingerprint
from am.training.losses import LossWatch
from am.training.proposal import TimeProposal
from am.training.settings import TrainingSettings
from am.training.stream import Stream

log = logging.getLogger(__name__)

Loss = Callable[[nn.Module, Marginals, Stream], tuple[Tensor, dict[str, Tensor]]]


class _LostError(Exception):
    """Another process does not answer."""


class TrainingError(RuntimeError):
    """Training that cannot go on; its text is one sentence for the user."""


@dataclass(frozen=True)
class Trained:
    """What training leaves."""

    weights: dict[str, Tensor]
    """Averaged weights at the end, and the network's buffers."""
    snapshots: dict[int, dict[str, Tensor]]
    """Averaged weights along the way, by step."""
    log: Path
    """CSV of losses, in the state folder."""
    seconds: float
    """Time spent in steps, over all the runs that this one continued."""


def train(
    network: nn.Module,
    loss: Loss,
    marginals: Marginals,
    settings: TrainingSettings,
    *,
    key: str,
    state: Path,
    fabric: Processes | None = None,
    checkpoint_seconds: float = 30.0,
    tensorboard: Path | None = None,
    digest: str | None = None,
) -> Trained:
    """Train a network, from the last checkpoint in ``state`` if there is one of the same settings and data.

    A checkpoint of other settings or data is replaced by training anew.

    Parameters
    ----------
    network
        Freshly built; its weights are replaced when a checkpoint is found.
    key
        Name of the run: with the step, it determines every random number.
    state
        Folder for the checkpoint, snapshots and log of this run alone.
    fabric
        Where to run; the CPU in this process when None.
    checkpoint_seconds
        At least this long passes between checkpoints; 0 writes one at every step.
    tensorboard
        Folder for TensorBoard events.
    digest
        Of all settings and data that weights depend on. When None it is made of ``key``; ``settings``, but for those
        that change no step; the content of ``marginals``; and the settings of the method that ``loss`` belongs to, but
        for ``sampling``. A ``loss`` that is a plain function does not count: keep a folder for each.

    Raises
    ------
    TrainingError
        The loss is not finite, memory runs out, another process holds ``state``, ``state`` cannot be made, a batch does
        not divide by the number of processes and parts, or SIGTERM or SIGUSR1 came (the last step is saved then).
    CheckpointError
        The checkpoint is corrupt or of another network.
    WriteError
        The disk is full; the last checkpoint stays.
    """
    fabric = fabric or launch("cpu")
    world, parts = fabric.world_size, settings.accumulate
    for name in ("batch_size", "boundary_batch_size"):
        if getattr(settings, name) % (world * parts):
            among = f"{world} processes" + f" x {parts} parts" * (parts > 1)
            raise TrainingError(f"training.{name}: {getattr(settings, name)} does not divide by {among}")
    with arithmetic(settings.matmul_precision), only_run(state, fabric):
        loop = _Loop(network, loss, marginals, settings, key, state, fabric, digest)
        return loop.run(checkpoint_seconds, tensorboard)


class _Loop:
    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        marginals: Marginals,
        settings: TrainingSettings,
        key: str,
        state: Path,
        fabric: Processes,
        digest: str | None,
    ) -> None:
        self.network = network.to(fabric.device)
        self.loss, self.marginals, self.settings = loss, marginals, settings
        self.key, self.state, self.fabric = key, state, fabric
        self.parameters = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.adam = {name: _Adam.of(p) for name, p in self.parameters.items()}
        self.proposal = TimeProposal(fabric.device) if settings.times == "learned" else None
        self.step, self.seconds = 0, 0.0
        self.digest = digest or _depends_on(loss, marginals, settings, key)
        self.checkpoint = state / "checkpoint.safetensors"
        if self.checkpoint.exists():
            self._resume()
        fabric.barrier()

    # -- state -----------------------------------------------------------------------------------

    def _resume(self) -> None:
        tensors, about = read_tensors(self.checkpoint)
        if "step" in about and about.get("digest") != self.digest:
            if self.fabric.is_global_zero:
                log.info("%s: %s is of other settings or data; training begins anew", self.key, self.checkpoint)
            return
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "exp_avg": {}, "exp_avg_sq": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = tensor.to(self.fabric.device)
        load_weights(self.network, groups["weights"], str(self.checkpoint))
        self.average = {name: groups["average"][name] for name in self.parameters}
        self.step, self.seconds = about["step"], about["seconds"]
        if self.proposal is not None:
            self.proposal.moments = groups["proposal"]["moments"]
        for name, average in groups["exp_avg"].items():
            steps = torch.tensor(float(self.step), device=self.fabric.device)
            self.adam[name] = _Adam(steps, average, groups["exp_avg_sq"][name])
        if self.fabric.is_global_zero:
            log.info("%s: continuing from step %d", self.key, self.step)

    def _save(self) -> None:
        tensors = {f"weights/{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, (steps, exp_avg, exp_avg_sq) in self.adam.items():
            tensors[f"average/{name}"] = self.average[name]
            if steps:  # the loss has depended on it
                tensors |= {f"exp_avg/{name}": exp_avg, f"exp_avg_sq/{name}": exp_avg_sq}
        if self.proposal is not None:
            tensors["proposal/moments"] = self.proposal.moments
        about = {"step": self.step, "seconds": self.seconds, "digest": self.digest}
        write_tensors(self.checkpoint, tensors, about)

    def _averaged(self) -> dict[str, Tensor]:
        """Averaged parameters, and buffers as they are."""
        own = self.network.state_dict()
        return {name: self.average.get(name, tensor).detach().cpu() for name, tensor in own.items()}

    def _snapshot_path(self, step: int) -> Path:
        return self.state / f"snapshot-{step:09d}.safetensors"

    # -- the loop --------------------------------------------------------------------------------

    def run(self, checkpoint_seconds: float, tensorboard: Path | None) -> Trained:
        total = self.settings.iterations
        kept = {round(total * (i + 1) / self.settings.snapshots) for i in range(self.settings.snapshots)} - {0}
        started_at, first = time.monotonic(), self.step
        saved_at = shown_at = last = started_at
        main = self.fabric.is_global_zero
        watch = LossWatch()
        with _Log(self.state / "training.csv", self.step, tensorboard, main) as rows, _stop_signals() as received:
            while self.step < total:
                logged = (self.step + 1) % self.settings.log_every == 0 or self.step + 1 == total
                try:
                    row, stop = self._advance(logged, received)
                except _LostError as error:
                    if main:
                        rows.save()
                        self._save()  # where it was before this step
                    raise TrainingError(
                        f"{self.key}: at step {self.step + 1} another process is gone ({error}); step {self.step} is "
                        f"saved, and the same command goes on from there"
                    ) from None
                now = time.monotonic()
                self.seconds, last = self.seconds + now - last, now
                if row:
                    rows.add(self.step, {"seconds": round(self.seconds, 3), **row})
                    if (median := watch.exploded(row["loss"])) is not None and main:
                        log.warning(
                            "%s: at step %d the loss is %.3g, where %.3g is usual: training diverges; lower "
                            "training.learning_rate, or look for extreme data",
                            *(self.key, self.step, row["loss"], median),
                        )
                if main and self.step in kept:
                    write_tensors(self._snapshot_path(self.step), self._averaged(), {"step": self.step})
                if main and (stop or self.step == total or now - saved_at >= checkpoint_seconds):
                    rows.save()
                    self._save()
                    saved_at = time.monotonic()
                if stop:
                    cause = f"signal {received[0]}" if received else "a signal to another process"
                    raise TrainingError(f"{self.key}: stopped by {cause}; step {self.step} is saved")
                if main and row and (now - shown_at > 10 or self.step == total):
                    shown_at = now
                    left = (now - started_at) / (self.step - first) * (total - self.step)
                    log.info("%s: step %d of %d, loss %.4g, %.0f s left", self.key, self.step, total, row["loss"], left)
        snapshots = {}
        if main:
            snapshots = {step: read_tensors(self._snapshot_path(step))[0] for step in sorted(kept)}
        return Trained(self._averaged(), snapshots, self.state / "training.csv", self.seconds)

    def _advance(self, logged: bool, received: list[int]) -> tuple[dict[str, float] | None, bool]:
        """Take a step; returns a row for the log, if wanted, and whether any process has received a signal."""
        settings, fabric = self.settings, self.fabric
        rate = _learning_rate(settings, self.step)
        for parameter in self.parameters.values():
            parameter.grad = None
        value, diagnostics = self._part(0)
        for part in range(1, settings.accumulate):
            more, others = self._part(part)
            value, diagnostics = value + more, {name: sum_ + others[name] for name, sum_ in diagnostics.items()}
        learning = {name: p for name, p in self.parameters.items() if p.grad is not None}
        gradients = [cast(Tensor, p.grad) for p in learning.values()]
        stop = bool(received)
        if fabric.world_size > 1:
            value, diagnostics, stop = self._share(value, diagnostics, gradients, stop)
        if self.proposal is not None:
            self.proposal.seen = self._exchanged(self.proposal.seen, "sum")
            self.proposal.learn()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), settings.clip)
        if not bool(torch.isfinite(norm + value)):
            raise TrainingError(
                f"{self.key}: at step {self.step + 1} the loss is {float(value):.4g} and the norm of its gradient "
                f"{float(norm):.4g}; lower training.learning_rate, or look for extreme data"
            )
        _descend(list(learning.values()), gradients, [self.adam[name] for name in learning], rate, settings.momentum)
        self.step += 1
        decay = min(settings.ema, self.step / (self.step + 9))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.parameters.values()], 1 - decay)
        if not logged:
            return None, stop
        row: dict[str, Any] = {"loss": value, "learning_rate": rate, "gradient_norm": norm, **diagnostics}
        return {name: float(number) for name, number in row.items()}, stop

    def _part(self, part: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the gradients of a part of this process's points; returns its share in loss and diagnostics."""
        settings, fabric, parts = self.settings, self.fabric, self.settings.accumulate
        share, shares = fabric.global_rank * parts + part, fabric.world_size * parts
        sizes = (settings.batch_size, settings.boundary_batch_size)
        stream = Stream(self.key, self.step, *sizes, fabric.device, share, shares, self.proposal)
        try:
            with self._dropout(share), precision(settings.precision, fabric.device):
                value, diagnostics = self.loss(self.network, self.marginals, stream)
            (value / parts).backward()
        except torch.OutOfMemoryError:
            raise TrainingError(
                f"{self.key}: {fabric.device} has too little memory for {settings.batch_size // shares} points at "
                f"once; try training.accumulate: {2 * parts}, which changes nothing but rounding"
            ) from None
        return value.detach() / parts, {name: number.detach() / parts for name, number in diagnostics.items()}

    @contextmanager
    def _dropout(self, share: int) -> Iterator[None]:
        """Let what a network drops depend on the run, the step and the share of points alone."""
        if not any(isinstance(module, nn.Dropout) and module.p for module in self.network.modules()):
            yield
            return
        gpus = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):
            torch.manual_seed(derive_seed(self.key, "dropout", self.step, share))
            yield

    def _exchanged(self, ours: Tensor, operation: str) -> Tensor:
        """The sum or mean over processes."""
        try:
            return cast(Tensor, self.fabric.all_reduce(ours, reduce_op=operation))
        except RuntimeError as error:  # each backend has its own
            raise _LostError(" ".join(str(error).split())[-100:]) from error

    def _share(
        self, value: Tensor, diagnostics: dict[str, Tensor], gradients: list[Tensor], stop: bool
    ) -> tuple[Tensor, dict[str, Tensor], bool]:
        """Replace gradients by their mean over processes; returns the same of loss and diagnostics, and any stop.

        All in one exchange.
        """
        ours = [value, value.new_tensor(float(stop)), *(number.to(value) for number in diagnostics.values())]
        flat = torch.cat([torch.stack(ours), *(g.reshape(-1) for g in gradients)])
        flat = self._exchanged(flat, "mean")
        (value, stopped, *means), rest = flat[: len(ours)], flat[len(ours) :]
        for gradient, part in zip(gradients, rest.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
        return value, dict(zip(diagnostics, means, strict=True)), bool(stopped > 0)


class _Adam(NamedTuple):
    """What Adam remembers of a parameter."""

    steps: Tensor
    """Scalar: steps with a gradient."""
    exp_avg: Tensor
    exp_avg_sq: Tensor

    @classmethod
    def of(cls, parameter: Tensor) -> _Adam:
        moments = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return cls(torch.zeros((), device=parameter.device), *moments)


@torch.no_grad()
def _descend(
    parameters: list[Tensor], gradients: list[Tensor], memory: list[_Adam], rate: float, momentum: float
) -> None:
    """A step of Adam. Making a ``torch.optim.Adam`` would import torch's compiler, which takes 1.2 seconds."""
    steps, exp_avgs, exp_avg_sqs = (list(part) for part in zip(*memory, strict=True))
    adam(
        parameters,
        gradients,
        exp_avgs,
        exp_avg_sqs,
        [],
        steps,
        fused=True,
        amsgrad=False,
        beta1=momentum,
        beta2=0.999,
        lr=rate,
        weight_decay=0.0,
        eps=1e-8,
        maximize=False,
    )


_NO_STEP = {"accumulate", "log_every"}
"""Settings of training that change no step, but for rounding."""


def _depends_on(loss: Loss, marginals: Marginals, settings: TrainingSettings, key: str) -> str:
    """Digest of all that steps depend on, the network and the code left out."""
    method = getattr(getattr(loss, "__self__", None), "settings", None)
    own = method.model_dump(mode="json", exclude={"sampling", "training"}) if isinstance(method, Settings) else None
    return fingerprint([key, settings.model_dump(mode="json", exclude=_NO_STEP), own, marginals])


def _learning_rate(settings: TrainingSettings, step: int) -> float:
    warm = min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.schedule == "constant":
        return settings.learning_rate * warm
    return settings.learning_rate * warm * (1 + math.cos(math.pi * step / settings.iterations)) / 2


class _Log:
    """training.csv, from the step that a run continues at; and TensorBoard, if wanted."""

    def __init__(self, path: Path, step: int, tensorboard: Path | None, main: bool) -> None:
        self._path, self._rows = path, list[dict[str, Any]]()
        self._board: Any = None
        if not main:
            return
        if path.exists():
            with path.open(newline="") as file:
                # What was logged after the last checkpoint will be logged again.
                self._rows += (row for row in csv.DictReader(file) if int(row["step"]) <= step)
        if tensorboard is not None:
            with brought_by("logging", "TensorBoard"):
                from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(tensorboard), purge_step=step + 1)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def add(self, step: int, row: dict[str, float]) -> None:
        self._rows.append({"step": step, **row})
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(name, value, step)

    def save(self) -> None:
        if self._rows:
            with atomic(self._path) as temporary, temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(self._rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(self._rows)


@contextmanager
def only_run(state: Path, fabric: Processes) -> Iterator[None]:
    """Make ``state`` and hold it for this run; the kernel lets go of it however the process ends."""
    refusal: str | None = None
    with ExitStack() as held:
        if fabric.is_global_zero:
            try:
                state.mkdir(parents=True, exist_ok=True)
                fcntl.flock(held.enter_context((state / "lock").open("w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                refusal = f"{state}: another process is training this run"
            except OSError as error:
                refusal = f"{state}: cannot be written to ({str(error.strerror).lower()})"
        refusal = fabric.broadcast(refusal)
        if refusal:
            raise TrainingError(refusal)
        yield


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGUSR1 (what schedulers send before they kill) instead of dying of them."""
    received: list[int] = []
    try:
        before = {s: signal.signal(s, lambda number, _: received.append(number)) for s in _STOP_SIGNALS}
    except ValueError:  # not the main thread
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1) if sys.platform != "win32" else (signal.SIGTERM,)
