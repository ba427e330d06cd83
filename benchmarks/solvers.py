"""What samples cost: distance of digits by evaluations of the learned field, solver by solver, from the same weights.

python benchmarks/solvers.py [SCALE SEED]

Of those runs of the experiment digits whose weights of this seed the workflow has left in `results/<scale>/`. Writes
`solvers.csv` and the figure `figures/digits_solvers` there, both with their origin.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import describe

from am.experiments import Project
from am.io.provenance import origin, write_origin
from am.io.snapshots import read_snapshots
from am.metrics.classifier import Classifier
from am.metrics.feature_distances import frechet_distance
from am.report.figures.metric_lines import panel
from am.report.figures.saving import save_figure
from am.report.figures.style import looks, styled
from am.runs import step_digest
from am.steps.sample import Sampler
from am.training.checkpoint import read_tensors

ROOT = Path(__file__).parents[1]
SOLVERS: tuple[dict[str, Any], ...] = (
    *({"method": "euler", "steps": steps} for steps in (5, 10, 20, 50, 100)),
    *({"method": "dopri5", "rtol": tolerance, "atol": tolerance} for tolerance in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)),
)


def main() -> None:
    scale, seed = (*sys.argv[1:], *("laptop", "0")[len(sys.argv) - 1 :])
    torch.set_num_threads(1)
    print(describe())
    experiment = Project(ROOT / "config", {"experiments": ["digits"], "scale": scale}).known["digits"]
    out = ROOT / "results" / scale
    data = out / "digits" / f"seed{seed}" / "data.h5ad"
    dataset = experiment.data.build_dataset()
    labelled = dataset.labelled_images()  # type: ignore[attr-defined]
    classifier = Classifier(*labelled)
    n = experiment.data.evaluation.n_samples
    truth = classifier.features(torch.from_numpy(read_snapshots(data).test(int(seed), 1.0)[:n]))
    train = classifier.features(torch.from_numpy(labelled[0][:n]))
    print(f"training digits: {frechet_distance(train, truth):.2f}")
    models = {run: out / "digits" / run / f"seed{seed}" / "model.safetensors" for run in experiment.pictured}
    models = {run: model for run, model in models.items() if model.exists()}
    if not models:
        print(f"{out / 'digits'} holds no weights of seed {seed}; run the workflow for digits first")
        return
    rows = []
    for run, model in models.items():
        settings = experiment.runs[run]
        for solver in SOLVERS:
            # What a solver does not name stays as the run has it: the dynamics of a diffusion, for one.
            sampling = settings.sampling.model_copy(update={"solver": {**(settings.sampling.solver or {}), **solver}})
            sampler = Sampler(
                settings.model_copy(update={"sampling": sampling}), data, int(seed), torch.device("cpu"), run
            )
            sampler.load(read_tensors(model)[0], str(model))
            prediction = sampler.predict(n)
            distance = frechet_distance(classifier.features(prediction.x[-1]), truth)
            setting = solver.get("steps", solver.get("rtol"))
            rows.append((run, int(seed), solver["method"], setting, prediction.nfe, distance))
            print(f"{run}, {solver['method']} {setting:g}: {prediction.nfe} evaluations, {distance:.2f}", flush=True)
    table = pd.DataFrame(rows, columns=["method", "seed", "solver", "setting", "nfe", "classifier_frechet"])
    made_of = origin([data, *models.values()], step_digest("sample"), ["sample"], [experiment.asked("labels")])
    file = out / "solvers.csv"
    table.to_csv(file, index=False, lineterminator="\n")
    write_origin(file, made_of)
    with styled():
        figure, axes = panel("Frechet distance (classifier)")
        labels = [label for label in experiment.labels() if label.method in models]
        for label, look in ((label, looks(labels)[label.method]) for label in labels):
            for solver, dash in (("euler", ":"), ("dopri5", "-")):
                mine = table[(table["method"] == label.method) & (table["solver"] == solver)].sort_values("nfe")
                name = label.title if solver == "dopri5" else None
                axes.plot(
                    mine["nfe"],
                    mine["classifier_frechet"],
                    dash,
                    color=look.colour,
                    marker=look.marker,
                    ms=3,
                    label=name,
                )
        axes.plot([], [], ":", color="0.4", label="Euler")
        axes.plot([], [], "-", color="0.4", label="Dormand-Prince")
        axes.set(xscale="log", yscale="log", xlabel="evaluations of the field")
        axes.set_xticks([5, 10, 20, 50, 100, 200], ["5", "10", "20", "50", "100", "200"])
        least, most = table["classifier_frechet"].min(), table["classifier_frechet"].max()
        axes.set_yticks(decades := [y for y in (1, 2, 5, 10, 20, 50, 100) if np.floor(least) <= y <= 2 * most])
        axes.set_yticklabels([f"{y}" for y in decades])
        axes.legend()
    for suffix in ("pdf", "png"):
        path = out / "figures" / f"digits_solvers.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, path, made_of)


if __name__ == "__main__":
    main()
