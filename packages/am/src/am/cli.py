"""The ``am`` command: one subcommand for each step of the workflow."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from am.config import ConfigError
from am.extras import explained, require
from am.steps.seeds import is_ours

if TYPE_CHECKING:
    from am.experiments import Project, ResolvedExperiment
    from am.marginals.snapshots import Masses

app = typer.Typer(
    name="am",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Learn dynamics from snapshots, and check what was published about it.\n\n"
    "Cells of your own are for [bold]am fit[/bold]. The workflow calls the other steps in the order in which they "
    "stand here; each reads files and writes files, so each can be called alone. Start with [bold]am methods[/bold] "
    "and [bold]am train --help[/bold].",
)

ConfigOption = Annotated[Path, typer.Option("--config", help="A config.yaml that `am resolve` wrote.")]
RunOption = Annotated[Path, typer.Option("--run", help="The run's config.yaml, which `am resolve` wrote.")]
DataOption = Annotated[Path, typer.Option("--data", help="The data.h5ad that `am prepare` wrote.")]
OutOption = Annotated[Path, typer.Option("--out", help="File to write; its folder is made.")]
ProjectOption = Annotated[Path, typer.Option(help="Folder of config.yaml, scales/ and experiments/.")]
ScaleOption = Annotated[str, typer.Option(help="A file of scales/.")]
OwnScaleOption = Annotated[
    str | None, typer.Option("--scale", help="A file of scales/; that of config.yaml when left out.")
]
ExperimentOption = Annotated[str, typer.Option(help="A file of experiments/, or a variant in one: <file>_<variant>.")]
ResultsOption = Annotated[
    Path | None, typer.Option(help="Folder of the scale's results; results/<scale> when left out.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="One of the experiment's seeds.")]
SeedsOption = Annotated[
    list[int],
    typer.Option("--seed", min=0, help="One of the experiment's seeds; may be repeated, where paths say {seed}."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:<number>.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Processor cores that this step may use.")]
AcceleratorOption = Annotated[str, typer.Option("--accelerator", help="auto, cpu or cuda.")]
CheckpointOption = Annotated[
    float, typer.Option(min=0, envvar="AM_CHECKPOINT_SECONDS", help="At least so long between checkpoints.")
]


def _version(asked: bool) -> None:
    if asked:
        from am import __version__

        typer.echo(f"am {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of no command."""


@app.command()
def methods() -> None:
    """List the methods, with what each is."""
    from rich.console import Console
    from rich.table import Table

    from am import plugins

    table = Table("name", "title", "what it is")
    for name in plugins.names("am.methods"):
        kind = plugins.load("am.methods", name).METHOD
        table.add_row(name, kind.title, (kind.__doc__ or "").partition("\n")[0])
    Console().print(table)


@app.command()
def fit(
    file: Annotated[Path, typer.Argument(help="An .h5ad or a Zarr store; it is left as it is.", show_default=False)],
    time_key: Annotated[
        str, typer.Option(help="Column of obs with the time of each cell: numbers, or words such as day 2, 48h, E8.5.")
    ],
    basis: Annotated[str, typer.Option(help="Key of obsm to learn in; X_ may be left out.")] = "X_pca",
    method: Annotated[
        str,
        typer.Option(
            help="One of `am methods` that learns from snapshots; auto is Action Matching in closed form, unbalanced "
            "where --masses are given, with settings that held-out cells choose unless some are given."
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, training and sampling.")] = 0,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; the method's own number when left out.")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Leading components to learn in; all when left out.")
    ] = None,
    masses: Annotated[
        str,
        typer.Option(
            help="How much there is at each time, for absolute growth: equal (not known), counts (of the cells), or a "
            "number for each time, as in 100,150,400."
        ),
    ] = "equal",
    coupling: Annotated[
        Literal["optimal", "unbalanced", "independent"] | None,
        typer.Option(
            help="How cells of neighbouring times are joined: optimal (optimal transport), unbalanced (the same, where "
            "cells may also multiply and die) or independent (any two). When left out: unbalanced for uam and "
            "uam_closed, optimal for others."
        ),
    ] = None,
    relaxation: Annotated[
        float | None,
        typer.Option(
            help="What it costs an unbalanced coupling to make or lose a cell, as the squared distance that it rather "
            "goes, in units of the spread of all cells; 1 when left out."
        ),
    ] = None,
    held_out: Annotated[
        float,
        typer.Option(
            help="Share of the cells of each time that the quality is measured on, by another fit without them; 0 "
            "measures it on cells that were trained on."
        ),
    ] = 0.2,
    replicate_key: Annotated[
        str | None, typer.Option(help="Column of obs, such as a donor, whose values are held out as wholes.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Use only cells with this value in this column of obs; several values with commas between them; may "
            "be repeated.",
        ),
    ] = None,
    group_key: Annotated[
        str | None,
        typer.Option(help="Column of obs, such as a condition, each of whose values is fitted apart."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="YAML of the method's other settings; the default ones stand in settings.yaml.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write into; <name of the file>_<method> when left out.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a fit in that folder: the files that it wrote, no others."),
    ] = False,
    accelerator: AcceleratorOption = "auto",
    threads: ThreadsOption = 1,
    checkpoint_seconds: CheckpointOption = 30.0,
) -> None:
    """Learn how your own cells move, from an .h5ad with a time for each; or continue where a killed job stopped.

    In the folder --out appears a copy of the file. There, in units of the basis and of the time column,
    obsm["X_am_velocity"] is the velocity of each cell at its own time; obsm["X_am_forward"] and obsm["X_am_backward"]
    are where it will be at the last time and was at the first; obs["am_growth"], from methods that weigh cells, is how
    fast it multiplies, and obs["am_forward_weight"] and obs["am_backward_weight"] are the weights of its predictions;
    uns["am"] tells how all this was made. Growth is less the mean of its time point, and weights have mean one: where
    cells are a sample of what there is, their number tells nothing. With --masses both are absolute. Where the file has
    RNA velocity in the same basis, as obsm["velocity_pca"], obs["am_velocity_cosine"] is the cosine of both velocities.
    Where three folds of cells or more were held out, obsm["X_am_velocity_error"] and obs["am_growth_error"] are
    standard errors.

    Cells are fitted as one population, whatever their condition, batch or replicate: --where condition=wt chooses
    some, and --group-key condition fits each value of a column apart. The copy holds all groups; cells that were not
    chosen have no numbers there.

    Beside the copy appear trajectories.pdf and .png, model.safetensors, settings.yaml, training.csv, provenance.json
    and quality.csv; with --group-key in a folder for each group. quality.html is a page on how far to believe the fit,
    for all groups. quality.csv says how far from the next snapshot the held-out cells of each snapshot end, how far
    without any dynamics, and how far two samples are from each other: energy distances. The last row is from the first
    time to the last.
    """
    require("am fit", "cells", "report")
    from am.steps.fit_inputs import read_inputs, source_name

    inputs = read_inputs(
        file,
        time_key,
        basis,
        method,
        seed=seed,
        iterations=iterations,
        dimensions=dimensions,
        masses=_masses(masses),
        coupling=coupling,
        relaxation=relaxation,
        held_out=held_out,
        replicate_key=replicate_key,
        where=where or (),
        group_key=group_key,
        settings=settings,
    )
    _use(threads)
    from am.cells.population import CHOSEN
    from am.steps.fit import chosen
    from am.steps.fit import fit as step

    inputs = chosen(inputs)
    fitted = step(
        inputs,
        Path(f"{source_name(file)}_{method}") if out is None else out,
        overwrite=overwrite,
        accelerator=accelerator,
        checkpoint_seconds=checkpoint_seconds,
    )
    for sentence in fitted.words:
        typer.echo(sentence)
    typer.echo(fitted.summary)
    if inputs.choice:
        typer.echo(f"{CHOSEN}: {inputs.choice['chosen']}")
    copy, *others = fitted.files
    typer.echo(f"wrote {copy} and, beside it, {', '.join(str(path.relative_to(copy.parent)) for path in others)}")


@app.command()
def compare(
    file: Annotated[Path, typer.Argument(help="An .h5ad or a Zarr store; it is left as it is.", show_default=False)],
    time_key: Annotated[str, typer.Option(help="Column of obs with the time of each cell.")],
    basis: Annotated[str, typer.Option(help="Key of obsm to learn in; X_ may be left out.")] = "X_pca",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Names with commas between them, auto among them; every one that can be fitted to snapshots when left "
            "out."
        ),
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Leading components to learn in; all when left out.")
    ] = None,
    iterations: Annotated[int, typer.Option(min=1, help="Optimiser steps of each training.")] = 500,
    held_out: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the cells of each time that is held out; 0: times alone.")
    ] = 0.2,
    replicate_key: Annotated[
        str | None, typer.Option(help="Column of obs, such as a donor, whose values are held out as wholes.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is held out, weights, training and sampling.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write into; <name of the file>_compared when left out.")
    ] = None,
    accelerator: AcceleratorOption = "auto",
    threads: ThreadsOption = 1,
    checkpoint_seconds: CheckpointOption = 30.0,
) -> None:
    """Find out which method suits your own cells; or continue where a killed comparison stopped.

    Cells are held out, fold by fold, and each inner time as a whole. Every method learns from the rest and pushes cells
    to those that it has not seen. Beside the methods stand two controls, no dynamics and straight lines of optimal
    transport between neighbouring times, and the noise floor.

    comparison.csv has a row for each method and interval, and for the mean over intervals: the energy distance, how
    much farther that is than the best method with its 95 % interval, and seconds. comparison.pdf and .png show the
    means. A method is cut short if half of its steps give another distance by more than a tenth. The same command with
    other --methods reuses what is finished.
    """
    require("am compare", "cells", "report")
    _use(threads)
    from am.steps.compare import compare as step
    from am.steps.fit_inputs import source_name

    found, files = step(
        file,
        time_key,
        Path(f"{source_name(file)}_compared") if out is None else out,
        basis=basis,
        methods=None if methods is None else [name.strip() for name in methods.split(",")],
        dimensions=dimensions,
        iterations=iterations,
        held_out=held_out,
        replicate_key=replicate_key,
        seed=seed,
        accelerator=accelerator,
        checkpoint_seconds=checkpoint_seconds,
    )
    typer.echo(str(found))
    typer.echo(f"wrote {', '.join(map(str, files))}")


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="What `am fit` wrote.", show_default=False)],
    cells: Annotated[
        Path, typer.Argument(help="An .h5ad or a Zarr store with the basis of the fit.", show_default=False)
    ],
    from_time: Annotated[
        str, typer.Option(help="Time of these cells, in the course of the fit and in the unit of its column.")
    ],
    to_time: Annotated[str, typer.Option(help="Later or earlier time that they are pushed to.")],
    out: OutOption,
    seed: Annotated[int, typer.Option(min=0, help="Of methods with noise.")] = 0,
) -> None:
    """Push cells, which a fit need not have seen, to another time: a copy of their file with where they are then.

    obsm["X_am_predicted"] is the place of each cell in the basis of the fit; obs["am_predicted_weight"], of methods
    that weigh cells, is what it has become.
    """
    require("am predict", "cells")
    from am.steps.predict import predict as step

    step(folder, cells, from_time, to_time, out, seed)
    typer.echo(f"wrote {out}")


@app.command()
def new(
    kind: Annotated[Literal["method", "benchmark"], typer.Argument(help="What to begin.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Small letters, digits and _.", show_default=False)],
    experiment: Annotated[str, typer.Option(help="That a benchmark takes part in first.")] = "myoblast",
) -> None:
    """Begin a method of the library, or a benchmark in any language: it runs as it is, standing still.

    To be called from the top folder of the project. What it writes is found by itself, and says what to fill in.
    """
    from am.steps.new import new_benchmark, new_method

    for path in new_method(name) if kind == "method" else new_benchmark(name, experiment):
        typer.echo(f"wrote {path}")


@app.command()
def resolve(
    project: ProjectOption,
    scale: ScaleOption,
    experiment: ExperimentOption,
    out: OutOption,
    run: Annotated[str | None, typer.Option(help="Row of the experiment; its data when left out.")] = None,
) -> None:
    """Write the settings of an experiment's data, or of one of its runs, with every default filled in."""
    from am.config import nearest
    from am.runs import write_settings

    resolved = _experiment(project, scale, experiment)
    if run is not None and run not in resolved.runs:
        raise ConfigError(f"{experiment}: there is no run '{run}'; {nearest(run, resolved.runs)}")
    write_settings(resolved.data if run is None else resolved.runs[run], out)


@app.command()
def folder(scale: ScaleOption, project: ProjectOption = Path("config")) -> None:
    """Name the folder of a scale's results; a scale that extends another has its folder."""
    from am.experiments import Project

    asked = Project(project, {"scale": scale})
    typer.echo(asked.results / asked.scale)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, with all that can be set.", show_default=False)
    ] = None,
    editors: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write into, a file for each kind of configuration file, which names it in its first line: "
            "config/schema.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write JSON schemas of configuration files, methods and data sets, for editors and reviewers."""
    import json

    from am.io.files import atomic
    from am.schemas import schemas, write_editor_schemas

    if out is None and editors is None:
        raise ConfigError("nothing says where to write: give --out, --editors, or both")
    if out is not None:
        with atomic(out) as temporary:
            temporary.write_text(json.dumps(schemas(), indent=2) + "\n", encoding="utf-8")
    if editors is not None:
        write_editor_schemas(editors)


@app.command()
def retrieve(
    source: Annotated[str, typer.Option(help="Name of the source in the registry.")],
    file: Annotated[str, typer.Option(help="Name of the file in that source.")],
    out: OutOption,
    registry: Annotated[Path, typer.Option(help="Registry of files from outside.")] = Path("data/registry.yaml"),
) -> None:
    """Fetch a file from outside, and check it against the registry.

    Folders named by the environment variable AM_DATA, and what in them is called like the source, are searched first.
    """
    from am.steps.retrieve import retrieve as step

    step(registry, source, file, out)


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="The archive that `am retrieve` fetched.", show_default=False)],
    run: RunOption,
    scale: ScaleOption,
    seed: SeedOption,
    out: OutOption,
    registry: Annotated[Path, typer.Option(help="Registry of files from outside.")] = Path("data/registry.yaml"),
) -> None:
    """Take the weights of a run from an archive of results, instead of training.

    Writes model.safetensors to --out and, beside it, snapshots.safetensors, training.csv and training.json.
    """
    from am.steps.unpack import unpack as step

    step(archive, run, scale, seed, out, registry)


@app.command()
def prepare(
    config: ConfigOption,
    out: OutOption,
    seeds: Annotated[
        list[int] | None,
        typer.Option(
            "--seed",
            min=0,
            help="This seed only; may be repeated, for one file or, where --out says {seed}, for several.",
        ),
    ] = None,
    test: Annotated[bool, typer.Option(help="Draw the start and the truth of seeds.")] = True,
) -> None:
    """Make an experiment's data.h5ad: training points, and each seed's start and truth."""
    require("am prepare", "cells")
    from am.steps.prepare import prepare as step
    from am.steps.seeds import PLACE, each

    if test and seeds and PLACE in str(out):
        each(seeds, [out], lambda seed, path: step(config, path, [seed]))
    else:
        step(config, out, (seeds or None) if test else ())


@app.command()
def train(
    run: RunOption,
    data: DataOption,
    seed: SeedOption,
    out: OutOption,
    accelerator: AcceleratorOption = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes on each node, one for each GPU.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes.")] = 1,
    threads: ThreadsOption = 1,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")] = False,
    checkpoint_seconds: CheckpointOption = 30.0,
) -> None:
    """Train a method, or continue where a killed job stopped.

    Writes the weights to --out and, beside them, snapshots.safetensors, training.csv and training.json.
    """
    require("am train", "cells")
    _use(threads)
    from am.steps.train import train as step

    step(run, data, out, seed, accelerator, devices, nodes, tensorboard, checkpoint_seconds)


@app.command()
def sample(
    run: RunOption,
    data: DataOption,
    seeds: SeedsOption,
    out: OutOption,
    model: Annotated[Path | None, typer.Option(help="Weights, for methods that train.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
) -> None:
    """Push particles from t = 0 to every time that the experiment asks about."""
    require("am sample", "cells")
    _use(threads)
    from am.steps.sample import sample as step
    from am.steps.seeds import each

    each(seeds, [data, out, model], lambda seed, data, out, model: step(run, data, out, seed, model, device))


@app.command()
def evaluate(
    config: ConfigOption,
    data: DataOption,
    samples: Annotated[Path, typer.Option(help="The samples.npz of a method, in any language.")],
    method: Annotated[str, typer.Option(help="Name of the row.")],
    seeds: SeedsOption,
    out: OutOption,
    threads: ThreadsOption = 1,
) -> None:
    """Measure predictions against the truth at every time: metrics.csv, with blocks.csv and draws.csv beside it."""
    require("am evaluate", "cells")
    _use(threads)
    from am.steps.evaluate import evaluate as step
    from am.steps.seeds import each

    def of_seed(seed: int, data: Path, samples: Path, out: Path) -> None:
        step(config, data, samples, out, method, seed)

    each(seeds, [data, samples, out], of_seed)


@app.command()
def floor(config: ConfigOption, out: OutOption, threads: ThreadsOption = 1) -> None:
    """Measure samples of the truth against each other: what no method can beat."""
    require("am floor", "cells")
    _use(threads)
    from am.steps.evaluate import floor as step

    step(config, out)


@app.command()
def history(
    config: ConfigOption,
    run: RunOption,
    data: DataOption,
    snapshots: Annotated[Path, typer.Option(help="The snapshots.safetensors that `am train` wrote.")],
    seeds: SeedsOption,
    out: OutOption,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
) -> None:
    """Measure the weights kept along training: history.csv."""
    require("am history", "cells")
    _use(threads)
    from am.steps.evaluate import history as step
    from am.steps.recorded import require_recorded
    from am.steps.seeds import each

    def of_seed(seed: int, data: Path, snapshots: Path, out: Path) -> None:
        require_recorded([data, snapshots])  # not in the step: how records are read is no part of what is measured
        step(config, run, data, snapshots, out, seed, device)

    each(seeds, [data, snapshots, out], of_seed)


@app.command()
def tabulate(
    project: ProjectOption,
    scale: ScaleOption,
    experiment: ExperimentOption,
    metrics: Annotated[list[Path], typer.Argument(help="The metrics.csv of all runs.")],
    floor: Annotated[Path, typer.Option(help="The floor.csv that `am floor` wrote.")],
    out: OutOption,
) -> None:
    """Bring the metrics of all runs into tables: means over seeds with intervals, floor, controls, costs."""
    require("am tabulate", "report")
    from am.steps.tabulate import tabulate as step

    step(_experiment(project, scale, experiment), metrics, floor, out)


@app.command()
def draw(
    figure: Annotated[
        str, typer.Argument(help="iterations, times, losses, histograms, animation, grid, panels, paths, trajectories.")
    ],
    inputs: Annotated[list[Path], typer.Argument(help="The results to show.")],
    project: ProjectOption,
    scale: ScaleOption,
    experiment: ExperimentOption,
    out: Annotated[list[Path], typer.Option("--out", help="File to write: .pdf, .png or .gif; may be repeated.")],
) -> None:
    """Draw a figure of an experiment, with its origin inside the file and beside it."""
    require("am draw", "cells", "report")
    from am.steps.draw import draw as step

    step(figure, _experiment(project, scale, experiment), inputs, out)


@app.command()
def verify(
    out: Annotated[
        Path | None, typer.Option("--out", help="Page to write; verdict.html in the folder of results when left out.")
    ] = None,
    project: ProjectOption = Path("config"),
    scale: OwnScaleOption = None,
    results: ResultsOption = None,
    kept: Annotated[Path, typer.Option(help="The store of reference results, of other scales.")] = Path(
        "results/expected"
    ),
) -> None:
    """Say, number by number, whether the published result holds: verdict.html, .md and .csv.

    Only the runs and seeds of the settings are read. Each result is checked against its record, as `am explain` does; a
    row that is not as recorded says so and has no verdict. Exit status 1 then.
    """
    require("am verify", "report")
    from rich.console import Console

    from am.report.verdicts import for_terminal
    from am.steps.verify import verify as step

    asked, place = _project(project, scale, results)
    judgements, faults = step(asked, place, kept, out or place / "verdict.html")
    Console().print(for_terminal(judgements))
    _refuse_if(faults)


@app.command()
def report(
    out: Annotated[
        Path | None, typer.Option("--out", help="Page to write; report.html in the folder of results when left out.")
    ] = None,
    project: ProjectOption = Path("config"),
    scale: OwnScaleOption = None,
    results: ResultsOption = None,
) -> None:
    """Write one HTML page of everything: verdicts, tables that sort, figures, run times, environment, settings.

    What is not as recorded is left out, and the page says why. Exit status 1 then.
    """
    require("am report", "report")
    from am.steps.report import report as step

    asked, place = _project(project, scale, results)
    _refuse_if(step(asked, place, out or place / "report.html"))


@app.command()
def archive(
    project: ProjectOption,
    scale: ScaleOption,
    results: Annotated[Path, typer.Option(help="Folder of the scale's results.")],
    out: OutOption,
    kept: Annotated[Path, typer.Option(help="Folder of committed results, which go along.")] = Path("results/expected"),
    largest: Annotated[float, typer.Option(min=0, help="Megabytes; samples that have more stay out.")] = 50.0,
) -> None:
    """Put a finished run, the project and the committed results into one zip file: a Workflow Run RO-Crate."""
    require("am archive", "report")
    from am.experiments import Project
    from am.steps.archive import archive as step

    step(Project(project, {"scale": scale}), project.absolute().parent, results, kept, out, largest)


@app.command()
def keep(
    scale: ScaleOption,
    project: ProjectOption = Path("config"),
    results: ResultsOption = None,
    named: Annotated[
        list[str] | None, typer.Argument(help="Experiments, or <experiment>/<run>; all that there are when left out.")
    ] = None,
    kept: Annotated[Path, typer.Option(help="The store of reference results.")] = Path("results/expected"),
    history: Annotated[bool, typer.Option("--history", help="Take history.csv too.")] = False,
) -> None:
    """Take results into the store of reference results: results/expected.

    Rows of the runs and seeds that are taken are replaced, all others stay. Refused are results of a tree with changes,
    without a record or not as recorded. Then `am review --accept` and `am pages` write what follows from them.
    """
    require("am keep", "cells")
    from am.experiments import Project
    from am.steps.keep import keep as step

    chosen = list(dict.fromkeys(name.partition("/")[0] for name in named or ()))
    asked = Project(project, {"scale": scale, **({"experiments": chosen} if chosen else {})}, opt_in=True)
    place = results or Path("results", asked.scale)
    for experiment, seeds in step(asked, place, kept, named or (), history).items():
        typer.echo(f"{experiment}: {seeds} runs and seeds, and the floor")


@app.command()
def agree(
    scale: ScaleOption,
    project: ProjectOption = Path("config"),
    results: ResultsOption = None,
    kept: Annotated[Path, typer.Option(help="The store of reference results.")] = Path("results/expected"),
) -> None:
    """Say whether a rerun agrees with the reference results: identical, within the spread over seeds, or beyond it."""
    require("am agree", "cells")
    from am.experiments import Project
    from am.steps.agree import agree as step

    asked = Project(project, {"scale": scale}, opt_in=True)
    typer.echo("\n".join(step(asked, results or Path("results", asked.scale), kept)))


@app.command()
def review(
    project: ProjectOption = Path("config"),
    kept: Annotated[Path, typer.Option(help="The store of reference results, and references beside them.")] = (
        Path("results/expected")
    ),
    out: Annotated[Path, typer.Option("--out", help="Folder to write into.")] = Path("results/verify"),
    accept: Annotated[
        bool, typer.Option("--accept", help="Make what is recomputed now the reference of later reviews.")
    ] = False,
) -> None:
    """Recompute tables, verdicts and figures from reference results, without training; compare with their references.

    Each experiment is told of as it is done, with the hash of its files. A note tells of rows without a record, and of
    rows whose digest differs from the code. Exit status 1 where a claim that should hold does not, or a number is not
    the one of the reference; the sentence then names the files that are not as committed.
    """
    require("am review", "report")
    from rich.console import Console

    from am.report.verdicts import claims
    from am.steps.review import review as step

    found = step(project, kept, out, accept)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(claims(found.judgements), highlight=False)
    typer.echo(f"Tables, figures and verdicts, made anew from {kept}: {out}")
    for note in found.notes:
        typer.echo(f"NOTE: {note}")
    for fault in found.faults:
        typer.echo(f"FAULT: {fault}")
    if found.faults:
        raise typer.Exit(1)
    against = "is the reference now" if accept else "is that of its reference"
    typer.echo(f"Every claim that could be compared holds, and every number {against}.")


@app.command()
def pages(
    named: Annotated[
        list[Path] | None, typer.Argument(help="Pages, or folders of pages; README.md and docs when left out.")
    ] = None,
    kept: Annotated[Path, typer.Option(help="The store of reference results.")] = Path("results/expected"),
) -> None:
    """Write the numbers of pages from the store of reference results, docs/leaderboard.md among them.

    Exit status 1 where a page says something to hold that the store contradicts.
    """
    require("am pages", "report")
    from am.steps.pages import pages as step

    changed, broken = step(named or [Path("README.md"), Path("docs")], kept)
    for file in changed:
        typer.echo(f"wrote {file}")
    for sentence in broken:
        typer.echo(f"FAULT: {sentence}")
    if broken:
        raise typer.Exit(1)


@app.command()
def croissant(
    out: Annotated[Path, typer.Option(help="Folder to write into, a file for each data set.")] = Path("croissant"),
    registry: Annotated[Path, typer.Option(help="The registry of files.")] = Path("data/registry.yaml"),
) -> None:
    """Describe the data sets that have files in Croissant, the metadata format of MLCommons.

    Call it from the project's root. Each file holds title, licence, citation, and address and digest of every file.
    """
    import json

    from am.io.files import write_text
    from am.io.registry import read_registry
    from am.report.croissant import described

    for name, told in described(read_registry(registry), Path()).items():
        file = out / f"{name}.json"
        write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", file)
        typer.echo(f"wrote {file}")


@app.command()
def explain(
    file: Annotated[
        Path, typer.Argument(help="A figure, a table, a verdict, or any file between steps; or a folder of results.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Everything that is recorded, for programs.")] = False,
) -> None:
    """Tell where a result comes from: metrics, samples, weights, data, settings, code, versions, device, seconds.

    It says edited where a file is not the one that was written, stale where what it was made from has changed since,
    and missing where that is gone. Of a folder it says so of every figure, table and verdict, and of all that `am fit`
    wrote. Exit status 1 where anything is not as it was recorded.
    """
    import json
    import sys

    from rich.console import Console

    from am.steps import explain as step

    if file.is_dir():
        said = step.explain_all(file)
        typer.echo("\n".join(f"{path}: {finding or 'as it was recorded'}" for path, finding in said.items()))
        typer.echo(f"{sum(not finding for finding in said.values())} of {len(said)} are as they were recorded")
        raise typer.Exit(int(any(said.values())))
    root = step.explain(file)
    if as_json:
        typer.echo(json.dumps(step.as_json(root), indent=2))
    else:
        # In a file or a pipe, every line stays one.
        console = Console() if sys.stdout.isatty() else Console(width=10_000)
        console.print(step.as_tree(root), highlight=False)
        console.print(step.summary(root), highlight=False, markup=False)
    raise typer.Exit(int(any(node.findings for node in root.walk())))


def _refuse_if(faults: Sequence[str]) -> None:
    """Tell what is not as recorded, and end with exit status 1."""
    for fault in faults:
        typer.echo(f"FAULT: {fault}", err=True)
    if faults:
        typer.echo("am: not all is as recorded; delete what is named, and the workflow makes it again", err=True)
        raise typer.Exit(1)


def _experiment(project: Path, scale: str, name: str) -> ResolvedExperiment:
    from am.experiments import Project

    return Project(project, {"scale": scale, "experiments": [name]}).experiments[name]


def _project(folder: Path, scale: str | None, results: Path | None) -> tuple[Project, Path]:
    """The project at a scale, or at its own, and the folder of the results."""
    from am.experiments import Project

    asked = Project(folder, {} if scale is None else {"scale": scale})
    return asked, results or asked.results / asked.scale


def _masses(text: str) -> Masses:
    """What ``--masses`` names, or the numbers that it lists."""
    words: dict[str, Masses] = {"equal": "equal", "counts": "counts"}
    try:
        return words[text] if text in words else [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--masses '{text}': give equal, counts, or a number for each time, as in 100,150,400"
        ) from None


def _use(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def main() -> None:
    """Run the command; a mistake of the user's ends in one sentence and exit status 1, Ctrl-C in one and 130."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # which tells how it makes a PDF smaller
    try:
        app(prog_name="am")  # click would call it after the module that was started
    except SystemExit as end:
        # Typer ends so after Ctrl-C, without a word.
        if end.code == 130 and os.environ.get("LOCAL_RANK", "0") == "0":
            print("am: interrupted; the same command continues", file=sys.stderr)
        raise
    except (RuntimeError, ValueError, OSError, ImportError) as error:
        told = _sentence(error)
        if told is None:
            raise
        # Processes that this command started on the same machine fail as it does; one of them says why.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"am: {told}", file=sys.stderr)
        sys.exit(1)


def _sentence(error: Exception) -> str | None:
    """What the library itself raised for the user, or the command that installs what is missing."""
    if type(error) is ModuleNotFoundError:
        missing = explained(error, "this command")
        return None if missing is None else str(missing)
    return " ".join(str(error).splitlines()) if is_ours(error) else None


if __name__ == "__main__":
    main()
