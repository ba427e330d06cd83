"""Numbers in tables of the pages are those of the committed tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd
import pytest

from ..project import ROOT
from .pages import section

Where = Mapping[str, str]
"""Some of what finds a number: the experiment, the metric (or a cost), the title of the method."""

COSTS = ("nfe", "train_seconds")
NUMBER = r"-?(?:\d[\d,]*)?\.?\d+(?:e-?\d+)?"
ENTRY = re.compile(rf"({NUMBER})( %)?(?: \[({NUMBER}), ({NUMBER})\]| ± ({NUMBER}))?")
ALIASES = {
    "[SF]2M, sigma 0.5": "[SF]2M",
    "AM, one estimate, 24 channels, 2 layers, 800 steps": "AM, one estimate",
    "AM, one estimate, 48 channels, 4 layers, 800 steps": "AM, one estimate",
    "OT-Flow": "OT-Flow, 400 of 13,000 steps",
    "OTP-FM": "OTP-FM (otpfm)",
    "TrajectoryNet": "TrajectoryNet, 250 of 10,000 steps",
    "affine transport": "affine transport (numpy)",
    "bilinear as given": "bilinear, as given",
    "bilinear in place": "bilinear, in place",
    "eAM, sigma 0.5": "eAM",
    "static OT": "OT interpolation",
    "static OT, displaced": "OT interpolation",
    "static OT, which gives training cells back": "OT interpolation",
    "static OT, which gives training points back": "OT interpolation",
    "the edge of the known half, repeated": "edge repeated",
    "uAM, lambda 0.1": "uAM",
    "uAM, lambda 1": "uAM (lambda 1)",
}
"""Titles in the tables of methods that pages call otherwise."""


@dataclass(frozen=True)
class Shown:
    """A table of a page. Labels of rows, and headings of columns, are titles of methods if nothing is said of them."""

    page: str
    begins: str
    """The first cells of its heading."""
    every: Where
    """What is true of every cell."""
    columns: Sequence[Where | None] = ()
    """In their order; None holds nothing that is in the tables."""
    rows: Mapping[str, Where] | None = None
    under: str = ""
    """The heading of its section, where the page has another table that begins so."""

    def cells(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Each cell, and where its numbers are from."""
        page = ROOT / self.page
        text = section(page, self.under) if self.under else page.read_text()
        _, found, rest = text.partition(f"\n{self.begins}")
        assert found, f"{self.page} has no table that begins with {self.begins}"
        lines = (self.begins + rest).partition("\n\n")[0].splitlines()
        head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        columns = self.columns or [{"title": heading} for heading in head[1:]]
        for label, *cells in body:
            row = {"title": label} if self.rows is None else self.rows[label]
            for cell, column in zip(cells, columns, strict=True):
                if cell and column is not None:
                    yield cell, {**self.every, **column, **row}


def of_cells(metric: str) -> dict[str, Where]:
    return {
        f"{experiment}, {steps}": {"experiment": f"{experiment}{suffix}", "metric": metric}
        for experiment in ("myoblast", "embryoid_mini")
        for steps, suffix in (("one step", ""), ("all steps", "_all_step"))
    }


def of_each(**named: Sequence[str]) -> list[Where]:
    """One for each of the values: ``of_each(metric=["psnr", "ssim"])``."""
    ((name, values),) = named.items()
    return [{name: value} for value in values]


EAM, AM, UAM, FLOOR = of_each(title=["eAM", "AM", "uAM", "floor"])
PATCHES = {"super-resolution": "superresolution", "colourisation": "colorization", "inpainting": "inpainting"}
TABLES = [
    Shown(
        "README.md",
        "| | myoblasts, one step |",
        {"metric": "energy"},
        of_each(experiment=["myoblast", "myoblast_all_step", "embryoid_mini", "embryoid_mini_all_step"]),
    ),
    Shown("docs/cells.md", "| energy distance |", {}, [EAM, None, AM, UAM, FLOOR], of_cells("energy")),
    Shown("docs/cells.md", "| Sinkhorn divergence |", {}, [AM, EAM, UAM, None, FLOOR], of_cells("sinkhorn")),
    Shown(
        "docs/cells.md",
        "| | time 1 held out |",
        {"metric": "energy"},
        of_each(experiment=[f"embryoid_mini_without_{time}" for time in (1, 2, 3)]),
    ),
    Shown(
        "docs/cells.md",
        "| | energy distance, 50 |",
        {},
        [
            {"experiment": f"embryoid_mini_{components}", "metric": metric}
            for metric in ("energy", "wasserstein1")
            for components in (50, 100)
        ],
    ),
    Shown(
        "docs/digits.md",
        "| | steps |",
        {"experiment": "digits"},
        [
            None,
            *of_each(
                metric=["train_seconds", "nfe", "energy", "classifier_frechet", "classifier_kernel", "unrecognised"]
            ),
        ],
    ),
    Shown(
        "docs/digits.md",
        "| | nearest training digit",
        {"experiment": "digits"},
        of_each(metric=["nearest_training", "bits_per_dim", "median_bits_per_dim", "incompressible"]),
    ),
    Shown(
        "docs/growth.md",
        "| | uAM, lambda 0.1 |",
        {"experiment": "gene_network"},
        rows={
            "`growth_correlation`, with the mean": {"metric": "growth_correlation"},
            "`growth_error`, less the mean": {"metric": "growth_error"},
            "`mass_error`": {"metric": "mass_error"},
            "`sample_size_lost`": {"metric": "sample_size_lost"},
            "energy distance (floor .001)": {"metric": "energy"},
        },
    ),
    *(
        Shown(
            "docs/synthetic.md",
            begins,
            {"experiment": experiment},
            of_each(metric=["energy", "wasserstein2", "velocity_error", "velocity_cosine"][:count]),
            under=heading,
        )
        for experiment, heading, begins, count in (
            ("petals", "## Petals", "| | energy distance |", 4),
            ("petals_10", "## Petals", "| ten snapshots |", 4),
            ("petals_15", "## Petals", "| fifteen snapshots |", 4),
            ("bifurcation", "## A population that becomes two", "| | energy distance |", 4),
            ("ornstein_uhlenbeck", "## An Ornstein-Uhlenbeck process", "| | energy distance |", 3),
        )
    ),
    *(
        Shown(
            "docs/patches.md",
            f"| {task} |",
            {"experiment": f"natural_patches_{name}"},
            of_each(metric=["psnr", "ssim", "train_seconds"]),
        )
        for task, name in PATCHES.items()
    ),
]


@cache
def table(experiment: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / f"results/expected/laptop/tables/{experiment}.csv")


def kept(experiment: str, metric: str, title: str) -> list[float]:
    """The mean and the ends of its interval, the mean of the floor and its spread, or a cost."""
    rows = table(experiment)
    if metric not in COSTS:
        rows = rows[rows["metric"] == metric]
    if title == "floor":
        return rows[["floor_mean", "floor_sd"]].dropna().iloc[0].tolist()
    (row,) = rows[rows["title"] == title].head(1).to_dict("records")
    return (
        [row[metric]] * 4 if metric in COSTS else [row["mean"], row["low"], row["high"], (row["high"] - row["low"]) / 2]
    )


def titles(label: str, experiment: str) -> list[str]:
    """The methods that a label names."""
    known = {*table(experiment)["title"], "floor"}
    label = re.sub(r"\[(\w+)\]\(.*?\)", r"\1", label)  # a link
    for names in ([label], re.sub(r" \(.*?\)|:.*", "", label).split(", ")):
        found = [ALIASES.get(name, name) for name in names]
        if known.issuperset(found):
            return found
    raise AssertionError(f"{label}: there is no such method of {experiment}")


def wrong(cell: str, where: Mapping[str, str]) -> Iterator[str]:
    """What a cell shows that is not in the tables."""
    entries = list(ENTRY.finditer(cell.replace("**", "")))
    for title, entry in zip(titles(where["title"], where["experiment"]), entries, strict=True):
        values = kept(where["experiment"], where["metric"], title)
        numbers = [number for number in (entry[1], *entry.groups()[2:]) if number]
        for shown, value in zip(numbers, values, strict=False):
            if not is_rounded(shown, value * (100 if entry[2] else 1)):
                yield f"{where['experiment']}, {where['metric']}, {title}: {shown} is {value:.6g}"


def is_rounded(shown: str, value: float) -> bool:
    """Whether a value is written so, to as many digits."""
    digits, _, power = shown.replace(",", "").partition("e")
    unit = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    return abs(float(shown.replace(",", "")) - value) <= 0.501 * unit


@pytest.mark.parametrize("shown", TABLES, ids=lambda shown: f"{shown.page} {shown.begins}")
def test_tables_of_the_pages_tell_what_was_kept(shown: Shown) -> None:
    cells = list(shown.cells())
    assert cells
    faults = [fault for cell, where in cells for fault in wrong(cell, where)]
    assert not faults, "\n".join(faults)
