"""Tell where a result comes from, and whether all that it rests on is as it was."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from am.config import ConfigError, digest, read_yaml
from am.experiments import Project, ResolvedExperiment
from am.io.provenance import (
    Asked,
    Origin,
    Provenance,
    ProvenanceError,
    committed,
    file_sha256,
    is_store,
    named,
    read_origin,
    read_provenance,
    sidecar,
)
from am.io.raw import RAW
from am.report.figures.origins import origin_inside
from am.runs import TRAINED, DataConfig, RunConfig, read_data_config, read_run, step_digest

if TYPE_CHECKING:
    from rich.tree import Tree

_RECORDS = ("provenance.json", "training.json")
_MADE = ("data.h5ad", "samples.npz", *TRAINED)
"""What the workflow makes and then measures, which must have a record."""
MISSING = "missing: there is no such file"
_UNRECORDED = "unrecorded: nothing tells what made it"
_TOLD = ("device", "seed", "train_seconds", "sample_seconds", "nfe", "peak_memory_bytes", "started", "finished")

KEPT = Path("results/expected")
"""The store of reference results: git says whether its files are those that were committed."""


@dataclass
class Node:
    """A file, what made it, and what has become of that."""

    path: Path
    sha256: str | None
    """None where the file is missing."""
    recorded: str | None = None
    """Sha256 that its record tells, where there is one."""
    kind: str = "file"
    """file, settings, committed, foreign (samples of another program), or source: what data sets are read from."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Commit, code digest, versions, device, seed and seconds, as far as the one that made it told them."""
    findings: list[str] = field(default_factory=list)
    """What no longer holds; each begins with edited, stale, missing, misplaced or unrecorded."""
    inputs: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """The node and all below it, each once."""
        seen: set[int] = set()
        pending = [self]
        while pending:
            node = pending.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                pending += reversed(node.inputs)

    def told(self, but: str = "") -> list[str]:
        """A sentence for each finding on the node and on all below it, causes first: they lie below.

        Parameters
        ----------
        but
            A finding that counts on the node alone.
        """
        return [
            f"{_shown(node.path)} is {finding}"
            for node in [*self.walk()][::-1]
            for finding in node.findings
            if node is self or finding != but
        ]


def explain(file: Path) -> Node:
    """All that ``file`` rests on, down to data and settings.

    Files are looked for where they were recorded: from the folders above the result that names them, from the
    current folder last, so that a project may be moved as a whole and a figure alone.

    Raises
    ------
    ProvenanceError
        The file is missing, or nothing tells where it comes from; or a record is not one.
    """
    if not os.path.isfile(file):
        what = "it is no plain file" if os.path.lexists(file) else "there is no such file"
        raise ProvenanceError(f"{file}: {what}")
    root = Explainer().node(file)
    if not root.record:
        raise ProvenanceError(f"{file}: nothing tells where it comes from, neither inside it nor beside it")
    return root


def explain_all(folder: Path) -> dict[Path, str]:
    """What there is to say of every figure, table and verdict below ``folder``; nothing where all is as recorded.

    Of a folder that ``am fit`` wrote, it is every file that its record lists.

    Raises
    ------
    ProvenanceError
        There are none, or a record is not one.
    """
    there = {path for pattern in _SHOWN for path in folder.rglob(pattern) if path.suffix != ".json"}
    shown = {path for path in there if os.path.isfile(path)}
    for record in folder.rglob("provenance.json"):
        if os.path.isfile(record.with_name("settings.yaml")):
            shown |= {record.with_name(name) for name in read_provenance(record).get("files", {})}
    if not shown:
        raise ProvenanceError(f"{folder}: there is no figure, table or verdict below it")
    explainer = Explainer()
    said: dict[Path, str] = {}
    for path in sorted(shown):
        root = explainer.node(path)
        told = (sentence.removeprefix(f"{_shown(path)} is ") for sentence in root.told())
        said[path] = "; ".join(told) if root.record else "nothing tells where it comes from"
    return said


_SHOWN = ("figures/*", "tables/*", "verdict.*")


def as_json(root: Node) -> dict[str, Any]:
    """The same as plain data: every file once, by path, the one asked about first."""
    return {
        _shown(node.path): {
            "kind": node.kind,
            "sha256": node.sha256,
            "findings": node.findings,
            "made_from": [_shown(one.path) for one in node.inputs],
            "record": dict(node.record),
        }
        for node in root.walk()
    }


def as_tree(root: Node) -> Tree:
    """The same for people; what stands twice is drawn out once."""
    from rich.text import Text
    from rich.tree import Tree

    drawn: set[int] = set()

    def label(node: Node) -> Text:
        text = Text.assemble((_shown(node.path), "bold"), (f"  {node.kind}" if node.kind != "file" else "", "dim"))
        for finding in node.findings:
            text.append(f"\n{finding}", "bold red" if not finding.startswith("stale") else "bold yellow")
        if id(node) in drawn:
            text.append("  (above)" if node.inputs else "", "dim")
        elif facts := _facts(node):
            text.append(f"\n{facts}", "dim")
        return text

    whole = Tree(label(root))
    # In the order of a reader, and without recursion: records of others may be chained without end.
    pending = [(whole, root)]
    while pending:
        tree, node = pending.pop()
        if tree is not whole:
            tree.label = label(node)
        if id(node) not in drawn:
            drawn.add(id(node))
            pending += [(tree.add(""), one) for one in node.inputs][::-1]
    return whole


def summary(root: Node) -> str:
    """What of all that a result rests on does not hold, in a few lines."""
    nodes = list(root.walk())
    found = [f"{_shown(node.path)}: {finding}" for node in nodes for finding in node.findings]
    if not found:
        return f"{len(nodes)} files, all as they were recorded."
    return "\n".join([f"{len(nodes)} files; not all is as it was recorded:", *found])


class Explainer:
    """Asks of one file after another what it rests on; each file is read once.

    Parameters
    ----------
    settings
        What stands now in files of settings, for those whose content is known better than the file tells: the
        settings of the project, where results may hold older ones.
    foreign
        Names of runs of other programs. Their samples need no record, and a record of theirs tells of no settings and
        code of this project.
    """

    def __init__(self, settings: Mapping[Path, RunConfig | DataConfig] | None = None, foreign: Iterable[str] = ()):
        self._known = {path.absolute(): known for path, known in (settings or {}).items()}
        self._foreign = frozenset(foreign)
        self._nodes: dict[Path, Node] = {}
        self._pending: list[tuple[Node, _Record]] = []
        self._committed: dict[Path, dict[Path, bool] | None] = {}

    def node(self, path: Path) -> Node:
        """The file and all that it rests on.

        Raises
        ------
        ProvenanceError
            A record is not one.
        """
        node = self._begun(path)
        # Without recursion: records of others may be chained without end.
        while self._pending:
            self._follow(*self._pending.pop())
        if not node.record and node.sha256 and node.kind == "file" and not node.findings:
            self._look_up(node)
        return node

    def _begun(self, path: Path) -> Node:
        key = path.absolute()
        if key not in self._nodes:
            self._nodes[key] = node = Node(path, file_sha256(path) if _there(path) else None)
            if node.sha256 is None:
                node.findings.append(MISSING)
            if path.name not in ("", "..") and (record := self._record(path)):
                node.record, node.recorded = record.facts, record.sha256
                self._pending.append((node, record))
        return self._nodes[key]

    def _follow(self, node: Node, record: _Record) -> None:
        if node.sha256 and record.sha256 and record.sha256 != node.sha256:
            node.findings.append(f"edited: it is not the file that was written, which had sha256 {record.sha256[:12]}")
        seed, place = record.facts.get("seed"), node.path.absolute().parent.name
        if isinstance(seed, int) and re.fullmatch(r"seed\d+", place) and place != f"seed{seed}":
            node.findings.append(f"misplaced: its record is of seed {seed}")
        for name, sha256 in record.inputs.items():
            below = self._begun(_find(name, node.path))
            node.inputs.append(below)
            found = below.sha256 or below.recorded  # of a file that is gone, its record still tells
            if found and found != sha256:
                node.findings.append(f"stale: {_shown(below.path)} has changed since, it had sha256 {sha256[:12]}")
            if not below.record and name in record.sources:
                below.kind = "source"
            elif not below.record and below.sha256 and below.kind == "file" and not below.findings:
                self._look_up(below)
        for file, then, now in record.settings:
            below = self._begun(file)
            below.kind = "settings"
            node.inputs.append(below)
            if (below.sha256 or file.absolute() in self._known) and then != _present(now):
                node.findings.append(f"stale: what counts of {_shown(file)} has changed since")
        if record.code_digest != _present(record.code):
            node.findings.append("stale: the code has changed since")

    def _look_up(self, node: Node) -> None:
        """Whether a file without a record is one that the project commits."""
        path = node.path.absolute()
        if path.name == "samples.npz" and path.parent.parent.name in self._foreign:
            node.kind = "foreign"
            return
        if (kept := _kept(path)) is None:
            node.findings.append(_UNRECORDED)
            return
        if kept not in self._committed:
            self._committed[kept] = committed(kept)
        tracked = self._committed[kept]
        if tracked is not None and path not in tracked:
            node.findings.append(_UNRECORDED)
            return
        node.kind = "committed"
        if tracked is not None and not tracked[path]:
            node.findings.append("edited: it is not the file that was committed")

    def _record(self, path: Path) -> _Record | None:
        if os.path.lexists(sidecar(path)):
            return self._made(path, read_origin(path))
        for name in _RECORDS:
            where = path.with_name(name)
            if os.path.lexists(where):
                ran = read_provenance(where)
                if path == where or path.name in ran.get("files", {}):
                    return self._ran(path.name, ran, where.absolute())
        inside = origin_inside(path) if os.path.isfile(path) else None
        return self._made(path, inside) if inside else None

    def _made(self, path: Path, made: Origin) -> _Record:
        """Of a file with a sidecar, or of a figure with the same inside."""
        facts = {key: value for key, value in made.items() if key not in ("inputs", "settings")}
        sha256, code = facts.get("sha256"), made.get("code", [])
        training = path.with_name("training.json")
        if path.name in TRAINED and training.is_file():  # weights that were fetched, with what their training told
            told = read_provenance(training)
            facts["trained"] = {key: value for key, value in told.items() if key not in ("data", "files")}
        settings = [
            (file, asked["sha256"], partial(self._settings_now, file, asked))
            for asked in made.get("settings", [])
            for file in [_find(asked["file"], path)]
        ]
        return _Record(
            facts=facts,
            sha256=sha256 if isinstance(sha256, str) else None,
            inputs=made["inputs"],
            settings=settings,
            code_digest=made["code_digest"],
            code=lambda: step_digest(*code) if code else made["code_digest"],
            sources=frozenset(name for name in made["inputs"] if _is_source(Path(name), code)),
        )

    def _ran(self, name: str, ran: Provenance, where: Path) -> _Record:
        """Of a run, whose settings lie where the contract between steps says."""
        if where.parent.parent.name in self._foreign:
            return _Record(
                facts={key: value for key, value in ran.items() if key not in ("data", "files")},
                sha256=ran.get("files", {}).get(name),
                inputs=ran["data"],
                settings=(),
                code_digest=ran["code_digest"],
                code=lambda: ran["code_digest"],
                sources=frozenset(),
            )
        fitted, training = where.with_name("settings.yaml"), where.name == "training.json"
        file = fitted if fitted.is_file() else where.parent.parent / "config.yaml"

        def settings() -> str:
            if file == fitted:
                return digest({key: value for key, value in read_yaml(file).items() if key != "units"})
            run = self._run(file)
            return run.training_digest if training else run.sampling_digest

        def code() -> str:
            if file == fitted:
                return step_digest("fit", f"am.methods.{read_yaml(file)['method']}")
            if not os.path.isfile(file) and file.absolute() not in self._known:
                raise ConfigError(f"{file}: there is no such file")
            return self._run(file).code_digest("train" if training else "sample")

        return _Record(
            facts={key: value for key, value in ran.items() if key not in ("data", "files")},
            sha256=ran.get("files", {}).get(name),
            inputs=ran["data"],
            settings=[(file, ran["config_sha256"], settings)],
            code_digest=ran["code_digest"],
            code=code,
            sources=frozenset(ran["data"] if file == fitted else ()),
        )

    def _settings_now(self, file: Path, asked: Asked) -> str:
        keys = asked["keys"]
        if asked.get("scale") is not None:
            named_then = asked.get("benchmarks")
            name, benchmarks = asked.get("experiment") or file.stem, None if named_then is None else tuple(named_then)
            return _experiment(file.parents[1], name, asked["scale"], benchmarks).shown(*keys)
        if file.name == "settings.yaml":
            told = read_yaml(file)
            return digest({key: told[key] for key in keys})
        if keys == ["sampling"]:
            return self._run(file).sampling_digest
        if keys == ["training"]:
            return self._run(file).training_digest
        return self._data(file).asked(*keys)

    def _run(self, file: Path) -> RunConfig:
        known = self._known.get(file.absolute())
        return known if isinstance(known, RunConfig) else read_run(file)

    def _data(self, file: Path) -> DataConfig:
        known = self._known.get(file.absolute())
        return known if isinstance(known, DataConfig) else read_data_config(file)


@dataclass
class _Record:
    """What is told about a file, and how to find out whether that would be told now."""

    facts: dict[str, Any]
    sha256: str | None
    inputs: Mapping[str, str]
    settings: Sequence[tuple[Path, str, Callable[[], str]]]
    code_digest: str
    code: Callable[[], str]
    sources: frozenset[str]
    """Those of the inputs that come from outside, and need no record."""


@cache
def _experiment(project: Path, name: str, scale: str, benchmarks: tuple[str, ...] | None) -> ResolvedExperiment:
    """As it is resolved now, with the benchmarks that took part then; older records do not name them."""
    named_then = {} if benchmarks is None else {"benchmarks": list(benchmarks)}
    return Project(project, {"scale": scale, "experiments": [name], **named_then}).experiments[name]


def _is_source(file: Path, code: Sequence[str]) -> bool:
    """Whether a step reads a file from outside: data sets and networks do, and have made none of what they read."""
    from_outside = code[:1] == ["evaluate"] and file.name not in _MADE
    return code[:1] in (["prepare"], ["fit"]) or from_outside or file.is_relative_to(RAW)


def _present(now: Callable[[], str]) -> str | None:
    try:
        return now()
    except Exception:  # settings that are no longer valid, code that is gone, or words that were never either
        return None


def _find(name: str, near: Path) -> Path:
    """The file that a record near ``near`` names, wherever the project lies now."""
    places = [folder / name for folder in (*near.absolute().parents, Path.cwd())]
    return next((place for place in places if _there(place)), Path(name))


def _kept(path: Path) -> Path | None:
    """The folder of committed metrics that a file lies in."""
    return next((above for above in path.absolute().parents if above.parts[-2:] == KEPT.parts), None)


def _shown(path: Path) -> str:
    return named(path.absolute())


def _facts(node: Node) -> str:
    """What the one that made it told, in a line."""
    facts = [f"sha256 {node.sha256[:12]}"] if node.sha256 else []
    facts += _told(node.record)
    if trained := node.record.get("trained"):
        facts.append(f"trained: {', '.join(_told(trained))}")
    return ", ".join(facts)


def _told(record: Mapping[str, Any]) -> list[str]:
    facts = [f"{name.split('_')[0]} {str(record[name])[:12]}" for name in ("commit", "code_digest") if name in record]
    if why := record.get("commit_unknown"):
        facts[0] += f" ({why})"
    facts += [f"{name.replace('_', ' ')} {_value(record[name])}" for name in _TOLD if record.get(name) is not None]
    if isinstance(versions := record.get("versions"), dict):
        facts += [f"{name} {versions[name]}" for name in ("python", "torch", "numpy") if name in versions]
    return facts


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _there(path: Path) -> bool:
    """Whether it is a file, or a store of data: never a device, which may not end, and no other folder."""
    return os.path.isfile(path) or is_store(path)
