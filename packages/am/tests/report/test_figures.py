"""Figures show the numbers they were given, and carry where these come from."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image
from PIL.PdfParser import PdfParser

from am.experiment_files import ExperimentFiles
from am.experiments import Project, ResolvedExperiment
from am.io.provenance import Origin, file_sha256, sidecar
from am.io.samples import Samples
from am.io.snapshots import DataError
from am.io.tidy import HISTORY_COLUMNS, METRIC_COLUMNS
from am.report.estimates import next_value
from am.report.figures.animation import animation
from am.report.figures.captions import CAPTIONS
from am.report.figures.grid import grid
from am.report.figures.histograms import histograms
from am.report.figures.image_rows import image_rows
from am.report.figures.metric_over_iterations import metric_over_iterations
from am.report.figures.metric_over_time import metric_over_time
from am.report.figures.planes import Planes
from am.report.figures.saving import save_animation, save_figure
from am.report.figures.style import looks
from am.report.figures.training_losses import training_losses
from am.report.figures.trajectories import trajectories
from am.report.labels import Label
from am.steps import draw

LABELS = [Label("am", "AM"), Label("ald", "ALD"), Label("none", "no dynamics", control=True)]
ROOT = Path(__file__).parents[4]
# Long, and with characters that formats escape.
ORIGIN = Origin(
    inputs={f"results/a ({k})\\é/metrics.csv": f"{k:064x}" for k in range(30)}, commit="c" * 40, code_digest="d" * 64
)


def history(n_samples: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            ("e", method, seed, iteration, "mmd", rng.lognormal(), n_samples)
            for method in ("am", "ald")
            for seed in range(3)
            for iteration in range(100, 1100, 100)
        ],
        columns=HISTORY_COLUMNS,
    )


def metrics(methods: tuple[str, ...], seeds: int, n_samples: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        [
            ("e", method, seed, 0.1 * k, "mmd", rng.lognormal(-3), n_samples)
            for method in methods
            for seed in range(seeds)
            for k in range(1, 11)
        ],
        columns=METRIC_COLUMNS,
    )


def line(figure: Figure, label: str) -> Line2D:
    (found,) = [line for line in figure.axes[0].lines if line.get_label() == label]
    return found


def height(line: Line2D) -> list[float]:
    return list(np.asarray(line.get_ydata(), float))


def words(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_captions_are_of_all_figures_and_read_the_same_on_both_pages() -> None:
    assert set(CAPTIONS) == set(draw.FIGURES)
    for caption in CAPTIONS.values():
        page = publish_parts(caption, writer="html", settings_overrides={"report_level": 5})
        assert caption.endswith(".")
        assert " ".join(page["body"].split()) == f"<p>{caption}</p>"


def test_iterations_show_means_seeds_and_the_floor() -> None:
    rows, floor = history(), metrics(("floor",), 40)
    figure = metric_over_iterations(rows, floor, LABELS, "mmd", "MMD", metrics(("none",), 2))
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    for method, label in (("am", "AM"), ("ald", "ALD")):
        mine = rows[rows["method"] == method]
        expected = [mine[mine["iteration"] == i]["value"].mean() for i in range(100, 1100, 100)]
        assert height(line(figure, label)) == pytest.approx(expected)
        colour = line(figure, label).get_color()
        thin = [other for other in axes.lines if other.get_color() == colour and other.get_linewidth() < 1]
        assert {tuple(height(seed)) for seed in thin} == {
            tuple(mine[mine["seed"] == seed]["value"]) for seed in range(3)
        }
    assert height(line(figure, "no dynamics")) == pytest.approx([metrics(("none",), 2)["value"].mean()] * 2)
    (band,) = axes.patches
    repeats = [floor[floor["seed"] == seed]["value"].mean() for seed in range(40)]
    low, high = next_value(pd.Series(repeats))
    assert isinstance(band, Rectangle)
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((low, high))


def test_a_mean_needs_every_seed() -> None:
    rows = history()
    late = (rows["seed"] == 2) & (rows["iteration"] > 500)
    figure = metric_over_iterations(rows[~late], metrics(("floor",), 40), LABELS, "mmd", "MMD")
    assert list(np.asarray(line(figure, "AM").get_xdata())) == [100, 200, 300, 400, 500]


@pytest.mark.parametrize(("n_samples", "shown"), [(500, "floor, 95 %"), (499, "(no floor at these sizes)")])
def test_a_floor_of_other_sizes_is_not_shown(n_samples: int, shown: str) -> None:
    floor = metrics(("floor",), 40, n_samples)
    for figure in (
        metric_over_iterations(history(), floor, LABELS, "mmd", "MMD"),
        metric_over_time(metrics(("am",), 3), floor, LABELS, "mmd", "MMD"),
    ):
        assert words(figure)[-1] == shown


def test_values_that_are_not_positive_are_not_hidden_by_a_log_axis() -> None:
    rows = history()
    rows.loc[0, "value"] = -0.1
    (axes,) = metric_over_iterations(rows, metrics(("floor",), 40), LABELS, "mmd", "MMD").axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < -0.1


def test_time_shows_means_and_the_floor_at_each_time() -> None:
    rows, floor = metrics(("am", "none"), 3), metrics(("floor",), 40)
    floor["time"] = floor["time"].round(1)  # as another program may have written it
    figure = metric_over_time(rows, floor, LABELS, "mmd", "MMD", "time (s)")
    mine = rows[rows["method"] == "am"]
    expected = [mine[np.isclose(mine["time"], 0.1 * k)]["value"].mean() for k in range(1, 11)]
    assert height(line(figure, "AM")) == pytest.approx(expected)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "time (s)"
    assert axes.get_title(loc="left") == "MMD"
    band = axes.collections[0].get_paths()[0].vertices
    for k in range(1, 11):
        values = floor[np.isclose(floor["time"], 0.1 * k)]["value"]
        edges = np.asarray(band)[np.isclose(np.asarray(band)[:, 0], 0.1 * k), 1]
        assert (edges.min(), edges.max()) == pytest.approx(next_value(values))


def test_losses_have_a_panel_a_method_that_outliers_do_not_flatten() -> None:
    rng = np.random.default_rng(0)
    step = np.arange(20_000)
    runs = [
        pd.DataFrame({"method": method, "seed": seed, "step": step, "loss": level + rng.normal(size=len(step))})
        for method, level in (("am", -5.0), ("ald", 100.0))
        for seed in range(2)
    ]
    runs[0].loc[[0, 15_000], "loss"] = 1e9
    figure = training_losses(pd.concat(runs, ignore_index=True), LABELS)
    panels: dict[str, Axes] = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == ["AM", "ALD"]
    for axes, level in zip(panels.values(), (-5, 100), strict=True):
        low, high = axes.get_ylim()
        assert level - 3 < low < level - 1
        assert level + 1 < high < level + 3
        assert len(axes.lines) == 2
        for seed in axes.lines:
            np.testing.assert_allclose(height(seed), level, atol=0.5)
            assert np.asarray(seed.get_xdata(), float)[-1] == pytest.approx(20_000, rel=0.02)


def test_a_method_looks_the_same_everywhere() -> None:
    labels = [Label(f"m{k}", "") for k in range(12)]
    controls = [Label(f"c{k}", "", control=True) for k in range(3)]
    among = looks([*controls, *labels])
    for label in [*labels, *controls]:
        assert looks([label]) == {label.method: among[label.method]}
        red, green, blue = to_rgb(among[label.method].colour)
        assert (red == green == blue) is label.control


def test_methods_that_are_seen_together_are_told_apart_by_colour_up_to_six_and_by_colour_or_marker_beyond() -> None:
    """Where this fails for a new method or experiment, another salt in ``figures/style.py`` is to be found."""
    names = list(ExperimentFiles(ROOT / "config"))
    for scale in ("laptop", "paper"):
        for experiment in Project(ROOT / "config", {"scale": scale, "experiments": names}).experiments.values():
            seen = [look for name, look in looks(experiment.labels()).items() if name in methods(experiment)]
            colours = {look.colour for look in seen}
            assert len(colours) == len(seen) or len(seen) > 6, experiment.name
            assert len({(look.colour, look.marker) for look in seen}) == len(seen), experiment.name


def methods(experiment: ResolvedExperiment) -> set[str]:
    return {label.method for label in experiment.labels() if not label.control}


def cloud(n: int = 4000, times: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0), d: int = 3, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n * len(times), d)) * np.arange(1, d + 1)).astype("f4")
    return Samples(x, np.repeat(times, n))


TIMES = (0.2, 0.4, 0.6, 0.8, 1.0)


def texts(figure: Figure) -> dict[str, Bbox]:
    """Where all that is written stands, in pixels; of numbers along axes, those of the scale of colours alone."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    along = {
        label
        for axes in figure.axes
        if not hasattr(axes, "_colorbar")
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    found = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    found = [text for text in found if text not in along]
    return {f"{k} {text.get_text()}": text.get_window_extent(canvas.get_renderer()) for k, text in enumerate(found)}


LONG = "Langevin dynamics on the true score, conditional"


def histograms_with_long_titles(times: Sequence[float], d: int) -> Figure:
    models = [(LONG, cloud(times=times, d=d))] * 2
    return histograms(cloud(times=times, d=d), models, times, ["Kdm2b gene"] * d, "counts")


def trajectories_at_uneven_times(count: int) -> Figure:
    course = (np.linspace(0, 10080, 9), np.cumsum(np.ones((9, 20, 2)), 0))
    truth = cloud(times=(0.0, 5.0, 15.0, 60.0, 1440.0, 10080.0), d=2)
    weights = np.ones(20) if count == 1 else None
    return trajectories(truth, [("uAM, closed form", [course])] * count, ["pca 1", "pca 2"], "counts", "day", weights)


ROWS = [(LONG, np.zeros((8, 3 * 16))), ("truth", np.zeros((8, 3 * 16)))]
FIGURES: dict[str, Callable[[], Figure]] = {
    **{
        f"{len(times)} times of {d}": partial(histograms_with_long_titles, times, d)
        for times in ((0.2,), (0.2, 1.0), TIMES)
        for d in (2, 3)
    },
    **{f"{count} of paths": partial(trajectories_at_uneven_times, count) for count in (1, 4)},
    "rows": lambda: image_rows(ROWS, (3, 4, 4), ["t = 0.1"] * 8),
    "grid": lambda: grid(ROWS, (3, 4, 4)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_that_is_written_is_cut_off_or_runs_into_other_words(name: str) -> None:
    figure = FIGURES[name]()
    found, page = texts(figure), figure.bbox
    for words, place in found.items():
        assert page.x0 - 1 <= place.x0, words
        assert place.x1 <= page.x1 + 1, words
        assert page.y0 - 1 <= place.y0, words
        assert place.y1 <= page.y1 + 1, words
    for (one, first), (other, second) in combinations(found.items(), 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), (one, other)


def test_densities_count_points_in_cells_of_the_window() -> None:
    truth, model = cloud(), cloud(seed=1)
    planes = Planes.of(truth, TIMES, ("x", "y", "z"))
    inside = (truth.x > planes.low) & (truth.x < planes.high)
    assert inside.mean() == pytest.approx(0.998, abs=1e-4)
    assert max(np.max([d.max() for d in planes.densities(truth, t)]) for t in TIMES) == pytest.approx(1)

    edge = np.linspace(planes.low, planes.high, len(planes.densities(model, 0.4)[0]) + 1)
    across, up = 27, 20
    for (i, j), density in zip(combinations(range(3), 2), planes.densities(model, 0.4), strict=True):

        def share(x: Any, i: int = i, j: int = j) -> float:
            cell = (edge[across] <= x[:, i]) & (x[:, i] < edge[across + 1])
            return float((cell & (edge[up] <= x[:, j]) & (x[:, j] < edge[up + 1])).mean())

        peak = max(
            np.histogram2d(x[:, i], x[:, j], [edge, edge])[0].max() / len(x) for x in (truth.at(t)[0] for t in TIMES)
        )
        assert share(model.at(0.4)[0]) > 0
        assert density[up, across] == pytest.approx(share(model.at(0.4)[0]) / peak)


@pytest.mark.parametrize(("n", "bins"), [(24, 8), (100, 10), (350, 18), (5000, 50)])
def test_few_points_are_counted_in_few_cells(n: int, bins: int) -> None:
    truth = cloud(n=n, d=5)
    planes = Planes.of(truth, TIMES, ("a", "b", "c", "d", "e"))
    assert [density.shape for density in planes.densities(truth, 0.4)] == 3 * [(bins, bins)]


def test_weights_count() -> None:
    truth = cloud()
    left = truth.x[:, 0] < 0
    weighted = Samples(truth.x, truth.time, np.where(left, 1000.0, 950.0).astype("f4"))
    planes = Planes.of(truth, TIMES, ("x", "y", "z"))
    plane = planes.densities(weighted, 0.2)[0]
    bins = len(plane)
    assert plane[:, bins // 2 + 1 :].sum() < 1e-12
    assert plane[:, : bins // 2].sum() > 0.1


def test_points_outside_of_the_window_are_told() -> None:
    truth = cloud()
    x = truth.x.copy()
    x[::4, 2] = 1e3
    planes = Planes.of(truth, TIMES, ("x", "y", "z"))
    assert planes.outside(truth, 0.2) == ["", "", ""]
    assert planes.outside(Samples(x, truth.time), 0.2) == ["", "25 % outside", "25 % outside"]


@pytest.mark.parametrize(("d", "planes"), [(2, 1), (3, 3), (5, 3)])
def test_histograms_put_the_truth_above_each_model(d: int, planes: int) -> None:
    truth, model = cloud(d=d), cloud(d=d, seed=1)
    columns = [f"c{k}" for k in range(d)]
    figure = histograms(truth, [("AM", model), ("eAM", model)], TIMES, columns, "m")
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 3 * planes * 5
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    assert heights["truth"] > heights["AM"] > heights["eAM"]
    assert [axes.get_title() for axes in panels if axes.get_title()] == [f"$t$ = {t:g}" for t in TIMES]
    assert sum("(m)" in axes.get_xlabel() for axes in panels) == 1
    for one, other in combinations(panels, 2):
        assert not one.get_position().overlaps(other.get_position())


def test_a_model_without_points_at_a_time_is_refused() -> None:
    with pytest.raises(DataError, match=r"0\.6"):
        histograms(cloud(), [("AM", cloud(times=(0.2, 0.4)))], TIMES, "xyz")


def draw_all(folder: Path) -> list[Path]:
    """One figure of each format."""
    figure = metric_over_iterations(history(), metrics(("floor",), 40), LABELS, "mmd", "MMD")
    paths = [folder / f"figure.{suffix}" for suffix in ("pdf", "png", "gif")]
    for path in paths[:2]:
        save_figure(figure, path, ORIGIN)
    save_animation(animation(cloud(), [("AM", cloud(seed=1))], "xyz"), 300, paths[2], ORIGIN)
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_all(tmp_path_factory.mktemp("figures"))


def test_files_carry_their_origin(files: list[Path]) -> None:
    pdf, png, gif = files
    with PdfParser(str(pdf)) as parser:
        assert json.loads(str(parser.info.Keywords)) == ORIGIN
        assert b"Creator" in parser.info
        assert b"CreationDate" not in parser.info
    with Image.open(png) as image:
        assert json.loads(image.info["Provenance"]) == ORIGIN
    with Image.open(gif) as image:
        assert json.loads(image.info["comment"]) == ORIGIN
    for path in files:
        side = json.loads(sidecar(path).read_text())
        assert side == {**ORIGIN, "file": path.name, "sha256": file_sha256(path)}
    assert len(list(pdf.parent.iterdir())) == 6


def test_the_animation_is_small_loops_and_moves(files: list[Path]) -> None:
    gif = files[2]
    assert gif.stat().st_size < 3_000_000
    with Image.open(gif) as image:
        assert image.n_frames == 5  # type: ignore[attr-defined]
        assert image.info["loop"] == 0
        assert image.info["duration"] == 300
        frames = []
        for k in range(5):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
    assert all((one != other).any() for one, other in combinations(frames, 2))
    assert (frames[0][:3, :3] == 255).all()  # a small palette must not tint the paper


def test_an_animation_of_one_plane_fits_a_screen_with_all_methods() -> None:
    """A row for each of a dozen methods was seven thousand pixels high."""
    models = [(f"a method with a rather long name, {k}", cloud(200, d=2, seed=k)) for k in range(12)]
    frame, *_ = animation(cloud(200, d=2), models, "xy")
    assert frame.height < 1.5 * frame.width
    (frame, *_), (three, *_) = (animation(cloud(200, d=d), [("AM", cloud(200, d=d))], "xyz"[:d]) for d in (2, 3))
    assert frame.width == three.width == 675
    assert frame.height < 675


def test_the_same_content_gives_the_same_bytes_on_any_day_and_for_any_user(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsavefig.dpi: 40\naxes.facecolor: red\n")
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_figures import draw_all
draw_all(Path(sys.argv[1]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "7", "MPLCONFIGDIR": str(tmp_path), "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "again")], env=environment, check=True)
    for path in files:
        assert file_sha256(path) == file_sha256(tmp_path / "again" / path.name), path.name


def test_another_format_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.pdf or \.png"):
        save_figure(Figure(), tmp_path / "a.jpg", ORIGIN)
    assert list(tmp_path.iterdir()) == []
