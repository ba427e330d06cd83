"""``am fit`` says whether a fit is any good: beside no dynamics, the noise floor, and what its weights are worth."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData, read_h5ad
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from am.cells.page import quality_page
from am.cells.quality import SPLITS, Interval, Weights, intervals, summary, table, too_few, verdicts
from am.config import read_yaml, write_yaml
from am.io.samples import Samples
from am.marginals.snapshots import SnapshotPath
from am.methods.contract import Prediction
from am.metrics.energy import energy_distance
from am.report.figures.trajectories import trajectories
from am.steps.fit_inputs import read_inputs

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")


def normal(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift


def measured(push: Callable[..., Prediction], points: list[torch.Tensor], scale: float = 1.0) -> list[Interval]:
    knots = [k / (len(points) - 1) for k in range(len(points))]
    return intervals(push, points, knots, [10.0 * knot for knot in knots], scale, "key", CPU)


def still(x: torch.Tensor, begin: float, end: float) -> Prediction:
    return Prediction(torch.stack([x, x]), None, 0)


def test_distances_are_those_of_the_metric_in_the_units_of_the_basis() -> None:
    x, y = normal(60, 3, 0), normal(80, 3, 1, shift=2.0)
    found = measured(lambda x, *_: Prediction(torch.stack([x, x + 2]), None, 1), [x, y], scale=7.0)[0]
    assert found.pushed == pytest.approx(7 * energy_distance(x + 2, y))
    assert found.still == pytest.approx(7 * energy_distance(x, y))
    assert found.pushed < found.floor < found.still
    assert not found.fails
    assert (found.begin, found.end, found.cells) == (0.0, 10.0, 60)


@pytest.mark.parametrize("n", [60, 7])
def test_intervals_are_those_of_the_jackknife_by_hand(n: int) -> None:
    x, y = normal(n, 3, 0), normal(80, 3, 1, shift=2.0)
    trained = SnapshotPath([normal(50, 3, 2), normal(50, 3, 3, shift=2.0)], [0, 1])
    log_weight = torch.linspace(-1, 1, n)

    def push(x: torch.Tensor, *_: float) -> Prediction:
        return Prediction(torch.stack([x, x + 2]), torch.stack([0 * log_weight, log_weight]), 1)

    (found,) = intervals(push, [x, y], [0, 1], [0, 1], 7.0, "key", CPU, trained)
    blocks = min(10, n)

    def without(block: int) -> list[float]:
        a, b = (torch.arange(len(z)) % blocks != block for z in (x, y))
        pushed, still = energy_distance(x[a] + 2, y[b], log_weight[a]), energy_distance(x[a], y[b])
        return [pushed, still, still - pushed]

    values = 7 * np.array([without(block) for block in range(blocks)])
    errors = np.sqrt((blocks - 1) * values.var(0)) * stats.t.ppf(0.975, blocks - 1)
    assert found.gained is not None
    gained = (found.gained[1] - found.gained[0]) / 2
    assert [found.reach["pushed"], found.reach["no_dynamics"], gained] == pytest.approx(errors, rel=1e-4)
    assert sum(found.gained) / 2 == pytest.approx(found.still - found.pushed)


def test_the_page_opens_with_the_verdict_and_shows_what_strangers_wrote_as_text() -> None:
    worse = Interval(2, 4, 0.9, 0.5, 0.1, 30, Weights(2, 4, 30, 6.0), 0.02, (-0.7, -0.1), {"pushed": 0.2}, 0.25)
    about = {"settings": {"growth": 1.0}, "time_key": "day", "basis": "X_<b>", "masses": "counts"}
    about |= {"chosen": "uam, waves 50", "tried": ["uam, waves 50: distance 0.3 (above the least by 0.0 +- 0.0)"]}
    page = quality_page({"<i>": [worse], "wt": [worse]}, about, verdicts([worse], "day"))
    words = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    body = " ".join(html.unescape(words).split())
    assert body.split("How far to believe this fit ")[2].startswith("From day 2 to 4: worse than no dynamics; do not")
    assert "2 to 4 worse 0.900 [0.700, 1.100] 0.500 0.100 -0.400 [-0.700, -0.100] 0.0200 25 % 6.00 ( 20 % ) 30" in body
    assert "uam, waves 50 (chosen) 0.3 (above the least by 0.0 +- 0.0 )" in body
    assert "taken for how many there are" in body
    assert "X_<b>" in body
    assert "<i>" in body
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r"<(b|i)>|(src|href)=\"(?!data:)", page)


@pytest.mark.parametrize("weighed", [False, True])
def test_the_page_explains_the_columns_that_it_has(weighed: bool) -> None:
    """Whatever the settings of a method that weighs cells are called."""
    one = Interval(2, 4, 0.3, 0.5, 0.1, 30, Weights(2, 4, 30, 6.0) if weighed else None)
    about = {"settings": {"delta": 1.0}, "time_key": "day", "basis": "X_pca", "masses": "equal"}
    page = quality_page({None: [one]}, about, verdicts([one], "day"))
    assert ("What growth means here" in page) == weighed
    assert ("<strong>Effective sample size</strong>" in page) == weighed
    assert "<strong>Pushed forward</strong>" in page
    for word in ("Nearer by", "Outside", "Control: transport", "Brackets"):  # of cells that were held out
        assert word not in page


def test_weights_count() -> None:
    """Half of the cells are where the next snapshot is, and carry all weight."""
    x = torch.cat([normal(50, 2, 0), normal(50, 2, 1, shift=9.0)])
    log_weight = torch.cat([torch.zeros(50), torch.full((50,), -60.0)])
    found = measured(
        lambda x, *_: Prediction(torch.stack([x, x]), torch.stack([0 * log_weight, log_weight]), 1),
        [x, normal(100, 2, 2)],
    )[0]
    assert found.pushed < 0.1 < found.still
    assert found.weights is not None
    assert found.weights.effective == pytest.approx(50)


def test_the_floor_holds_95_of_100_distances_between_two_samples_of_one_truth() -> None:
    """Of fresh samples as large as the parts that it splits; the second largest of 39 is their quantile on the mean."""
    above = 0
    for seed in range(200):
        y = normal(80, 2, 3 * seed)
        floor = measured(still, [normal(80, 2, 3 * seed + 1), y])[0].floor
        above += energy_distance(normal(40, 2, 50_000 + seed), normal(40, 2, 90_000 + seed)) > floor
    assert SPLITS == 39
    assert 1 <= above <= 24  # of 10 on the mean; the binomial law leaves this range once in ten thousand cases


def test_no_better_than_no_dynamics_is_said_of_the_intervals_where_it_is_so() -> None:
    x, y, z = normal(60, 2, 0), normal(60, 2, 1, shift=3.0), normal(60, 2, 2, shift=6.0)
    found = measured(
        lambda x, begin, _: Prediction(torch.stack([x, x + (3 if begin == 0 else -3)]), None, 1), [x, y, z]
    )
    assert [(one.begin, one.end, one.verdict) for one in found] == [
        (0.0, 5.0, "noise"),
        (5.0, 10.0, "worse"),
        (0.0, 10.0, "nearer"),
    ]
    worst, *_ = verdicts(found, "day")
    assert worst == "from day 5 to 10: worse than no dynamics; do not interpret"
    assert "do not" not in " ".join(verdicts(found[:1], "day"))


def test_cells_that_diverge_fail() -> None:
    x = normal(30, 2, 0)
    found = measured(lambda x, *_: Prediction(torch.stack([x, x * torch.inf]), None, 1), [x, x + 1])[0]
    assert np.isnan(found.pushed)
    assert found.fails


def test_a_population_that_does_not_move_is_no_failure() -> None:
    found = measured(still, [normal(60, 2, 0), normal(60, 2, 1)])[0]
    assert found.still <= found.floor
    assert not found.fails


@pytest.mark.parametrize(("share", "warns"), [(0.05, True), (0.2, False)])
def test_weights_that_are_worth_too_few_cells_are_named(share: float, warns: bool) -> None:
    n = 200
    log_weight = torch.full((n,), -40.0)
    log_weight[: int(share * n)] = 0
    sentence = too_few([Weights.of(2, 6, log_weight)], "a smaller 'growth' in --settings moves more", "day")
    assert (sentence is not None) == warns
    if sentence:
        assert sentence.startswith(
            "from day 2 to 6 the weights of 200 cells are worth 10 (effective sample size, below"
        )


def test_effective_cells_are_missing_where_there_are_no_weights() -> None:
    plain = Interval(0, 1, 0.1, 0.2, 0.05, 30, None)
    assert "effective_cells" not in table([plain])
    weighted = Interval(1, 2, 0.1, 0.2, 0.05, 30, Weights(1, 2, 30, 17.0))
    assert table([plain, weighted])["effective_cells"] == [pytest.approx(np.nan, nan_ok=True), 17.0]


# -- the command ---------------------------------------------------------------------------------------


def growing() -> AnnData:
    """Four clones in ten dimensions, two of which multiply by five while all of them drift: blood in small."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(4, 10)) * 2
    parts = [(day, k, int(n)) for day, counts in ((2, [40] * 4), (4, [100, 100, 20, 20])) for k, n in enumerate(counts)]
    x = np.concatenate([places[k] * (1 + 0.1 * day) + 0.5 * rng.normal(size=(n, 10)) for day, k, n in parts])
    table_ = AnnData(np.zeros((len(x), 1), np.float32))
    table_.obs["day"] = np.repeat([day for day, _, _ in parts], [n for *_, n in parts])
    table_.obsm["X_pca"] = x
    return table_


SMALL = {
    "potential": {"width": 32, "depth": 2},
    "training": {"batch_size": 128, "boundary_batch_size": 128, "warmup": 10, "learning_rate": 3e-3, "ema": 0.98},
}


@pytest.fixture
def fit(am: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(*options: object, own: dict[str, Any] | None = None, iterations: int = 250) -> Any:
        growing().write_h5ad(tmp_path / "my.h5ad")
        write_yaml(SMALL | (own or {}), tmp_path / "settings.yaml")
        given = ("--time-key", "day", "--settings", tmp_path / "settings.yaml", "--out", tmp_path / "out")
        return am(
            "fit",
            tmp_path / "my.h5ad",
            "--method",
            "am",
            *given,
            "--accelerator",
            "cpu",
            "--iterations",
            iterations,
            *options,
        )

    return run


@pytest.mark.parametrize("method", ["am", "eam", "uam"])
def test_what_is_chosen_for_cells_is_better_than_no_dynamics(fit: Any, tmp_path: Path, method: str) -> None:
    told = fit("--method", method, "--held-out", 0)
    assert told.code == 0
    quality = pd.read_csv(tmp_path / "out" / "quality.csv")
    assert (quality["pushed"] < 0.5 * quality["no_dynamics"]).all()
    if method == "uam":
        assert (quality["effective_cells"] > 0.3 * quality["cells"]).all()
    assert "do not interpret" not in told.out
    lines = told.out.splitlines()
    assert lines[-3].split() == ["from", "to", "pushed", "forward", "no", "dynamics", "noise", "floor"]
    assert lines[-2].split()[:2] == ["2", "4"]
    assert float(lines[-2].split()[2]) == pytest.approx(quality["pushed"][0], rel=0.01, abs=1e-3)


def test_no_terminal_breaks_a_number_of_the_summary() -> None:
    one = Interval(begin=-1e6, end=12345.6, pushed=-1.234e-5, still=123456.0, floor=9.99e-5, cells=9, weights=None)
    head, *lines = summary({"a condition whose name is long" * 5: [one], "B": [one, one]}, "X_pca").splitlines()
    assert "X_pca" in head
    assert [line for line in lines if line.endswith(":")] == ["a condition whose name is long" * 5 + ":", "B:"]
    shown = [line for line in lines[1:] if not line.endswith(":")]
    assert all(line.split() == ["-1e+06", "12345.6", "-1.23e-05", "1.23e+05", "9.99e-05"] for line in shown)
    assert len(shown) == 3
    assert max(map(len, shown)) < 80


def test_who_descends_from_few_cells_is_told_so(am: Any, tmp_path: Path) -> None:
    """Of two clones the one of 8 cells becomes nearly all of 200: the weights are worth about as many cells."""
    rng = np.random.default_rng(0)
    clones = np.repeat([0, 1, 0, 1], [8, 192, 190, 10])
    cells = AnnData(np.zeros((400, 1), np.float32))
    cells.obs["day"] = np.repeat([0.0, 1.0], 200)
    cells.obsm["X_pca"] = 8.0 * clones[:, None] + rng.normal(size=(400, 2))
    cells.write_h5ad(tmp_path / "my.h5ad")
    write_yaml(SMALL | {"growth": 3.0}, tmp_path / "settings.yaml")
    given = ("--settings", tmp_path / "settings.yaml", "--out", tmp_path / "out", "--iterations", 200)
    told = am(
        "fit",
        tmp_path / "my.h5ad",
        "--time-key",
        "day",
        "--method",
        "uam",
        "--held-out",
        0,
        "--relaxation",
        0.1,
        *given,
    )
    assert told.code == 0
    quality = pd.read_csv(tmp_path / "out" / "quality.csv")
    assert (quality["effective_cells"] < 20).all(), quality
    assert "the weights of 200 cells are worth" in told.out
    assert "(effective sample size, below a tenth): do not interpret the weights" in told.out


@pytest.mark.parametrize("form", ["", "_closed"])
def test_forms_of_one_method_start_from_the_same_settings(tmp_path: Path, form: str) -> None:
    """How an action is found does not change which settings suit cells."""
    growing().write_h5ad(tmp_path / "my.h5ad")
    uam, eam = (read_inputs(tmp_path / "my.h5ad", "day", "pca", f"{name}{form}") for name in ("uam", "eam"))
    assert (uam.about()["settings"]["growth"], uam.coupling) == (0.05, "unbalanced")
    assert (eam.about()["settings"]["sigma"], eam.coupling) == (0.1, "optimal")


def test_growth_costs_the_same_whichever_method_weighs_cells(tmp_path: Path) -> None:
    growing().write_h5ad(tmp_path / "my.h5ad")
    uam, wfr = (read_inputs(tmp_path / "my.h5ad", "day", "pca", name).about()["settings"] for name in ("uam", "wfr_fm"))
    assert 1 / wfr["delta"] ** 2 == pytest.approx(uam["growth"], rel=0.02)


def test_coupling_and_relaxation_are_reached(fit: Any, tmp_path: Path) -> None:
    assert fit("--method", "uam", "--relaxation", 3, iterations=2).code == 0
    settings = read_yaml(tmp_path / "out" / "settings.yaml")
    assert (settings["coupling"], settings["relaxation"]) == ("unbalanced", 3)
    assert fit("--method", "am", "--coupling", "independent", "--overwrite", iterations=2).code == 0
    assert read_yaml(tmp_path / "out" / "settings.yaml")["coupling"] == "independent"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--relaxation", 2), "--relaxation is of an unbalanced coupling, and this one is optimal; give --coupling"),
        (
            ("--method", "trajectorynet", "--coupling", "optimal"),
            "the method 'trajectorynet' joins cells by itself and cannot use",
        ),
        (("--method", "uam", "--relaxation", -1), "--relaxation -1: it must be a positive number; 1 is the default"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(
    am: Any, tmp_path: Path, options: tuple[object, ...], expected: str
) -> None:
    growing().write_h5ad(tmp_path / "my.h5ad")
    assert (
        expected in am("fit", tmp_path / "my.h5ad", "--time-key", "day", "--out", tmp_path / "out", *options).sentence
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", ["--method uma", "--time-key dai", "--basis tsne", "--where colour=red"])
def test_a_mistake_in_a_name_costs_no_torch(tmp_path: Path, words: str) -> None:
    growing().write_h5ad(tmp_path / "my.h5ad")
    program = (
        "import sys\n"
        "from am import cli\n"
        f"sys.argv = ['am', 'fit', 'my.h5ad', '--time-key', 'day', *{words.split()}]\n"
        "try:\n    cli.main()\n"
        "finally:\n    print('torch' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout == "False\n"
    assert run.stderr.count("\n") == 1


def test_the_copy_tells_quality_and_the_unit_of_time(am: Any, tmp_path: Path) -> None:
    cells = growing()
    cells.obs["day"] = cells.obs["day"].map("{}h".format)
    cells.write_h5ad(tmp_path / "my.h5ad")
    write_yaml(SMALL, tmp_path / "settings.yaml")
    given = ("--settings", tmp_path / "settings.yaml", "--out", tmp_path / "out", "--iterations", 2)
    assert (
        am("fit", tmp_path / "my.h5ad", "--method", "am", "--time-key", "day", "--accelerator", "cpu", *given).code == 0
    )
    told = read_h5ad(tmp_path / "out" / "my_am.h5ad").uns["am"]
    assert told["time_unit"] == read_yaml(tmp_path / "out" / "settings.yaml")["time_unit"] == "hours"
    quality = pd.read_csv(tmp_path / "out" / "quality.csv")
    assert told["quality"]["no_dynamics"].to_numpy() == pytest.approx(quality["no_dynamics"].to_numpy())


# -- the figure ----------------------------------------------------------------------------------------


def test_the_figure_says_what_dots_are_and_shows_the_first_snapshot() -> None:
    """The first snapshot lies below the others; its colour must be seen all the same."""
    rng = np.random.default_rng(0)
    x, time = rng.normal(size=(900, 2)), np.repeat([0.0, 1.0, 100.0], 300)
    lines = np.stack([x[:5], x[:5] + 1])
    figure = trajectories(Samples(x, time), [("m", [(np.array([0.0, 100.0]), lines)])], ["a", "b"], time="day (hours)")
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        "observed, coloured by time",
        "start of a path",
        "end of a path",
    ]
    bar = figure.axes[-1]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0", "1", "100"]
    places = bar.get_yticks()
    assert np.diff(places) == pytest.approx([1, 1])  # evenly, so that labels of close times do not overlap
    assert bar.get_ylabel() == "snapshot at day (hours)"
    colours = figure.axes[0].collections[0].get_facecolors()
    kinds, counts = np.unique(colours.round(6), axis=0, return_counts=True)
    assert len(kinds) == 3
    assert set(counts) == {300}
    last = colours[-90:].round(6)  # what is drawn last hides what is below
    assert len(np.unique(last, axis=0)) == 3


def test_dots_are_as_large_as_their_weights() -> None:
    x, time = np.random.default_rng(0).normal(size=(40, 2)), np.repeat([0.0, 1.0], 20)
    lines, weights = np.stack([x[:3], x[:3] + 1]), np.array([0.1, 0.9, 2.0])
    course = [("m", [(np.array([0.0, 1.0]), lines)])]
    figure = trajectories(Samples(x, time), course, ["a", "b"], weights=weights)
    FigureCanvasAgg(figure).draw()
    dots = figure.axes[0].collections[-1]
    assert dots.get_sizes() / dots.get_sizes()[0] == pytest.approx(weights / weights[0])
    assert figure.legends[0].get_texts()[-1].get_text() == "end of a path (area: weight)"
