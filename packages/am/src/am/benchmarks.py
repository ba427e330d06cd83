"""Methods in any language: folders of ``workflow/benchmarks/``, each found by itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from am.config import ConfigError, Settings, nearest, parse, read_yaml
from am.report.labels import Label

FOLDER = Path("workflow/benchmarks")
"""From where the workflow runs, beside ``config/``."""


class Benchmark(Settings):
    """``benchmark.yaml``: a method whose rules lie beside it, in ``rules.smk``.

    They read ``<experiment>/seed<k>/data.h5ad`` and the experiment's ``config.yaml``, and write ``samples.npz``; what
    comes after that is the same as for every method.
    """

    title: str = Field(description="words for tables and legends")
    experiments: tuple[str, ...] = Field(min_length=1, description="experiments that it takes part in")
    citation: str = Field(description="paper or programme that it implements")
    licence: str = Field(description="of the code that it runs")
    control: bool = Field(default=False, description="whether it bounds the other methods instead of competing")
    opt_in: bool = Field(default=False, description="runs only where ``benchmarks`` of config.yaml names it")

    def label(self, name: str) -> Label:
        """What tables and figures call it."""
        return Label(name, self.title, self.control)


def read_benchmarks(
    folder: Path, known: Collection[str], named: Sequence[str], opt_in: bool = False
) -> Mapping[str, Benchmark]:
    """The benchmarks of ``folder`` that run, by name.

    Parameters
    ----------
    known
        Experiments that there are.
    named
        Benchmarks that are asked for: those that are not opt-in need not be.
    opt_in
        Whether those that are need not be, either.

    Raises
    ------
    ConfigError
        A folder is not whole, its benchmark.yaml is not valid, or there is none of a name that is asked for.
    """
    found = sorted(path.parent for path in folder.glob("*/benchmark.yaml") if not path.parent.name.startswith("_"))
    names = [path.name for path in found]
    for name in named:
        if name not in names:
            raise ConfigError(f"benchmarks: there is no '{name}' in {folder}; {nearest(name, names)}")
    benchmarks = {}
    for path in found:
        file = path / "benchmark.yaml"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", path.name):
            raise ConfigError(f"{path}: a benchmark is named in small letters, digits and _")
        if not (path / "rules.smk").is_file():
            raise ConfigError(f"{path}: a benchmark needs a rules.smk beside its benchmark.yaml")
        benchmark = parse(Benchmark, read_yaml(file), str(file))
        for experiment in benchmark.experiments:
            if experiment not in known:
                raise ConfigError(
                    f"{file}: experiments: there is no experiment '{experiment}'; {nearest(experiment, known)}"
                )
        if opt_in or not benchmark.opt_in or path.name in named:
            benchmarks[path.name] = benchmark
    return benchmarks
