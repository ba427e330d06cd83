"""Tables agree with independent computations from the same rows."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from am.io import provenance, tidy
from am.io.tidy import METRIC_COLUMNS, TableError
from am.report import tables
from am.report.estimates import next_value
from am.report.labels import Label
from am.report.published import Published

LABELS = [Label("am", "AM"), Label("ald", "ALD | SM"), Label("oracle", "oracle", control=True)]
TIMES = [k * 0.1 for k in range(1, 11)]  # 0.30000000000000004 among them
SIZES = {time: 1000 + 10 * k for k, time in enumerate(TIMES)}


def rows(method: str, seeds: int, level: float, rng: np.random.Generator, times: list[float] = TIMES) -> pd.DataFrame:
    return pd.DataFrame(
        [
            ("hydrogen", method, seed, time, "mmd", level * rng.lognormal(), SIZES[time])
            for seed in range(seeds)
            for time in times
        ],
        columns=METRIC_COLUMNS,
    )


@pytest.fixture
def metrics() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.concat(
        [rows("am", 3, 4e-4, rng), rows("ald", 1, 5e-2, rng, TIMES[:5]), rows("oracle", 4, 3e-4, rng)],
        ignore_index=True,
    ).sample(frac=1, random_state=rng)


@pytest.fixture
def floor() -> pd.DataFrame:
    frame = rows("floor", 40, 3e-4, np.random.default_rng(2))
    frame["time"] = frame["time"].map(lambda t: float(f"{t:.1f}"))
    return frame


def of(table: pd.DataFrame, method: str) -> pd.Series:
    (row,) = [row for _, row in table.iterrows() if row["method"] == method]
    return row


def test_the_luck_of_shared_cells_widens_intervals(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    am = metrics[metrics["method"] == "am"]
    blocks = pd.concat(
        [am.assign(value=am["value"] * shift, block=block) for block, shift in enumerate(rng.normal(1, 0.5, 10))]
    )
    alone, both = (tables.summarise("hydrogen", metrics, floor, LABELS, blocks=given) for given in (None, blocks))
    values = [of(alone, "am")["mean"] * shift for shift in np.random.default_rng(3).normal(1, 0.5, 10)]
    assert of(both, "am")["cells_se"] == pytest.approx(math.sqrt(0.9 * 10) * np.std(values))
    assert of(both, "am")["high"] - of(both, "am")["low"] > of(alone, "am")["high"] - of(alone, "am")["low"]
    assert math.isnan(of(both, "oracle")["cells_se"])
    assert of(both, "oracle")["high"] == of(alone, "oracle")["high"]
    times = tables.summarise_times("hydrogen", metrics, floor, LABELS, blocks)
    assert set(times[times["cells_se"].notna()]["method"]) == {"am"}


def test_the_luck_of_the_sampler_is_that_within_seeds(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    """Draws differ by what is known; seeds differ by far more, and that does not count."""
    am = metrics[metrics["method"] == "am"].assign(value=lambda rows: rows["value"] + rows["seed"])
    shifts = {0: (-1e-4, 1e-4), 1: (-2e-4, 2e-4), 2: (-3e-4, 3e-4)}
    draws = pd.concat(
        [
            am.assign(
                value=am["value"] + am["seed"].map({seed: ends[draw] for seed, ends in shifts.items()}), draw=draw
            )
            for draw in range(2)
        ]
    )
    summary = tables.summarise("hydrogen", metrics, floor, LABELS, draws=draws)
    expected = math.sqrt(mean(2 * step**2 for step in (1e-4, 2e-4, 3e-4)))
    assert of(summary, "am")["sampler_sd"] == pytest.approx(expected, rel=1e-6)
    assert math.isnan(of(summary, "ald")["sampler_sd"])
    over_time = tables.summarise_times("hydrogen", metrics, floor, LABELS, draws=draws)
    assert over_time[over_time["method"] == "am"]["sampler_sd"].to_list() == pytest.approx([expected] * 10, rel=1e-6)
    (row,) = [line for line in tables.markdown(summary).splitlines() if line.startswith("| AM")]
    assert row.split(" | ")[3].split(", ")[1:] == ["3.06e-04", "—"]


def seed_means(metrics: pd.DataFrame, method: str) -> list[float]:
    by_seed: dict[int, list[float]] = {}
    for row in metrics.to_dict("records"):
        if row["method"] == method:
            by_seed.setdefault(row["seed"], []).append(row["value"])
    return [mean(values) for values in by_seed.values()]


def test_intervals_are_student_t_over_seeds_of_means_over_times(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    summary = tables.summarise("hydrogen", metrics, floor, LABELS)
    for method, seeds in (("am", 3), ("oracle", 4)):
        expected = seed_means(metrics, method)
        interval = stats.ttest_1samp(expected, 0).confidence_interval(0.95)
        row = of(summary, method)
        assert row["seeds"] == seeds
        assert row["mean"] == pytest.approx(mean(expected), rel=1e-12)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (of(summary, "am")["n_samples_min"], of(summary, "am")["n_samples_max"]) == (1000, 1090)


def test_one_seed_has_a_mean_and_no_interval(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    row = of(tables.summarise("hydrogen", metrics, floor, LABELS), "ald")
    assert row["mean"] == pytest.approx(seed_means(metrics, "ald")[0])
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])


def test_the_floor_is_taken_at_the_times_and_sizes_of_the_method(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    summary = tables.summarise("hydrogen", metrics, floor, LABELS)
    for method, until in (("am", 1.01), ("ald", 0.51)):
        repeats = seed_means(floor[floor["time"] < until], "floor")
        row = of(summary, method)
        assert row["floor_repeats"] == 40
        assert row["floor_mean"] == pytest.approx(mean(repeats))
        assert row["floor_sd"] == pytest.approx(stdev(repeats))
        reach = stats.t.ppf(0.975, 39) * stdev(repeats) * math.sqrt(1 + 1 / 40)
        assert (row["floor_low"], row["floor_high"]) == pytest.approx((mean(repeats) - reach, mean(repeats) + reach))
    resized = floor.assign(n_samples=500)
    assert math.isnan(of(tables.summarise("hydrogen", metrics, resized, LABELS), "am")["floor_mean"])
    # A repeat that misses a time would bias the mean over times.
    assert of(tables.summarise("hydrogen", metrics, floor[:-1], LABELS), "am")["floor_repeats"] == 39


def test_a_mean_below_the_floor_is_flagged_and_marked(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    summary = tables.summarise("hydrogen", metrics, floor.assign(value=floor["value"] * 10), LABELS)
    assert list(summary.set_index("method")["beyond_floor"][["am", "ald", "oracle"]]) == [True, False, True]
    lines = tables.markdown(summary).splitlines()
    assert [("(!)" in line) for line in lines if line.startswith(("| AM", "| ALD"))] == [True, False]


def test_where_higher_is_better_it_is_above_the_floor_that_is_too_good(
    metrics: pd.DataFrame, floor: pd.DataFrame
) -> None:
    for scale, flags in ((1000, [False, False, False]), (0.1, [True, True, True])):
        scaled = floor.assign(value=floor["value"] * scale)
        summary, over_time = (
            table("hydrogen", metrics, scaled, LABELS, higher={"mmd"})
            for table in (tables.summarise, tables.summarise_times)
        )
        assert list(summary["beyond_floor"]) == flags
        assert set(summary["better"]) == set(over_time["better"]) == {"higher"}
        assert not (over_time["beyond_floor"] & (over_time["mean"] < over_time["floor_high"])).any()
        for text in (tables.markdown(summary, "p"), tables.markdown_times(over_time, "p")):
            assert text.startswith("**hydrogen, mmd**, higher is better (protocol p)\n")
    assert "higher is better (protocol" not in tables.markdown(
        tables.summarise("hydrogen", metrics, floor, LABELS), "p"
    )


def test_what_is_not_a_number_is_not_averaged_away(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    metrics.loc[metrics.index[metrics["method"] == "am"][0], "value"] = math.nan
    row = of(tables.summarise("hydrogen", metrics, floor, LABELS), "am")
    assert math.isnan(row["mean"])
    assert math.isnan(row["low"])
    assert row["seeds"] == 3


def test_seeds_that_cannot_be_averaged_are_refused(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    one = metrics.index[metrics["method"] == "am"][0]
    for broken in (metrics.drop(one), pd.concat([metrics, metrics.loc[[one]]])):
        with pytest.raises(TableError, match="mmd of am"):
            tables.summarise("hydrogen", broken, floor, LABELS)
    metrics.loc[one, "n_samples"] = 7
    with pytest.raises(TableError, match="mmd of am"):
        tables.summarise("hydrogen", metrics, floor, LABELS)


def test_a_method_without_a_label_is_not_left_out_silently(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    with pytest.raises(TableError, match="'oracle'"):
        tables.summarise("hydrogen", metrics, floor, LABELS[:2])


def test_every_method_has_a_row_with_controls_first(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    labels = [*LABELS, Label("eam", "eAM")]
    lost = Published(method="eam", metric="w1", confidence="not recovered", source="s", claim="c")
    summary = tables.summarise("hydrogen", metrics, floor, labels, [lost])
    assert list(summary["method"]) == ["oracle", "am", "ald", "eam"] * 2
    assert list(summary["metric"]) == ["mmd"] * 4 + ["w1"] * 4
    assert of(summary[summary["metric"] == "mmd"], "eam")["seeds"] == 0
    text = tables.markdown(summary)
    assert "| eAM | not run | 0 | — | — | — | — | — | not recovered |" in text.splitlines()


def test_other_experiments_are_left_out(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    other = metrics.assign(experiment="other", value=1e9)
    mixed = tables.summarise("hydrogen", pd.concat([metrics, other]), floor, LABELS)
    pd.testing.assert_frame_equal(mixed, tables.summarise("hydrogen", metrics, floor, LABELS))


def test_a_metric_without_times_has_a_mean(floor: pd.DataFrame) -> None:
    fid = pd.DataFrame(
        [("images", "am", seed, math.nan, "fid", 3.0 + seed, 50_000) for seed in range(3)], columns=METRIC_COLUMNS
    )
    frame = tables.summarise("images", fid, floor, LABELS[:1])
    assert of(frame, "am")["mean"] == 4
    assert of(frame, "am")["low"] == pytest.approx(4 - stats.t.ppf(0.975, 2) / math.sqrt(3))
    assert len(tables.summarise_times("images", fid, floor, LABELS[:1])) == 0


def test_times_are_judged_one_by_one(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    over_time = tables.summarise_times("hydrogen", metrics, floor, LABELS)
    assert len(over_time) == 10 + 5 + 10
    row = over_time[(over_time["method"] == "am") & (over_time["time"] == 0.3)].iloc[0]
    values = metrics[(metrics["method"] == "am") & np.isclose(metrics["time"], 0.3)]["value"]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((mean(values), interval.low, interval.high))
    assert row["n_samples"] == 1020
    here = floor[floor["time"] == 0.3]["value"]
    assert (row["floor_mean"], row["floor_low"]) == pytest.approx((mean(here), next_value(here)[0]))

    lines = [line.split(" | ") for line in tables.markdown_times(over_time).splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert lines[0][2:5] == ["t = 0.1", "t = 0.2", "t = 0.3"]
    assert lines[-1][0] == "| *floor*"
    assert lines[-2][-1].startswith("—")  # ALD stops at 0.5


def test_costs_come_from_the_records_beside_the_metrics(tmp_path: Path, metrics: pd.DataFrame) -> None:
    paths = []
    for seed in range(3):
        path = tmp_path / f"seed{seed}" / "metrics.csv"
        mine = metrics[(metrics["method"] == "am") & (metrics["seed"] == seed)]
        tidy.write_tidy(mine, path)
        if seed:  # an external method leaves no record
            record = provenance.collect(
                code_digest="",
                config_sha256="",
                data=[],
                files=[],
                device="cpu",
                seed=seed,
                started=datetime.now(UTC),
                nfe=30 + seed,
                train_seconds=100.0 * seed,
            )
            provenance.write_provenance(record, path.with_name("provenance.json"))
        paths.append(path)
    costs = tables.costs_of({path: tidy.read_metrics([path]) for path in paths})
    row = of(tables.summarise("hydrogen", tidy.read_metrics(paths), metrics[:0], LABELS[:1], costs=costs), "am")
    assert row["nfe"] == 31.5
    assert row["train_seconds"] == 150
    assert math.isnan(row["sample_seconds"])


def test_markdown_holds_whatever_titles_hold(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    text = tables.markdown(tables.summarise("hydrogen", metrics, floor, LABELS))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert any("ALD \\| SM" in line for line in lines)


def test_published_values_stand_beside_ours(metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    entry = Published(
        method="am",
        metric="mmd",
        value=5.66e-4,
        spread=3.06e-4,
        spread_of="checkpoints",
        confidence="official",
        source="s",
        claim="c",
    )
    text = tables.markdown(tables.summarise("hydrogen", metrics, floor, LABELS, [entry]))
    (line,) = [line for line in text.splitlines() if line.startswith("| AM")]
    assert "5.66e-04 ± 3.06e-04 over checkpoints (official)" in line


def test_a_table_is_written_with_its_origin(tmp_path: Path, metrics: pd.DataFrame, floor: pd.DataFrame) -> None:
    summary = tables.summarise("hydrogen", metrics, floor, LABELS)
    source = tmp_path / "metrics.csv"
    tidy.write_tidy(metrics, source)
    csv, markdown = tmp_path / "out" / "table.csv", tmp_path / "out" / "table.md"
    tables.write_table(summary, tables.markdown(summary), csv, markdown, provenance.origin([source], "c0de"))
    back = pd.read_csv(csv, float_precision="round_trip")
    assert list(back["mean"]) == list(summary["mean"])
    for path in (csv, markdown):
        side = json.loads(provenance.sidecar(path).read_text())
        assert side["sha256"] == provenance.file_sha256(path)
        assert side["inputs"] == {source.as_posix(): provenance.file_sha256(source)}
    assert sorted(p.name for p in csv.parent.iterdir()) == [
        "table.csv",
        "table.csv.provenance.json",
        "table.md",
        "table.md.provenance.json",
    ]
