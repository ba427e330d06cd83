# One job handles all seeds of a run, since starting Python and torch takes longer than most of these steps do. The rule of
# the plain name is for the seeds of the scale; those that a run has beside them stand in the name of another.

for batch in PLAN.batches(own=True):

    rule:
        """Push the test particles of each seed to every time that the experiment asks about."""
        name:
            batch.rule("sample_method", SEEDS)
        input:
            data=of(ALL_POINTS, batch.seeds),
            model=trained("model.safetensors", batch.seeds),
        output:
            samples=of(f"{OF_SEED}/samples.npz", batch.seeds),
            provenance=of(f"{OF_SEED}/provenance.json", batch.seeds),
        log:
            f"{OUT}/logs/sample_method/{{experiment}}/{{run}}/seed{batch.name}.log",
        benchmark:
            f"{OUT}/logs/sample_method/{{experiment}}/{{run}}/seed{batch.name}.tsv"
        wildcard_constraints:
            run=batch.runs,
        priority: 2
        conda:
            "../../environment.yml"
        threads: 1
        params:
            run=RUN_SETTINGS,
            settings=lambda w: run(w).sampling_digest,
            code=lambda w: run(w).code_digest("sample"),
            seeds=options("--seed", batch.seeds),
            data=lambda w: path(ALL_POINTS, w),
            model=lambda w, input: ["--model", weights(w, "model.safetensors")] if input.get("model") else [],
            samples=lambda w: path(f"{OF_SEED}/samples.npz", w),
        shell:
            "am sample --run {params.run:q} --data {params.data:q} {params.seeds:q} --threads {threads}"
            " {params.model:q} --out {params.samples:q} 2> {log:q}"


for batch in PLAN.batches():

    rule:
        """Measure predictions against the truth."""
        name:
            batch.rule("evaluate_samples", SEEDS)
        input:
            networks,
            data=of(ALL_POINTS, batch.seeds),
            samples=of(f"{OF_SEED}/samples.npz", batch.seeds),
        output:
            metrics=of(f"{OF_SEED}/metrics.csv", batch.seeds),
            blocks=of(f"{OF_SEED}/blocks.csv", batch.seeds),
            draws=of(f"{OF_SEED}/draws.csv", batch.seeds),
        log:
            f"{OUT}/logs/evaluate_samples/{{experiment}}/{{run}}/seed{batch.name}.log",
        benchmark:
            f"{OUT}/logs/evaluate_samples/{{experiment}}/{{run}}/seed{batch.name}.tsv"
        wildcard_constraints:
            run=batch.runs,
        conda:
            "../../environment.yml"
        threads: 1
        params:
            config=SETTINGS,
            settings=asked("metrics"),
            code=lambda w: experiment(w).data.code_digest("evaluate"),
            seeds=options("--seed", batch.seeds),
            data=lambda w: path(ALL_POINTS, w),
            samples=lambda w: path(f"{OF_SEED}/samples.npz", w),
            metrics=lambda w: path(f"{OF_SEED}/metrics.csv", w),
        shell:
            "am evaluate --config {params.config:q} --data {params.data:q} --samples {params.samples:q} "
            "--method {wildcards.run:q} {params.seeds:q} --threads {threads} --out {params.metrics:q} 2> {log:q}"

    rule:
        """Measure the weights kept along training."""
        name:
            batch.rule("measure_history", SEEDS)
        input:
            data=of(ALL_POINTS, batch.seeds),
            snapshots=trained("snapshots.safetensors", batch.seeds),
        output:
            of(f"{OF_SEED}/history.csv", batch.seeds),
        log:
            f"{OUT}/logs/measure_history/{{experiment}}/{{run}}/seed{batch.name}.log",
        benchmark:
            f"{OUT}/logs/measure_history/{{experiment}}/{{run}}/seed{batch.name}.tsv"
        wildcard_constraints:
            run=batch.runs,
        conda:
            "../../environment.yml"
        threads: 1
        params:
            config=SETTINGS,
            run=RUN_SETTINGS,
            settings=lambda w: [run(w).sampling_digest, asked("metrics", "history_samples", "history_milestones")(w)],
            code=lambda w: [run(w).code_digest("sample"), experiment(w).data.code_digest("evaluate")],
            seeds=options("--seed", batch.seeds),
            data=lambda w: path(ALL_POINTS, w),
            snapshots=lambda w: weights(w, "snapshots.safetensors"),
            history=lambda w: path(f"{OF_SEED}/history.csv", w),
        shell:
            "am history --config {params.config:q} --run {params.run:q} --data {params.data:q} "
            "--snapshots {params.snapshots:q} {params.seeds:q} --threads {threads} --out {params.history:q} 2> {log:q}"


rule measure_floor:
    """Measure samples of the truth against each other."""
    input:
        raw_files,
        networks,
    output:
        f"{OUT}/{{experiment}}/floor.csv",
    log:
        f"{OUT}/logs/measure_floor/{{experiment}}.log",
    benchmark:
        f"{OUT}/logs/measure_floor/{{experiment}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    params:
        config=SETTINGS,
        settings=asked("times", "n_samples", "metrics", "history_samples", "floor_repeats"),
        code=lambda w: experiment(w).data.code_digest("evaluate"),
    shell:
        "am floor --config {params.config:q} --threads {threads} --out {output:q} 2> {log:q}"
