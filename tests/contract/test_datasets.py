"""What holds of every data set: points of the right times, from the generator alone, and nothing learned twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from am import plugins
from am.data.snapshots import DataError, Snapshots, read_snapshots
from am.datasets.contract import Dataset
from am.marginals.finite import FiniteMarginals
from am.marginals.marginals import Marginals, ScoredMarginals
from am.metrics.settings import Energy
from am.randomness import generator
from am.runs import DataConfig, Evaluation, write_settings
from am.steps.prepare import prepare

N = 400
FEW = 20
NAMES = plugins.names("am.datasets")
every_dataset = pytest.mark.parametrize("name", NAMES)
Prepare = Callable[..., Path]


def dataset_named(name: str) -> Dataset:
    kind = plugins.load("am.datasets", name).DATASET
    dataset: Dataset = kind(kind.settings_type())
    try:
        dataset.sources()
    except DataError as error:
        pytest.skip(str(error))
    return dataset


def two_times(name: str) -> tuple[float, float]:
    """Two times that there are points at."""
    observed = dataset_named(name).observed or (0.5, 1.0)
    return observed[-2], observed[-1]


@every_dataset
def test_each_interval_between_snapshots_has_an_equal_share_of_time(name: str) -> None:
    kind = plugins.load("am.datasets", name).DATASET
    observed = kind(kind.settings_type()).observed
    if observed is not None:
        np.testing.assert_allclose(observed, np.linspace(0, 1, len(observed)), rtol=0, atol=1e-12)


def many_times(path: Marginals) -> Tensor:
    """Times to ask a path for; where points are finite, fewer than there are."""
    if isinstance(path, FiniteMarginals):
        return torch.tensor(list(path.points)).repeat_interleave(FEW)
    return torch.linspace(0, 1, N)


@pytest.fixture
def prepared(name: str, tmp_path: Path) -> Prepare:
    """Prepare the data set, as the workflow does, for seeds and times."""

    def run(seeds: tuple[int, ...] = (0,), times: tuple[float, ...] | None = None) -> Path:
        settings: dict[str, Any] = dataset_named(name).settings.model_dump(mode="json")
        evaluation = Evaluation(
            times=times or two_times(name), n_samples=FEW, metrics=(Energy(),), snapshot_times=3, snapshot_size=30
        )
        config, out = tmp_path / "config.yaml", tmp_path / f"{seeds}{times}.h5ad"
        write_settings(
            DataConfig(experiment="e", seeds=(0,), dataset={"name": name, **settings}, evaluation=evaluation), config
        )
        prepare(config, out, seeds)
        return out

    return run


@pytest.fixture(params=["marginals", "truth"])
def path(request: pytest.FixtureRequest, name: str, prepared: Prepare) -> Marginals:
    """What is learned from, and what it is judged against."""
    return getattr(dataset_named(name), request.param)(prepared())


def separation(x: Tensor, y: Tensor) -> float:
    """Probability that two samples of one distribution are at least so far apart, by permutations: energy distance."""
    distance = torch.cdist(torch.cat([x, y]), torch.cat([x, y])).double()
    sign = torch.cat([torch.full((len(x),), 1 / len(x)), torch.full((len(y),), -1 / len(y))]).double()
    rng = generator("permutations")
    signs = torch.stack([sign, *(sign[torch.randperm(len(sign), generator=rng)] for _ in range(499))])
    energies = -torch.einsum("pi,ij,pj->p", signs, distance, signs)
    return float((energies >= energies[0]).double().mean())


@every_dataset
def test_points_have_the_coordinates_that_it_names(name: str, path: Marginals) -> None:
    columns, time = dataset_named(name).columns, many_times(path)
    assert len(set(columns)) == len(columns) == path.dimension
    x = path.sample(time, generator("sample"))
    assert x.shape == (len(time), path.dimension)
    assert x.dtype == torch.float32
    assert bool(x.isfinite().all())
    if isinstance(path, ScoredMarginals):
        score = path.score(time, x)
        assert score.shape == x.shape
        assert bool(score.isfinite().all())


@every_dataset
@pytest.mark.usefixtures("name")
def test_the_generator_is_the_only_randomness(path: Marginals) -> None:
    time = many_times(path)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        first = path.sample(time, generator("sample"))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(1)
        assert torch.equal(path.sample(time, generator("sample")), first)
    assert not torch.equal(path.sample(time, generator("other")), first)


@every_dataset
@pytest.mark.usefixtures("name")
def test_each_point_has_its_own_time_whatever_stands_beside_it(path: Marginals) -> None:
    n = FEW if isinstance(path, FiniteMarginals) else N
    early, late = torch.zeros(n), torch.full((n,), 1.0 if n == FEW else 0.5)
    mixed = path.sample(torch.stack([early, late], -1).flatten(), generator("mixed"))
    alone = [path.sample(time, generator("alone", i)) for i, time in enumerate((early, late))]
    assert separation(mixed[::2], alone[0]) > 0.01
    assert separation(mixed[1::2], alone[1]) > 0.01
    assert separation(mixed[::2], mixed[1::2]) < 0.01


@every_dataset
def test_points_of_a_seed_and_a_time_do_not_depend_on_others(name: str, prepared: Prepare) -> None:
    many, one = read_snapshots(prepared((0, 1))), read_snapshots(prepared((1,), (1.0,)))
    for time in (0.0, 1.0):
        np.testing.assert_array_equal(many.test(1, time), one.test(1, time))
        # Cells that are all there is are split once for all seeds.
        finite = isinstance(dataset_named(name).truth(), FiniteMarginals)
        assert np.array_equal(many.test(0, time), many.test(1, time)) == finite

    def training(data: Snapshots) -> Any:
        return data.x[data.split == "train"]

    np.testing.assert_array_equal(training(many), training(one))


@every_dataset
@pytest.mark.usefixtures("name")
def test_no_point_is_both_learned_from_and_judged_by(prepared: Prepare) -> None:
    data = read_snapshots(prepared((0,)))
    learned, judging = ({row.tobytes() for row in data.x[data.split == split]} for split in ("train", "test"))
    assert learned
    assert judging
    assert not learned & judging
