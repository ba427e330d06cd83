FIGURES = {
    "iterations": ["pdf", "png"],
    "times": ["pdf", "png"],
    "losses": ["pdf", "png"],
    "histograms": ["pdf", "png"],
    "animation": ["gif"],
}


def figures_of(experiment):
    """Figures that an experiment can have: those of training need methods that train."""
    trains = any(run.about.trained for run in experiment.runs.values())
    return [name for name in FIGURES if trains or name not in ("iterations", "losses")]


def shown_in(figure):
    """What a figure is made from."""

    def inputs(wildcards):
        e = experiment(wildcards)
        first = [f"{OUT}/{e.name}/{name}/seed{e.seeds[0]}/samples.npz" for name in e.pictured]
        untrained = [path for path in every_run("metrics.csv", e) if path not in every_run("metrics.csv", e, trained=True)]
        return {
            "iterations": every_run("history.csv", e, trained=True) + untrained + [f"{OUT}/{e.name}/floor.csv"],
            "times": every_run("metrics.csv", e) + [f"{OUT}/{e.name}/floor.csv"],
            "losses": every_run("training.csv", e, trained=True),
            "histograms": [f"{OUT}/{e.name}/data.h5ad", *first],
            "animation": [f"{OUT}/{e.name}/data.h5ad", *first],
        }[figure]

    return inputs


rule tabulate_metrics:
    """Means over seeds with intervals, beside floor, controls, costs and published values."""
    input:
        metrics=lambda w: every_run("metrics.csv", experiment(w)),
        floor=rules.measure_floor.output,
    output:
        multiext(f"{OUT}/tables/{{experiment}}", csv=".csv", md=".md", times="_times.csv", times_md="_times.md"),
    params:
        code=step_digest("tabulate"),
        experiment=lambda w: digest([experiment(w).labels(), [p.model_dump() for p in experiment(w).published]]),
        scale=PROJECT.scale,
    log:
        f"{OUT}/logs/tabulate_metrics/{{experiment}}.log",
    localrule: True
    shell:
        "am tabulate {input.metrics} --project config --scale {params.scale} --experiment {wildcards.experiment}"
        " --floor {input.floor} --out {output.csv} 2> {log}"


for figure, suffixes in FIGURES.items():

    rule:
        name:
            f"draw_{figure}"
        input:
            shown_in(figure),
        output:
            report(
                expand(f"{OUT}/figures/{{{{experiment}}}}_{figure}.{{suffix}}", suffix=suffixes),
                caption=f"../report/{figure}.rst",
                category="{experiment}",
                labels={"figure": figure},
            ),
        params:
            code=step_digest("draw"),
            figure=figure,
            labels=lambda w: digest(experiment(w).labels()),
            scale=PROJECT.scale,
            out=lambda w, output: [f"--out {path}" for path in output],
        log:
            f"{OUT}/logs/draw_{figure}/{{experiment}}.log",
        localrule: True
        shell:
            "am draw {params.figure} {input} --project config --scale {params.scale} --experiment {wildcards.experiment}"
            " {params.out} 2> {log}"
