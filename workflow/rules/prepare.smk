rule prepare_data:
    """Draw the points that methods may learn from, or choose them among those that there are."""
    input:
        raw_files,
    output:
        TRAINING_POINTS,
    log:
        f"{OUT}/logs/prepare_data/{{experiment}}.log",
    benchmark:
        f"{OUT}/logs/prepare_data/{{experiment}}.tsv"
    conda:
        "../../environment.yml"
    params:
        config=SETTINGS,
        settings=asked("snapshot_times", "snapshot_size"),
        code=lambda w: experiment(w).data.code_digest("prepare"),
    shell:
        "am prepare --config {params.config:q} --no-test --out {output:q} 2> {log:q}"


for batch in PLAN.prepared():

    rule:
        """The points that start and judge every method with one seed; with those that methods may learn from."""
        name:
            batch.rule("prepare_seeds", SEEDS)
        input:
            raw_files,
        output:
            of(ALL_POINTS, batch.seeds),
        log:
            f"{OUT}/logs/prepare_seeds/{{experiment}}/seed{batch.name}.log",
        benchmark:
            f"{OUT}/logs/prepare_seeds/{{experiment}}/seed{batch.name}.tsv"
        wildcard_constraints:
            experiment=batch.experiments,
        conda:
            "../../environment.yml"
        params:
            config=SETTINGS,
            settings=asked("snapshot_times", "snapshot_size", "times", "start", "n_samples"),
            code=lambda w: experiment(w).data.code_digest("prepare"),
            seeds=options("--seed", batch.seeds),
            data=lambda w: path(ALL_POINTS, w),
        shell:
            "am prepare --config {params.config:q} {params.seeds:q} --out {params.data:q} 2> {log:q}"
