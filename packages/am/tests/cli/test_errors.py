"""Every mistake ends in one line, exit status 1, and nothing written."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import read_h5ad

from am.config import merge, read_yaml, write_yaml

ABOUT = "--project {project} --scale tiny --experiment atom"
TRAIN = (
    "train --run {atom}/am/config.yaml --data {atom}/data.h5ad --seed 0 --accelerator cpu --out {out}/model.safetensors"
)
SAMPLE = "sample --run {atom}/am/config.yaml --data {atom}/data.h5ad --seed 0 --device cpu --out {out}/samples.npz"
MODEL = "--model {atom}/am/seed0/model.safetensors"
EVALUATE = (
    "evaluate --config {atom}/config.yaml --data {atom}/data.h5ad --samples {atom}/am/seed0/samples.npz --method am"
    " --seed 0 --out {out}/metrics.csv"
)
HISTORY = (
    "history --config {atom}/config.yaml --run {atom}/am/config.yaml --data {atom}/data.h5ad"
    " --snapshots {atom}/am/seed0/snapshots.safetensors --seed 0 --device cpu --out {out}/history.csv"
)
TABULATE = f"tabulate {{atom}}/am/seed0/metrics.csv {ABOUT} --floor {{atom}}/floor.csv --out {{out}}/table.csv"
DRAW = f"draw times {{atom}}/am/seed0/metrics.csv {{atom}}/floor.csv {ABOUT} --out {{out}}/times.png"
LOSSES = f"draw losses {{atom}}/am/seed0/training.csv {ABOUT} --out {{out}}/losses.png"
HISTOGRAMS = f"draw histograms {{atom}}/data.h5ad {{atom}}/am/seed0/samples.npz {ABOUT} --out {{out}}/histograms.png"
VERIFY = "verify --project {project} --scale tiny --results {results} --kept {out}/kept --out {out}/verdict.html"


@pytest.fixture(scope="module")
def bad(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are wrong, each in its own way."""
    folder = tmp_path_factory.mktemp("bad")
    atom = chain / "results" / "tiny" / "atom"
    (folder / "junk").write_bytes(b"\x89junk\xff" * 50)
    (folder / "empty").touch()
    (folder / "pickle").write_bytes(pickle.dumps(Payload(folder / "ran")))

    # Settings.
    run, data = read_yaml(atom / "am" / "config.yaml"), read_yaml(atom / "config.yaml")
    for name, change in {
        "unknown-key": {"settings": {"training": {"iteratoins": 3}}},
        "wrong-type": {"settings": {"training": {"iterations": "many"}}},
        "another-network": {"settings": {"potential": {"width": 9}}},
        "another-method": {"method": "amm"},
        "no-such-state": {"dataset": {"states": [{"n": 2, "l": 2, "m": 0}]}},
        "too-many": {"sampling": {"n_samples": 41}},
    }.items():
        write_yaml(merge(run, change), folder / f"{name}.yaml")
    (folder / "not-yaml.yaml").write_text("a: [1, 2")
    (folder / "twice.yaml").write_text("run: am\nrun: eam\n")
    (folder / "tag.yaml").write_text(f"run: !!python/object/apply:os.mkdir [{folder / 'ran'}]\n")
    write_yaml(merge(data, {"dataset": {"states": [{"n": 1, "l": 1, "m": 0}]}}), folder / "no-such-state-data.yaml")
    write_yaml(merge(data, {"evaluation": {"times": [0.25]}}), folder / "other-times.yaml")

    # Points.
    def points(name: str, change: Any) -> None:
        table = read_h5ad(atom / "data.h5ad")
        change(table)
        table.write_h5ad(folder / name)

    def put_nan(table: Any) -> None:
        table.X[3, 1] = np.nan

    def put_late(table: Any) -> None:
        table.obs.loc["7", "time"] = np.inf

    points("nan.h5ad", put_nan)
    points("inf-time.h5ad", put_late)
    points("no-split.h5ad", lambda table: table.obs.drop(columns="split", inplace=True))
    points("words.h5ad", lambda table: table.obs.insert(0, "seed", table.obs.pop("seed").map("seed {}".format)))
    (folder / "half.h5ad").write_bytes((atom / "data.h5ad").read_bytes()[:3000])

    # Weights.
    model = (atom / "am" / "seed0" / "model.safetensors").read_bytes()
    (folder / "half.safetensors").write_bytes(model[: len(model) // 2])
    (folder / "flipped.safetensors").write_bytes(model[:-9] + bytes([model[-9] ^ 4]) + model[-8:])
    shutil.copy(atom / "am" / "seed0" / "model.safetensors", folder / "alone.safetensors")

    # Samples.
    time = np.repeat([0.5, 1.0], 40)
    for name, arrays in {
        "one-time": {"x": np.zeros((40, 3)), "time": time[:40]},
        "flat": {"x": np.zeros((80, 2)), "time": time},
        "words": {"x": np.full((80, 3), "a"), "time": time},
        "nan": {"x": np.full((80, 3), np.nan), "time": time},
        "objects": {"x": np.array([None] * 80), "time": time},
        "scalar": {"x": np.array(1.0), "time": np.array(0.5)},
        "uneven": {"x": np.zeros((79, 3)), "time": time},
        "no-time": {"x": np.zeros((80, 3))},
        "weights": {"x": np.zeros((80, 3)), "time": time, "log_weight": np.full(80, np.inf)},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    np.save(folder / "array.npy", np.zeros(3))
    (folder / "half.npz").write_bytes((atom / "am" / "seed0" / "samples.npz").read_bytes()[:200])

    # Tables and where they lie.
    for place in ("amm/seed0", "am/first", "am/seed0"):
        (folder / place).mkdir(parents=True)
        shutil.copy(atom / "am" / "seed0" / "training.csv", folder / place)
        shutil.copy(atom / "am" / "seed0" / "samples.npz", folder / place)
    (folder / "am" / "seed0" / "metrics.csv").write_text("a,b\n1,2\n")
    (folder / "am" / "seed0" / "training.csv").write_text("step,loss\n1,many\n")
    return folder


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def instead(command: str, option: str, value: str) -> str:
    """The command with another value of an option (or argument)."""
    words = command.split()
    at = words.index(option)
    words[at if option.startswith("{") else at + 1] = value
    return " ".join(words)


CASES = [
    # Names.
    (f"resolve {ABOUT} --run amm --out {{out}}/a", "atom: there is no run 'amm'; did you mean 'am'?"),
    (instead(f"resolve {ABOUT} --out {{out}}/a", "--scale", "tiyn"), "there is no scale 'tiyn' in"),
    (instead(f"resolve {ABOUT} --out {{out}}/a", "--experiment", "atmo"), "did you mean 'atom'?"),
    (instead(f"resolve {ABOUT} --out {{out}}/a", "--project", "{bad}"), "config.yaml: no such file"),
    (instead(DRAW, "draw", "tmies"), "there is no figure 'tmies'; did you mean 'times'?"),
    # Settings.
    (instead(TRAIN, "--run", "{bad}/absent.yaml"), "absent.yaml: no such file"),
    (instead(TRAIN, "--run", "{bad}/junk"), "junk: cannot be read: "),
    (instead(TRAIN, "--run", "{bad}/not-yaml.yaml"), "not-yaml.yaml: not valid YAML: "),
    (instead(TRAIN, "--run", "{bad}/twice.yaml"), "twice.yaml: line 2: the key 'run' is given twice"),
    (instead(TRAIN, "--run", "{bad}/tag.yaml"), "tag.yaml: not valid YAML: "),
    (instead(TRAIN, "--run", "{bad}/empty"), "empty: experiment: this key is required"),
    (instead(TRAIN, "--run", "{atom}/config.yaml"), "config.yaml: seeds: unknown key"),
    (
        instead(TRAIN, "--run", "{bad}/unknown-key.yaml"),
        "unknown-key.yaml: training.iteratoins: unknown key; did you mean 'iterations'?",
    ),
    (instead(TRAIN, "--run", "{bad}/wrong-type.yaml"), "(got 'many')"),
    (instead(TRAIN, "--run", "{bad}/another-method.yaml"), "methods: there is no 'amm'; did you mean 'am'?"),
    (instead(TRAIN, "--run", "{bad}/no-such-state.yaml"), "l must be below n, got n=2 and l=2"),
    (instead(TRAIN, "--run", "{atom}/oracle/config.yaml"), "the method 'oracle' has nothing to train"),
    ("prepare --config {bad}/no-such-state-data.yaml --out {out}/a", "l must be below n, got n=1 and l=1"),
    ("prepare --config {atom}/am/config.yaml --out {out}/a", "run: unknown key"),
    ("floor --config {bad}/absent.yaml --out {out}/a", "absent.yaml: no such file"),
    # Devices.
    (instead(TRAIN, "--accelerator", "warp"), "cannot train with --accelerator warp --devices 1: "),
    (instead(f"{SAMPLE} {MODEL}", "--device", "warp"), "there is no device 'warp'; choose from: auto, cpu, cuda"),
    (instead(f"{SAMPLE} {MODEL}", "--device", "cuda:x"), "there is no device 'cuda:x'"),
    (
        instead(f"{SAMPLE} {MODEL}", "--device", "cuda:99"),
        "device 'cuda:99': there is no such GPU here; try --device cpu",
    ),
    # Points.
    *(
        (instead(command, "--data", f"{{bad}}/{name}"), expected)
        for command in (TRAIN, EVALUATE)
        for name, expected in (
            ("absent", "absent: no such file of data"),
            ("junk", "junk: not a whole h5ad file"),
            ("half.h5ad", "half.h5ad: not a whole h5ad file"),
            ("nan.h5ad", "nan.h5ad: 1 of 300 points are not finite, the first is row 3"),
            ("inf-time.h5ad", "inf-time.h5ad: 1 of 300 points are not finite, the first is row 7"),
            ("no-split.h5ad", "no-split.h5ad: obs has no column 'split'"),
            ("words.h5ad", "words.h5ad: the column 'seed' of obs holds something that is not a whole number"),
        )
    ),
    (instead(f"{SAMPLE} {MODEL}", "--seed", "7"), "the data hold no test points of seed 7; seeds: [0, 1]"),
    (instead(f"{SAMPLE} {MODEL}", "--run", "{bad}/too-many.yaml"), "41 particles asked for, the data start 40"),
    (instead(EVALUATE, "--config", "{bad}/other-times.yaml"), "no samples at time 0.25; times: [0.5, 1.0]"),
    # Weights.
    (SAMPLE, "the method 'am' needs --model"),
    (instead(f"{SAMPLE} {MODEL}", "--run", "{atom}/oracle/config.yaml"), "the method 'oracle' takes no --model"),
    (f"{SAMPLE} --model {{bad}}/absent", "absent: no such file of weights"),
    (f"{SAMPLE} --model {{bad}}/junk", "junk: not a whole safetensors file"),
    (f"{SAMPLE} --model {{bad}}/pickle", "pickle: not a whole safetensors file"),
    (f"{SAMPLE} --model {{bad}}/half.safetensors", "half.safetensors: not a whole safetensors file"),
    (
        f"{SAMPLE} --model {{bad}}/flipped.safetensors",
        "its content does not match its digest; delete it to train again",
    ),
    (f"{SAMPLE} --model {{atom}}/am/seed0/snapshots.safetensors", "weights of another network: "),
    (
        instead(f"{SAMPLE} {MODEL}", "--run", "{bad}/another-network.yaml"),
        "model.safetensors: weights of another network: 'network.hidden.0.weight' is (8, 7), this one needs (9, 7)",
    ),
    (f"{SAMPLE} --model {{bad}}/alone.safetensors", "training.json: no such record of provenance"),
    (instead(HISTORY, "--snapshots", "{atom}/am/seed0/model.safetensors"), "is this snapshots.safetensors?"),
    (instead(HISTORY, "--snapshots", "{bad}/half.safetensors"), "half.safetensors is unrecorded: nothing tells"),
    (instead(HISTORY, "--run", "{atom}/oracle/config.yaml"), "the method 'oracle' has no network for "),
    # Samples.
    (instead(EVALUATE, "--samples", "{bad}/absent"), "absent: no such file of samples"),
    (instead(EVALUATE, "--samples", "{bad}"), "not a whole npz file"),
    (instead(EVALUATE, "--samples", "{bad}/junk"), "junk: not a whole npz file"),
    (instead(EVALUATE, "--samples", "{bad}/pickle"), "pickle: not a whole npz file"),
    (instead(EVALUATE, "--samples", "{bad}/half.npz"), "half.npz: not a whole npz file"),
    (instead(EVALUATE, "--samples", "{bad}/array.npy"), "array.npy: not a whole npz file"),
    (instead(EVALUATE, "--samples", "{bad}/objects.npz"), "objects.npz: the array 'x' holds Python objects"),
    (instead(EVALUATE, "--samples", "{bad}/words.npz"), "words.npz: the array 'x' is of <U1 and shape (80, 3)"),
    (instead(EVALUATE, "--samples", "{bad}/scalar.npz"), "scalar.npz: the array 'x' is of float64 and shape ()"),
    (instead(EVALUATE, "--samples", "{bad}/nan.npz"), "nan.npz: the array 'x' holds a number that is not finite"),
    (instead(EVALUATE, "--samples", "{bad}/weights.npz"), "the array 'log_weight' holds a number that is not finite"),
    (instead(EVALUATE, "--samples", "{bad}/uneven.npz"), "uneven.npz: arrays of different lengths"),
    (instead(EVALUATE, "--samples", "{bad}/no-time.npz"), "no-time.npz: the array 'time' is missing"),
    (instead(EVALUATE, "--samples", "{bad}/one-time.npz"), "no samples at time 1.0; times: [0.5]"),
    (instead(EVALUATE, "--samples", "{bad}/flat.npz"), "the samples have different dimensions, 2 and 3"),
    # Tables.
    (instead(TABULATE, "--floor", "{bad}/absent"), "absent is missing: there is no such file"),
    (instead(TABULATE, "--floor", "{bad}/junk"), "junk is unrecorded: nothing tells what made it"),
    (instead(TABULATE, "--floor", "{bad}/am/seed0/metrics.csv"), "am/seed0/metrics.csv is unrecorded: nothing tells"),
    (instead(TABULATE, "{atom}/am/seed0/metrics.csv", "{bad}/absent"), "absent is missing: there is no such file"),
    (instead(VERIFY, "--results", "{bad}/absent"), "there are no results of atom to judge"),
    # Figures.
    (instead(DRAW, "--out", "{out}/times.docx"), "times.docx: the figure 'times' is written as .pdf or .png"),
    (instead(DRAW, "draw", "animation"), "times.png: the figure 'animation' is written as .gif"),
    (instead(DRAW, "{atom}/floor.csv", "{bad}/absent/floor.csv"), "floor.csv is missing: there is no such file"),
    (instead(DRAW, "{atom}/floor.csv", "{atom}/am/seed1/metrics.csv"), "the figure needs a floor.csv among its inputs"),
    (instead(DRAW, "draw", "iterations"), "the figure needs a history.csv among its inputs"),
    (
        instead(LOSSES, "{atom}/am/seed0/training.csv", "{bad}/am/seed0/training.csv"),
        "am/seed0/training.csv is unrecorded: nothing tells",
    ),
    (instead(LOSSES, "{atom}/am/seed0/training.csv", "{atom}/floor.csv"), "needs a training.csv among its inputs"),
    (instead(HISTOGRAMS, "{atom}/data.h5ad", "{atom}/floor.csv"), "the figure needs a data.h5ad among its inputs"),
    (instead(HISTOGRAMS, "{atom}/am/seed0/samples.npz", "{atom}/floor.csv"), "needs a samples.npz among its inputs"),
    (instead(HISTOGRAMS, "{atom}/am/seed0/samples.npz", "{bad}/amm/seed0/samples.npz"), "samples.npz is unrecorded"),
    # Places that cannot be written to.
    *(
        (instead(command, "--out", "{bad}/junk/below/a" + suffix), "junk/below")
        for command, suffix in (
            (f"resolve {ABOUT} --out x", ""),
            ("schema --out x", ""),
            ("prepare --config {atom}/config.yaml --out x", ""),
            (TRAIN, ""),
            (f"{SAMPLE} {MODEL}", ""),
            (EVALUATE, ""),
            (TABULATE, ""),
            (DRAW, ".png"),
            (VERIFY, ".html"),
        )
    ),
]


@pytest.mark.parametrize(("command", "expected"), CASES, ids=[f"{c.split()[0]}: {e}"[:60] for c, e in CASES])
def test_a_mistake_is_one_sentence(
    chain: Path, bad: Path, tmp_path: Path, am: Any, command: str, expected: str
) -> None:
    results, out = chain / "results" / "tiny", tmp_path / "out"
    places = {"project": chain / "config", "results": results, "atom": results / "atom", "bad": bad, "out": out}
    before = {path: path.stat().st_mtime_ns for folder in (chain, bad) for path in folder.rglob("*")}
    sentence = am(*(word.format(**places) for word in command.split())).sentence
    assert expected in sentence
    assert not [path for path in out.rglob("*") if path.is_file()]
    assert {path: path.stat().st_mtime_ns for folder in (chain, bad) for path in folder.rglob("*")} == before
    assert not (bad / "ran").exists()
