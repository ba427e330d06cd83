"""One page that says how far to believe a fit: for whoever is given its results, and nothing else."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from am.cells.quality import Interval, table
from am.report.figures.style import styled
from am.report.numbers import interval, number
from am.report.page import page, picture, section, sorting, text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

_WIDTH, _ROW = 4.5, 0.3
"""Of the figure, and of an interval in it, in inches: labels are still read on a telephone."""
_COLUMNS = """<li><strong>Pushed forward</strong>: how near the fit brings cells to the later ones. It must beat
<strong>no dynamics</strong>, cells that stay where they are.</li>
<li><strong>Noise floor</strong>: below it lie 95 % of the distances of two samples of the later cells. With so many
cells, nothing nearer can be shown.</li>
"""
_OF_HELD_OUT = """<li><strong>Nearer by</strong>: no dynamics less pushed forward. Where its interval holds zero,
nothing is shown.</li>
<li><strong>Control: transport</strong>: training cells of the later time that optimal transport picks. It looks the
answer up and predicts nothing.</li>
<li><strong>Outside</strong>: the share of pushed cells that are farther from the training cells than 99 % of the
observed ones.</li>
"""
_OF_WEIGHTS = """<li><strong>Effective sample size</strong>: as many cells of equal weight would tell as much as the
pushed cells do with their weights. Below a tenth of the cells, do not interpret the weights.</li>
"""


def quality_page(
    found: Mapping[str | None, Sequence[Interval]], about: Mapping[str, Any], sentences: Sequence[str]
) -> str:
    """The page of a fit, as HTML without anything beside it.

    Parameters
    ----------
    found
        Intervals by group; of None where all cells are one population.
    about
        Settings of the fit, as plain data.
    sentences
        On what to believe, the gravest first: they open the page.
    """
    groups = tuple(f"{name}: " for name in found if name is not None)  # whose names stay as they are
    first, *rest = (
        text(f"{sentence if sentence.startswith(groups) else sentence[:1].upper() + sentence[1:]}.")
        for sentence in sentences
    )
    weighed = any(one.weights for part in found.values() for one in part)
    lead = f"<p><strong>{first}</strong></p>" + "".join(f"\n<p>{sentence}</p>" for sentence in rest)
    parts = [section("From each time to the next", "".join(_distances(found, about, weighed)))]
    parts.append(section("What was chosen", _choice(about)))
    if weighed:
        parts.append(section("What growth means here", f"<p>{text(_growth(about))}</p>"))
    settings = text(yaml.safe_dump({name: about[name] for name in about if name != "tried"}, sort_keys=False))
    parts.append(section("Settings", f"<details><summary>all</summary><pre>{settings}</pre></details>"))
    return page("How far to believe this fit", lead, parts)


def draw(rows: pd.DataFrame, time_key: str, basis: str, ax: Axes) -> Legend:
    """How near held-out cells come to each later snapshot, beside no dynamics and the noise floor.

    Parameters
    ----------
    rows
        As of :attr:`am.CellModel.quality`.
    """
    places = np.arange(len(rows))
    ax.barh(places, rows["noise_floor"].clip(lower=0), height=0.8, color="0.88", label="noise floor")
    ax.plot(rows["no_dynamics"], places, "|", color="0.25", markersize=12, markeredgewidth=2, label="no dynamics")
    ax.plot(rows["pushed"], places, "o", color="#0072B2", label="pushed forward")
    if "transport" in rows:
        reach = rows["pushed_reach"]
        ax.hlines(places, rows["pushed"] - reach, rows["pushed"] + reach, color="#0072B2", linewidth=1)
        ax.plot(rows["transport"], places, "x", color="0.5", label="control: transport to training cells")
    named = zip(rows["from"], rows["to"], rows["verdict"], strict=True)
    ax.set_yticks(places, [f"{begin:g} to {end:g}: {verdict}" for begin, end, verdict in named])
    ax.invert_yaxis()
    ax.set_ylabel(time_key)
    ax.set_xlabel(f"energy distance to the later snapshot ({basis})")
    return ax.legend(fontsize="small", frameon=False)


def _distances(
    found: Mapping[str | None, Sequence[Interval]], about: Mapping[str, Any], weighed: bool
) -> Iterator[str]:
    judged = any(one.gained for part in found.values() for one in part)
    cells = "cells that were held out" if judged else "the cells that were trained on, which flatters"
    yield (
        f"<p>Energy distance to the later cells, in units of <code>{text(about['basis'])}</code>, of {cells}."
        f"{' Brackets are 95 % intervals over cells.' if judged else ''}</p>"
    )
    for name, part in found.items():
        title = "" if name is None else f"<h3>{text(name)}</h3>"
        caption = f"Energy distance to the later cells{'; whiskers are 95 % intervals' if judged else ''}."
        yield title + picture(_png(part, about), "image/png", caption) + _table(part, judged)
    yield f"<ul>\n{_COLUMNS}{_OF_HELD_OUT * judged}{_OF_WEIGHTS * weighed}</ul>\n"


def _png(part: Sequence[Interval], about: Mapping[str, Any]) -> bytes:
    import pandas as pd
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with styled():
        figure = Figure(figsize=(_WIDTH, _ROW * len(part) + 1.2), layout="constrained")
        ax = figure.subplots()
        draw(pd.DataFrame(table(part)), str(about["time_key"]), str(about["basis"]), ax).remove()
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.savefig(content, dpi=150, metadata={"Software": None})
    return content.getvalue()


def _table(part: Sequence[Interval], judged: bool) -> str:
    weighed = any(one.weights for one in part)
    head = ["interval", "verdict", "pushed forward", "no dynamics", "noise floor"]
    head += ["nearer by", "control: transport", "outside"] * judged + ["effective sample size"] * weighed + ["cells"]
    rows = []
    for one in part:
        row: list[Any] = [(one.begin, f"{one.begin:g} to {one.end:g}"), one.verdict]
        row += [_with(one.pushed, one.reach.get("pushed")), _with(one.still, one.reach.get("no_dynamics"))]
        row.append((one.floor, number(one.floor)))
        if judged:
            low, high = one.gained or (math.nan, math.nan)
            row += [_with((low + high) / 2, (high - low) / 2), _with(one.transport, one.reach.get("transport"))]
            row.append((one.outside, _percent(one.outside)))
        if weighed:
            effective = math.nan if one.weights is None else one.weights.effective
            row.append((effective, f"{number(effective)} ({_percent(effective / one.cells)})"))
        rows.append([*row, (one.cells, str(one.cells))])
    return sorting(head, rows)


def _with(value: float, reach: float | None) -> tuple[float, str]:
    """A number to sort by, and the text for it with its interval."""
    if reach is None or math.isnan(reach):
        return value, number(value)
    return value, interval(value, value - reach, value + reach, 1)


def _percent(share: float) -> str:
    return "—" if math.isnan(share) else f"{100 * share:.3g} %"


def _choice(about: Mapping[str, Any]) -> str:
    if "chosen" not in about:
        return "<p>Nothing: the settings are those that were given, or the method's own.</p>"
    rows = []
    for tried in about["tried"]:
        setup, _, told = tried.rpartition(": distance ")  # as am.selection.Tried writes it
        rows.append([f"{setup}{' (chosen)' * (setup == about['chosen'])}", told])
    lead = (
        f"<p><strong>{text(about['chosen'])}</strong>. It is the simplest that is as good as the best, within one "
        "standard error. The distance is that of cells which the choice had not seen, in units of their spread.</p>"
    )
    return lead + sorting(["setup, the simplest first", "distance"], rows)


def _growth(about: Mapping[str, Any]) -> str:
    if about["masses"] == "equal":
        return (
            "No masses were given, so growth rates are known up to their mean. They compare cells of one time. Their "
            "mean is zero."
        )
    if about["masses"] == "counts":
        return (
            "The numbers of cells were taken for how many there are. If the share of cells that was sampled changed "
            "between times, growth rates hold that change too."
        )
    return f"Growth rates are absolute: the masses {', '.join(map(str, about['masses']))} were given."
