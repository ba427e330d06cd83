from am.results.figures.captions import caption_file


rule tabulate_metrics:
    """Means over seeds with intervals, beside floor, controls, costs and published values."""
    input:
        metrics=lambda w: every_run("metrics.csv", experiment(w)),
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
    localrule: True
    conda:
        "../../environment.yml"
    params:
        code=step_digest("tabulate"),
        experiment=lambda w: experiment(w).shown("labels", "published", "protocol"),
        scale=PROJECT.scale,
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
            expand(f"{OUT}/figures/{{{{experiment}}}}_{figure}.{{suffix}}", suffix=suffixes[:-1]),
            report(
                f"{OUT}/figures/{{experiment}}_{figure}.{suffixes[-1]}",
                caption=str(caption_file(figure)),
                category="{experiment}",
                labels={"figure": figure},
            ),
        log:
            f"{OUT}/logs/draw_{figure}/{{experiment}}.log",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            code=step_digest("draw"),
            figure=figure,
            beside=shown_beside(figure),
            scale=PROJECT.scale,
            out=lambda w, output: [f"--out {path}" for path in output],
        shell:
            "am draw {params.figure} {input} --project config --scale {params.scale} --experiment {wildcards.experiment}"
            " {params.out} 2> {log}"
