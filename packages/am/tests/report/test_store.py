"""The store of reference results: what was written is read, the same rows give the same bytes, others stay."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from am.io.tidy import BLOCK_COLUMNS, METRIC_COLUMNS, TableError
from am.report.store import Kept, environment, read_environments, read_kept, write_kept

VERSIONS = {"python": "3.11.7", "torch": "2.14.1"}
NAME = environment(VERSIONS)


def metrics(run: str, seed: int, value: float = 0.1, experiment: str = "e") -> pd.DataFrame:
    rows = [(experiment, run, seed, time, "mmd", value * time, 50) for time in (0.5, 1.0)]
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def record(run: str, seed: str, experiment: str = "e") -> dict[str, str]:
    told = {"experiment": experiment, "method": run, "seed": seed, "sample_code": "c0de", "environment": NAME}
    return {**told, "train_seconds": "1.5", "sample_seconds": "", "nfe": "30"}


def kept(folder: Path, *runs: tuple[str, int], value: float = 0.1, experiment: str = "e") -> Kept:
    """With a record of each run, and the floor; in the folder of ``e``, whose variant the experiment may be."""
    floor = [metrics("floor", seed, experiment=experiment) for seed in (0, 1)]
    table = pd.concat([*(metrics(run, seed, value, experiment) for run, seed in runs), *floor])
    records = {(run, str(seed)): record(run, str(seed), experiment) for run, seed in runs}
    return Kept(folder / "store/laptop/e", experiment, {"metrics.csv": table.reset_index(drop=True)}, records)


def with_blocks(one: Kept, *runs: tuple[str, int]) -> Kept:
    blocks = pd.concat([metrics(run, seed, experiment=one.experiment).assign(block=3) for run, seed in runs])
    return replace(one, tables={**one.tables, "blocks.csv.gz": blocks[list(BLOCK_COLUMNS)]})


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    one = kept(tmp_path, ("am", 0), ("am", 10), ("am", 2), value=1 / 3)
    write_kept([one], {NAME: VERSIONS})
    again = read_kept(one.folder)["e"]
    assert again.keys == [("am", "0"), ("am", "2"), ("am", "10"), ("floor", "")]
    measured = again.measured([("am", 10), ("am", 0)])
    assert measured.metrics["seed"].tolist() == [10, 10, 0, 0]  # in the order that is asked for
    assert measured.metrics["value"].tolist() == [1 / 6, 1 / 3] * 2
    assert measured.floor["seed"].tolist() == [0, 0, 1, 1]
    costs = pd.DataFrame({"experiment": "e", "method": "am", "seed": [10, 0], "nfe": 30.0, "train_seconds": 1.5})
    pd.testing.assert_frame_equal(measured.costs, costs.assign(sample_seconds=float("nan")))
    assert read_environments(tmp_path / "store/environments.csv") == {NAME: VERSIONS}
    assert again.edited == []


def test_the_same_rows_give_the_same_bytes_in_whatever_order_they_come(tmp_path: Path) -> None:
    runs = [("am", 0), ("am", 1), ("oracle", 0)]
    for place, ordered in (("one", runs), ("other", runs[::-1])):
        write_kept([with_blocks(kept(tmp_path / place, *ordered), *ordered)], {NAME: VERSIONS})
    assert content(tmp_path / "one") == content(tmp_path / "other")
    assert set(content(tmp_path / "one/store")) == {
        *("environments.csv", "laptop/e/metrics.csv", "laptop/e/blocks.csv.gz", "laptop/e/runs.csv")
    }


def test_gzip_tells_no_time(tmp_path: Path) -> None:
    one = with_blocks(kept(tmp_path, ("am", 0)), ("am", 0))
    write_kept([one], {})
    packed = (one.folder / "blocks.csv.gz").read_bytes()
    assert packed[3:8] == bytes(5)  # no flags, so no name; and time 0
    assert gzip.decompress(packed).startswith(b"experiment,method,seed,time,metric,value,n_samples,block\ne,am,0,0.5")


def test_a_file_whose_rows_stay_is_not_written_again(tmp_path: Path) -> None:
    """So another release of zlib changes nothing in git."""
    one = with_blocks(kept(tmp_path, ("am", 0)), ("am", 0))
    write_kept([one], {})
    file = one.folder / "blocks.csv.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), compresslevel=1, mtime=5))
    before = file.read_bytes()
    write_kept([one], {})
    assert file.read_bytes() == before


def test_rows_of_what_is_taken_are_replaced_and_others_stay(tmp_path: Path) -> None:
    runs = [("am", 0), ("am", 1), ("oracle", 0)]
    old = with_blocks(kept(tmp_path, *runs), *runs)
    write_kept([old], {})
    write_kept([kept(tmp_path, ("am", 1), value=7.0)], {})
    again = read_kept(old.folder)["e"]
    values = again.tables["metrics.csv"].groupby(["method", "seed"])["value"].max()
    assert values.loc["am"].to_dict() == {0: 0.1, 1: 7.0}
    assert values.loc["oracle", 0] == 0.1
    assert values.loc["floor"].to_dict() == {0: 0.1, 1: 0.1}
    # Those that were taken have no blocks any longer.
    assert set(again.tables["blocks.csv.gz"]["seed"]) == {0}
    assert again.edited == []


def test_variants_of_a_file_share_its_folder_and_each_is_read_alone(tmp_path: Path) -> None:
    runs = [("am", 0), ("am", 1)]
    first, second = (kept(tmp_path, *runs, value=value, experiment=e) for e, value in (("e", 0.1), ("e_long", 7.0)))
    for place, writes in (("one", [[first], [second]]), ("other", [[second], [first]]), ("both", [[second, first]])):
        for new in writes:
            moved = [replace(one, folder=tmp_path / place / "store/laptop/e") for one in new]
            write_kept(moved, {NAME: VERSIONS})
    assert content(tmp_path / "one") == content(tmp_path / "other") == content(tmp_path / "both")
    again = read_kept(tmp_path / "one/store/laptop/e")
    assert [*again] == ["e", "e_long"]
    for name, one in again.items():
        assert set(one.tables["metrics.csv"]["experiment"]) == {name}
        assert {record["experiment"] for record in one.records.values()} == {name}
        assert one.edited == []
    assert [one.tables["metrics.csv"]["value"].max() for one in again.values()] == [0.1, 7.0]


def test_keeping_a_variant_leaves_the_lines_of_the_others_as_they_are(tmp_path: Path) -> None:
    """Whole numbers beside fractions would be written as such, were they read as numbers; digests are of lines."""
    runs = [("am", 0), ("am", 1)]
    first = with_blocks(kept(tmp_path, *runs), *runs)
    whole = {name: table.assign(value=3, n_samples=50) for name, table in first.tables.items()}
    first = replace(first, tables=whole)
    write_kept([first], {})
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    third = [("oracle", 0)]
    for value in (0.25, 0.5):
        other = kept(tmp_path, *runs, *third, value=value, experiment="e_long")
        fractions = {name: table.assign(n_samples=50.5) for name, table in with_blocks(other, *third).tables.items()}
        write_kept([replace(other, tables=fractions)], {})
        for name, packed in before.items():
            was, now = (gzip.decompress(one) if name.endswith(".gz") else one for one in (packed, read(first, name)))
            assert now.startswith(was)  # e stands before e_long
            assert len(now) > len(was)
    again = read_kept(first.folder)
    assert again["e"].files == again["e_long"].files
    assert {path.name for path in again["e"].files} == {*before}
    assert [one.edited for one in again.values()] == [[], []]
    # A variant that has no blocks any longer leaves those of the other.
    write_kept([kept(tmp_path, *runs, *third, experiment="e_long")], {})
    assert read(first, "blocks.csv.gz") == before["blocks.csv.gz"]
    assert read_kept(first.folder)["e_long"].files == (first.folder / "metrics.csv", first.folder / "runs.csv")


def read(one: Kept, name: str) -> bytes:
    return (one.folder / name).read_bytes()


def test_a_row_of_another_run_that_was_edited_stays_edited(tmp_path: Path) -> None:
    """A record is not written anew for rows that nobody takes."""
    old = kept(tmp_path, ("am", 0), ("am", 1))
    write_kept([old], {})
    file = old.folder / "metrics.csv"
    file.write_text(file.read_text().replace("e,am,0,0.5,mmd,0.05", "e,am,0,0.5,mmd,0.06"))
    write_kept([kept(tmp_path, ("am", 1), value=7.0)], {})
    assert read_kept(old.folder)["e"].edited == [("am", "0")]


def test_a_table_without_rows_leaves_no_file(tmp_path: Path) -> None:
    old = with_blocks(kept(tmp_path, ("am", 0)), ("am", 0))
    write_kept([old], {})
    write_kept([kept(tmp_path, ("am", 0))], {})
    assert sorted(path.name for path in old.folder.iterdir()) == ["metrics.csv", "runs.csv"]


def test_environments_that_records_name_are_told_once_and_no_others(tmp_path: Path) -> None:
    others = {**VERSIONS, "torch": "2.15"}
    both = {NAME: VERSIONS, environment(others): others}
    one = kept(tmp_path, ("am", 0))
    newer = {key: {**row, "environment": environment(others)} for key, row in one.records.items()}
    elsewhere = replace(one, folder=one.folder.with_name("other"), records=newer)
    for written, told in ((one, {NAME: VERSIONS}), (elsewhere, both), (one, both)):
        write_kept([written], both)
        assert read_environments(tmp_path / "store/environments.csv") == told
    write_kept([replace(one, records=newer)], {})
    assert read_environments(tmp_path / "store/environments.csv") == {environment(others): others}


def test_nothing_takes_its_place_where_one_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kept([kept(tmp_path, ("am", 0))], {NAME: VERSIONS})
    before = content(tmp_path)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if ".runs." in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RuntimeError, match="disk full while writing"):
        write_kept([kept(tmp_path, ("am", 0), value=9.0)], {NAME: VERSIONS})
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "run"),
    [
        ("metrics.csv", "e,am,0,0.5,mmd,0.05", "e,am,0,0.5,mmd,0.06", ("am", "0")),
        ("metrics.csv", "e,am,0,0.5,mmd,0.05,50\n", "", ("am", "0")),
        ("metrics.csv", "e,floor,1,0.5,mmd,0.05,50\n", "", ("floor", "")),
        ("metrics.csv", "e,am,1,", "e,am,2,", ("am", "1")),
    ],
)
def test_rows_that_are_not_those_of_the_record_are_noticed(
    tmp_path: Path, name: str, old: str, new: str, run: tuple[str, str]
) -> None:
    one = kept(tmp_path, ("am", 0), ("am", 1))
    floor = {("floor", ""): record("floor", "")}
    write_kept([replace(one, records={**one.records, **floor})], {})
    assert read_kept(one.folder)["e"].edited == []
    text = (one.folder / name).read_text()
    assert old in text
    (one.folder / name).write_text(text.replace(old, new))
    assert read_kept(one.folder)["e"].edited == [run]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("metrics.csv", "e,am,0,", "e,am,0.5,", "the column 'seed' holds something that is not a whole number"),
        ("metrics.csv", ",0.05,", ",much,", "the column 'value' holds something that is not a number"),
        ("runs.csv", "e,am,0,", "e,am,first,", "'first' is no seed of am"),
        ("runs.csv", ",1.5,", ",long,", "the column 'train_seconds' holds something that is not a number"),
        ("runs.csv", "nfe", "NFE", "the column 'nfe' is missing"),
        ("metrics.csv", "_samples\n", "_samples,\n", f"its columns are not {','.join(METRIC_COLUMNS)}"),
    ],
)
def test_a_table_with_other_things_in_it_is_one_sentence(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    one = kept(tmp_path, ("am", 0))
    write_kept([one], {})
    file = one.folder / name
    file.write_text(file.read_text().replace(old, new))
    for act in (lambda: read_kept(one.folder), lambda: write_kept([one], {})):
        with pytest.raises(TableError) as error:
            act()
        assert str(error.value) == f"{file}: {said}"


def test_names_of_digits_stay_words(tmp_path: Path) -> None:
    """A digest such as 40e1 is no number, and a method may be called 007."""
    one = kept(tmp_path, ("007", 0))
    records = {("007", "0"): {**record("007", "0"), "settings": "40e1", "data": "0012"}}
    write_kept([replace(one, records=records)], {})
    again = read_kept(one.folder)["e"]
    assert again.keys[0] == ("007", "0")
    assert [again.records["007", "0"][name] for name in ("settings", "data")] == ["40e1", "0012"]


def test_nothing_is_kept_where_there_is_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "store/laptop/e"
    assert read_kept(folder) == {}
    nothing = Kept(folder, "e")
    assert (nothing.keys, nothing.files) == ([], ())
    assert nothing.measured([("am", 0)]).metrics.empty
