# What of each folder in the store a verdict depends on.
KEPT = ("metrics.csv", "blocks.csv.gz", "runs.csv")


rule verify_claims:
    """Say, number by number, whether the published result holds."""
    input:
        lambda w: PLAN.everything(),
        kept=sorted(file for name in KEPT for file in Path("results/expected").glob(f"*/*/{name}")),
    output:
        page=report(VERDICT, caption="../report/verdict.rst", category="verdict"),
        others=multiext(f"{OUT}/verdict", ".csv", ".md"),
    log:
        f"{OUT}/logs/verify_claims.log",
    benchmark:
        f"{OUT}/logs/verify_claims.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    params:
        code=step_digest("verify"),
        published=digest([[p.model_dump() for p in e.published] for e in PROJECT.experiments.values()]),
        scale=PROJECT.level,
        results=lambda w, output: Path(output.page).parent,
    shell:
        "am verify --project config --scale {params.scale:q} "
        "--results {params.results:q} --out {output.page:q} 2> {log:q}"
