rule prepare_data:
    """Draw the points that methods may learn from, or choose them among those that there are."""
    input:
        raw_files,
    output:
        TRAINING_POINTS,
    log:
        f"{OUT}/logs/prepare_data/{{experiment}}.log",
    conda:
        "../../environment.yml"
    params:
        config=SETTINGS,
        settings=asked("snapshot_times", "snapshot_size"),
        code=lambda w: experiment(w).data.code_digest("prepare"),
    shell:
        "am prepare --config {params.config:q} --no-test --out {output:q} 2> {log:q}"


rule prepare_seed:
    """The points that start and judge every method with one seed; with those that methods may learn from."""
    input:
        raw_files,
    output:
        ALL_POINTS,
    log:
        f"{OUT}/logs/prepare_seed/{{experiment}}/seed{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        config=SETTINGS,
        settings=asked("snapshot_times", "snapshot_size", "times", "start", "n_samples"),
        code=lambda w: experiment(w).data.code_digest("prepare"),
    shell:
        "am prepare --config {params.config:q} --seed {wildcards.seed} --out {output:q} 2> {log:q}"
