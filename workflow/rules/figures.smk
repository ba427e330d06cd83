from am.report.figures.captions import CAPTIONS


rule tabulate_metrics:
    """Means over seeds with intervals, beside floor, controls, costs and published values."""
    input:
        metrics=lambda w: PLAN.of_runs("metrics.csv", experiment(w)),
        costs=lambda w: PLAN.of_runs("provenance.json", experiment(w), own=True),
        floor=rules.measure_floor.output,
    output:
        multiext(
            f"{OUT}/tables/{{experiment}}",
            csv=".csv",
            md=".md",
            times="_times.csv",
            times_md="_times.md",
            pairs="_pairs.csv",
            pairs_md="_pairs.md",
        ),
    log:
        f"{OUT}/logs/tabulate_metrics/{{experiment}}.log",
    benchmark:
        f"{OUT}/logs/tabulate_metrics/{{experiment}}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    params:
        code=step_digest("tabulate"),
        experiment=lambda w: experiment(w).shown("labels", "published", "protocol"),
        scale=PROJECT.level,
    shell:
        "am tabulate {input.metrics:q} --project config --scale {params.scale:q} --experiment {wildcards.experiment:q}"
        " --floor {input.floor:q} --out {output.csv:q} 2> {log:q}"


for figure, suffixes in FIGURE_KINDS.items():

    rule:
        name:
            f"draw_{figure}"
        input:
            lambda w, figure=figure: PLAN.shown_in(figure, experiment(w)),
        output:
            expand(f"{OUT}/figures/{{{{experiment}}}}_{figure}.{{suffix}}", suffix=suffixes[:-1]),
            report(
                f"{OUT}/figures/{{experiment}}_{figure}.{suffixes[-1]}",
                caption="../report/figure.rst",
                category="{experiment}",
                labels={"figure": figure},
            ),
        log:
            f"{OUT}/logs/draw_{figure}/{{experiment}}.log",
        benchmark:
            f"{OUT}/logs/draw_{figure}/{{experiment}}.tsv"
        localrule: True
        conda:
            "../../environment.yml"
        params:
            code=step_digest("draw"),
            figure=figure,
            caption=CAPTIONS[figure],
            beside=shown_beside(figure),
            scale=PROJECT.level,
            out=lambda w, output: [word for path in output for word in ("--out", path)],
        shell:
            "am draw {params.figure:q} {input:q} --project config --scale {params.scale:q} "
            "--experiment {wildcards.experiment:q} {params.out:q} 2> {log:q}"
