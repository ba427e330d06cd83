def everything(wildcards):
    """All that a verdict rests on, and all that a reader may want beside it."""
    wanted = []
    for e in PROJECT.experiments.values():
        wanted += every_run("metrics.csv", e) + [f"{OUT}/{e.name}/floor.csv", f"{OUT}/tables/{e.name}.csv"]
        wanted += [f"{OUT}/figures/{e.name}_{f}.{FIGURES[f][-1]}" for f in figures_of(e)]
    return wanted


rule verify_claims:
    """Say, number by number, whether the published result holds."""
    input:
        everything,
    output:
        page=report(VERDICT, caption="../report/verdict.rst", category="verdict"),
        others=multiext(f"{OUT}/verdict", ".csv", ".md"),
    params:
        code=step_digest("verify"),
        published=digest([[p.model_dump() for p in e.published] for e in PROJECT.experiments.values()]),
        kept=[str(p) for p in sorted(Path("results/expected").rglob("*.csv"))],
        scale=PROJECT.scale,
        out=OUT,
    log:
        f"{OUT}/logs/verify_claims.log",
    localrule: True
    shell:
        "am verify --project config --scale {params.scale} --results {params.out} --out {output.page} 2> {log}"
