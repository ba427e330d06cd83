"""The loop: its arithmetic against a plain implementation, what it writes, and how it stops and goes on."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from am import plugins
from am.config import parse
from am.marginals.gaussian import Gaussian
from am.marginals.marginals import Marginals
from am.marginals.snapshots import SnapshotPath
from am.training.checkpoint import CheckpointError, read_tensors, write_tensors
from am.training.loop import Loss, Trained, TrainingError, train
from am.training.stream import Stream

pytestmark = pytest.mark.trains

Fit = Callable[..., Trained]


def rows(trained: Trained) -> list[dict[str, str]]:
    with trained.log.open(newline="") as file:
        return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same(one: Trained, other: Trained) -> None:
    """Bit for bit."""
    assert one.snapshots.keys() == other.snapshots.keys()
    pairs = [(one.weights, other.weights), *((one.snapshots[k], other.snapshots[k]) for k in one.snapshots)]
    for a, b in pairs:
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name], b[name]), name
    assert rows(one) == rows(other)


def instead(at: int, act: Callable[[Tensor], Tensor], loss: Loss) -> Loss:
    """``loss``, with its value at step ``at`` (from 1) passed through ``act``."""

    def wrapped(network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        value, diagnostics = loss(network, marginals, stream)
        return (act(value) if stream.step + 1 == at else value), diagnostics

    return wrapped


@pytest.fixture(scope="module")
def loss(fit: Any) -> Loss:
    found: Loss = fit.__kwdefaults__["loss"]
    return found


@pytest.fixture(scope="module")
def whole(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An uninterrupted run."""
    return fit(tmp_path_factory.mktemp("whole"))


# -- arithmetic ------------------------------------------------------------------------------------


class Vector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))


SLOPES = torch.tensor([[3.0, -1.0, 0.5], [0.02, 0.01, -0.3], [-40.0, 0.0, 30.0], [0.1, 0.2, -0.2]])


def linear(network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss whose gradient is known at every step, whatever the weights."""
    return SLOPES[stream.step % len(SLOPES)] @ network.value, {"slope": SLOPES[stream.step % len(SLOPES)].sum()}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize(("warmup", "momentum"), [(0, 0.9), (7, 0.9), (7, 0.0)])
def test_steps_are_those_of_adam_with_clipping_warmup_schedule_and_average(
    fit: Fit, tmp_path: Path, schedule: str, warmup: int, momentum: float
) -> None:
    iterations, rate, clip, ema = 30, 0.01, 1.5, 0.8
    trained = fit(
        tmp_path,
        model=Vector(),
        loss=linear,
        iterations=iterations,
        learning_rate=rate,
        warmup=warmup,
        momentum=momentum,
        schedule=schedule,
        clip=clip,
        ema=ema,
        snapshots=4,
        log_every=1,
    )
    value = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    average = value.clone()
    first, second = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    averages, logged = {}, rows(trained)
    assert [int(row["step"]) for row in logged] == list(range(1, iterations + 1))
    for k in range(iterations):
        slope = SLOPES[k % len(SLOPES)].double()
        norm = slope.norm()
        gradient = slope * min(1.0, clip / float(norm))
        first = momentum * first + (1 - momentum) * gradient
        second = 0.999 * second + 0.001 * gradient**2
        step_size = rate * min(1.0, (k + 1) / (warmup + 1))
        if schedule == "cosine":
            step_size *= math.cos(math.pi * k / iterations / 2) ** 2
        assert float(logged[k]["learning_rate"]) == pytest.approx(step_size)
        assert float(logged[k]["gradient_norm"]) == pytest.approx(float(norm))
        assert float(logged[k]["loss"]) == pytest.approx(float(slope @ value), rel=1e-4, abs=1e-5)
        assert float(logged[k]["slope"]) == pytest.approx(float(slope.sum()))
        corrected = first / (1 - momentum ** (k + 1)), second / (1 - 0.999 ** (k + 1))
        value = value - step_size * corrected[0] / (corrected[1].sqrt() + 1e-8)
        # Early on the average is over a tenth of the steps so far.
        decay = min(ema, (k + 1) / (k + 10))
        average = decay * average + (1 - decay) * value
        averages[k + 1] = average
    torch.testing.assert_close(trained.weights["value"].double(), average, rtol=1e-5, atol=1e-6)
    assert sorted(trained.snapshots) == [8, 15, 22, 30]
    for step, weights in trained.snapshots.items():
        torch.testing.assert_close(weights["value"].double(), averages[step], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("iterations", "snapshots", "steps"), [(10, 0, []), (10, 1, [10]), (3, 8, [1, 2, 3])])
def test_snapshots_are_equally_spaced(
    fit: Fit, tmp_path: Path, iterations: int, snapshots: int, steps: list[int]
) -> None:
    trained = fit(tmp_path, iterations=iterations, snapshots=snapshots)
    assert sorted(trained.snapshots) == steps
    if steps:
        assert all(torch.equal(trained.snapshots[iterations][name], w) for name, w in trained.weights.items())


def test_rows_of_the_log_are_as_far_apart_as_asked(whole: Trained) -> None:
    assert [int(row["step"]) for row in rows(whole)] == [*range(4, 40, 4), 40]
    assert {"step", "loss", "learning_rate", "gradient_norm", "boundary", "running"} == set(rows(whole)[0])


def test_training_learns(whole: Trained) -> None:
    losses = [float(row["loss"]) for row in rows(whole)]
    assert losses[-1] < losses[0] - 0.01


def test_the_key_alone_decides_what_is_drawn(fit: Fit, tmp_path: Path, whole: Trained) -> None:
    torch.manual_seed(99)  # the global generator plays no part
    assert_same(fit(tmp_path / "same"), whole)
    other = fit(tmp_path / "other", key="test/small/1")
    assert not torch.equal(other.weights["network.last.weight"], whole.weights["network.last.weight"])


def test_arithmetic_is_that_of_the_settings_while_training_only(fit: Fit, loss: Loss, tmp_path: Path) -> None:
    def denormals() -> bool:
        return sys.float_info.min / 2 > 0

    seen = []

    def spy(network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append((torch.get_float32_matmul_precision(), denormals()))
        return loss(network, marginals, stream)

    assert denormals()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        fit(tmp_path / "a", loss=spy, iterations=2, matmul_precision="medium")
        assert seen == [("medium", False)] * 2
        assert (torch.get_float32_matmul_precision(), denormals()) == ("high", True)
        with pytest.raises(TrainingError):
            fit(tmp_path / "b", loss=instead(1, lambda value: value * math.nan, loss), matmul_precision="medium")
        assert (torch.get_float32_matmul_precision(), denormals()) == ("high", True)
    finally:
        torch.set_float32_matmul_precision(before)


# -- stopping and going on -------------------------------------------------------------------------


def signal_self(number: int) -> Callable[[Tensor], Tensor]:
    def act(value: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return value

    return act


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("at", [1, 13, 40])
def test_a_signal_saves_the_step_and_the_next_run_ends_as_one_that_was_not_stopped(
    fit: Fit, loss: Loss, tmp_path: Path, whole: Trained, number: int, at: int
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(TrainingError, match=f"^test/small/0: stopped by signal {int(number)}; step {at} is saved$"):
        fit(tmp_path, loss=instead(at, signal_self(number), loss))
    assert signal.getsignal(number) is before
    assert read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == at
    drawn = []

    def spy(network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        drawn.append(stream.step)
        return loss(network, marginals, stream)

    assert_same(fit(tmp_path, loss=spy), whole)
    assert drawn == list(range(at, 40))


@pytest.mark.parametrize("times", ["even", "learned"])
def test_stopped_training_goes_on_on_any_device(fit: Fit, loss: Loss, tmp_path: Path, device: str, times: str) -> None:
    whole = fit(tmp_path / "whole", device=device, times=times)
    with pytest.raises(TrainingError, match="step 13 is saved"):
        fit(tmp_path / "cut", loss=instead(13, signal_self(signal.SIGTERM), loss), device=device, times=times)
    again = fit(tmp_path / "cut", device=device, times=times)
    for name, weight in whole.weights.items():  # sums on a GPU may come in another order
        torch.testing.assert_close(again.weights[name], weight, rtol=1e-3, atol=1e-4)
    first, last = (float(rows(again)[k]["loss"]) for k in (0, -1))
    assert last < first


def test_many_stops_in_one_run(fit: Fit, loss: Loss, tmp_path: Path, whole: Trained) -> None:
    for at in (3, 4, 17, 30, 39):
        with pytest.raises(TrainingError, match=f"step {at} is saved"):
            fit(tmp_path, loss=instead(at, signal_self(signal.SIGTERM), loss))
    trained = fit(tmp_path)
    assert_same(trained, whole)
    seconds = [float(line.split(",")[1]) for line in trained.log.read_text().splitlines()[1:]]
    assert seconds == sorted(seconds)
    assert trained.seconds == pytest.approx(seconds[-1], abs=1e-3)


def test_a_finished_run_is_only_read_again(fit: Fit, tmp_path: Path, whole: Trained) -> None:
    fit(tmp_path)

    def fail(*_: object) -> tuple[Tensor, dict[str, Tensor]]:
        raise AssertionError("nothing is left to train")

    assert_same(fit(tmp_path, loss=fail), whole)


class Composite(nn.Module):
    """Has a frozen parameter, one that the loss ignores, and a buffer that training changes."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.full((2,), 7.0), requires_grad=False)
        self.ignored = nn.Parameter(torch.full((2,), 5.0))
        self.register_buffer("count", torch.zeros(()))


def counting(network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
    network.count += 1
    value = SLOPES[stream.step % len(SLOPES)] @ network.value * network.frozen.sum()
    return value + 0.01 * network.value.square().sum(), {}


@pytest.mark.parametrize("parts", [2, 8])
def test_a_step_in_parts_is_the_step(fit: Fit, loss: Loss, tmp_path: Path, whole: Trained, parts: int) -> None:
    sizes: list[int] = []

    def counting(network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        value, diagnostics = loss(network, marginals, stream)
        sizes.append(len(stream.draw(marginals).x))
        return value, diagnostics

    trained = fit(tmp_path, loss=counting, accumulate=parts)
    assert sizes == [16 // parts] * (40 * parts)
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(trained.weights[name], tensor, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(rows(trained), rows(whole), strict=True):
        assert {k: float(v) for k, v in ours.items()} == pytest.approx(
            {k: float(v) for k, v in theirs.items()}, rel=1e-2
        )


def test_points_that_do_not_divide_into_the_parts_are_refused(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"training\.batch_size: 16 does not divide by 1 processes x 3 parts"):
        fit(tmp_path, accumulate=3)


def test_too_little_memory_says_what_to_try_and_keeps_what_was_saved(fit: Fit, loss: Loss, tmp_path: Path) -> None:
    def full(value: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    sentence = r"cpu has too little memory for 8 points at once; try training\.accumulate: 4, which changes nothing but"
    with pytest.raises(TrainingError, match=sentence):
        fit(tmp_path, loss=instead(7, full, loss), accumulate=2, checkpoint_seconds=0)
    assert read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 6


def test_buffers_frozen_and_ignored_parameters_live_on(fit: Fit, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", model=Composite(), loss=counting)
    assert whole.weights["frozen"].tolist() == [7, 7]
    assert whole.weights["ignored"].tolist() == [5, 5]
    assert float(whole.weights["count"]) == 40
    with pytest.raises(TrainingError):
        fit(tmp_path / "a", model=Composite(), loss=instead(11, signal_self(signal.SIGTERM), counting))
    assert_same(fit(tmp_path / "a", model=Composite(), loss=counting), whole)


# -- what is not gone on from ----------------------------------------------------------------------


def never(*_: object) -> tuple[Tensor, dict[str, Tensor]]:
    raise AssertionError("nothing is left to train")


@pytest.mark.parametrize(
    "other",
    [
        {"marginals": Gaussian(lambda t: torch.stack([3 * t, -t], -1), lambda t: (1 + t)[:, None])},
        {"iterations": 30},
        {"iterations": 50},
        {"learning_rate": 2e-3},
        {"batch_size": 32},
        {"snapshots": 1},
        {"key": "test/small/1"},
    ],
    ids=lambda other: next(iter(other)),
)
@pytest.mark.parametrize("killed", [True, False])
def test_other_data_or_settings_are_trained_anew(
    fit: Fit, loss: Loss, tmp_path: Path, caplog: pytest.LogCaptureFixture, other: dict[str, Any], killed: bool
) -> None:
    if killed:
        with pytest.raises(TrainingError, match="step 21 is saved"):
            fit(tmp_path / "a", loss=instead(21, signal_self(signal.SIGTERM), loss))
    else:
        fit(tmp_path / "a")
    caplog.set_level("INFO")
    again = fit(tmp_path / "a", **other)
    assert caplog.text.count("is of other settings or data; training begins anew") == 1
    assert_same(again, fit(tmp_path / "b", **other))
    assert_same(fit(tmp_path / "a", loss=never, **other), again)


@pytest.mark.parametrize("same", [{"log_every": 8}, {"accumulate": 2}], ids=lambda same: next(iter(same)))
def test_what_changes_no_step_is_gone_on_from(fit: Fit, tmp_path: Path, whole: Trained, same: dict[str, Any]) -> None:
    fit(tmp_path)
    again = fit(tmp_path, loss=never, **same)
    assert all(torch.equal(whole.weights[name], tensor) for name, tensor in again.weights.items())


def snapshots(shift: float = 0.0, **options: Any) -> SnapshotPath:
    rng = torch.Generator().manual_seed(0)
    return SnapshotPath([torch.randn(20, 2, generator=rng) + shift * k for k in range(3)], [0, 0.5, 1], **options)


def test_of_a_method_the_settings_count_and_not_its_solver(tmp_path: Path) -> None:
    """And the points of a path, however much of it was used before."""
    given: dict[str, Any] = {
        "potential": {"width": 8, "depth": 2},
        "training": {"iterations": 8, "batch_size": 16, "boundary_batch_size": 8},
    }
    steps: list[int] = []

    def learned(path: SnapshotPath, name: str = "uam", **changed: Any) -> dict[str, Tensor]:
        kind = plugins.load("am.methods", name).METHOD

        class Spied(kind):  # type: ignore[misc, valid-type]
            def loss(self, network: Any, marginals: Any, stream: Stream) -> Any:
                steps.append(stream.step)
                return super().loss(network, marginals, stream)

        method = Spied(parse(kind.settings_type, given | changed, "settings"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = method.build(path, torch.Generator().manual_seed(0))
        return train(network, method.loss, path, method.settings.training, key="key", state=tmp_path).weights

    def trained(path: SnapshotPath, **changed: Any) -> bool:
        steps.clear()
        learned(path, **changed)
        assert steps in ([], [*range(8)])
        return bool(steps)

    path = snapshots(1.0)
    assert trained(path)
    assert not trained(path)
    assert not trained(snapshots(1.0), sampling={"method": "rk4"})
    for other in (snapshots(2.0), snapshots(1.0, coupling="independent"), snapshots(1.0, smoothing=0.1)):
        assert trained(other)
        assert not trained(other)
    assert trained(snapshots(1.0, masses=[1, 2, 3]))
    assert trained(path, growth=0.5)
    assert not trained(path, growth=0.5)


def test_a_loss_that_explodes_is_told_once_while_it_trains(
    fit: Fit, loss: Loss, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def exploding(network: nn.Module, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        value, diagnostics = loss(network, marginals, stream)
        return (value * 1e6 if stream.step >= 27 else value), diagnostics

    fit(tmp_path / "calm", checkpoint_seconds=0)
    assert "diverges" not in caplog.text
    fit(tmp_path / "wild", loss=exploding)
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "test/small/0: at step 28 the loss is" in record.getMessage()
    assert "training diverges; lower training.learning_rate" in record.getMessage()


# -- what cannot go on -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [
        lambda value: value * math.nan,
        lambda value: value * math.inf,
        lambda value: value + math.nan,  # its gradient is finite
    ],
)
def test_a_loss_that_is_not_finite_is_an_error_and_the_last_checkpoint_stays(
    fit: Fit, loss: Loss, tmp_path: Path, whole: Trained, act: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises(TrainingError) as caught:
        fit(tmp_path, loss=instead(23, act, loss), checkpoint_seconds=0)
    text = str(caught.value)
    assert text.startswith("test/small/0: at step 23 the loss is ")
    assert "nan" in text or "inf" in text
    assert "lower training.learning_rate" in text
    assert "\n" not in text
    assert read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 22
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.safetensors",
        "training.csv",
        "lock",
        "snapshot-000000013.safetensors",
    }
    assert_same(fit(tmp_path), whole)


def test_a_state_that_another_process_holds_is_left_alone(fit: Fit, loss: Loss, tmp_path: Path, whole: Trained) -> None:
    with pytest.raises(TrainingError):
        fit(tmp_path, loss=instead(9, signal_self(signal.SIGTERM), loss))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    script = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match=r"another process is training this run$"):
            fit(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    finally:
        holder.kill()
        holder.wait()
    assert_same(fit(tmp_path), whole)


def test_a_state_that_cannot_be_made_is_one_sentence(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"file/state: cannot be written to \(not a directory\)$"):
        fit(tmp_path / "file" / "state")


def test_the_checkpoint_of_another_network_is_refused(fit: Fit, tmp_path: Path) -> None:
    fit(tmp_path, model=Vector(), loss=linear)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: weights of another network: '.*' is missing"):
        fit(tmp_path)


def test_weights_are_no_checkpoint(fit: Fit, tmp_path: Path, whole: Trained) -> None:
    write_tensors(tmp_path / "checkpoint.safetensors", whole.weights)
    with pytest.raises(CheckpointError, match="weights of another network"):
        fit(tmp_path)


# -- TensorBoard -----------------------------------------------------------------------------------


def test_tensorboard_shows_the_rows_of_the_log_each_once(fit: Fit, loss: Loss, tmp_path: Path, whole: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = tmp_path / "board"
    with pytest.raises(TrainingError, match="step 20 is saved"):
        fit(tmp_path / "a", loss=instead(20, signal_self(signal.SIGTERM), loss), tensorboard=board)
    with pytest.raises(TrainingError, match="at step 27 the loss"):
        # Step 24 is logged after the last checkpoint, so it will be logged again.
        fit(tmp_path / "a", loss=instead(27, lambda value: value * math.nan, loss), tensorboard=board)
    trained = fit(tmp_path / "a", tensorboard=board)
    assert_same(trained, whole)
    events = EventAccumulator(str(board))
    events.Reload()
    for name in ("loss", "learning_rate", "gradient_norm", "boundary", "running"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in shown] == [int(row["step"]) for row in rows(trained)]
        assert [value for _, value in shown] == pytest.approx([float(row[name]) for row in rows(trained)])


def test_what_is_dropped_depends_on_the_run_and_the_step_alone(tmp_path: Path, fit: Fit) -> None:
    """Under other global randomness, and through a checkpoint, the same weights; the randomness stays as it was."""

    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Dropout(0.5), nn.Linear(16, 1))
            for i, parameter in enumerate(self.parameters()):
                nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))

    def regression(network: Any, marginals: Marginals, stream: Stream) -> tuple[Tensor, dict[str, Tensor]]:
        sample = stream.draw(marginals)
        target = sample.x.sum(-1, keepdim=True)
        return (network.layers(torch.cat([sample.time[:, None], sample.x], -1)) - target).square().mean(), {}

    def stop(value: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return value

    with torch.random.fork_rng(devices=[]):
        model, before = Dropping(), torch.get_rng_state()
        whole = fit(tmp_path / "whole", model=model, loss=regression)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(5)
        with pytest.raises(TrainingError, match="is saved"):
            fit(tmp_path / "parts", model=Dropping(), loss=instead(10, stop, regression))
        assert_same(fit(tmp_path / "parts", model=Dropping(), loss=regression), whole)
        other = fit(tmp_path / "other", model=Dropping(), loss=regression, key="test/other/0")
    assert not torch.equal(other.weights["layers.0.weight"], whole.weights["layers.0.weight"])
