rule sample_method:
    """Push the test particles of a seed to every time that the experiment asks about."""
    input:
        data=ALL_POINTS,
        model=trained("model.safetensors"),
    output:
        samples=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/samples.npz",
        provenance=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/provenance.json",
    log:
        f"{OUT}/logs/sample_method/{{experiment}}/{{run}}/seed{{seed}}.log",
    wildcard_constraints:
        run=OWN_RUNS,
    group:
        "predict"
    conda:
        "../../environment.yml"
    threads: 1
    params:
        run=RUN_SETTINGS,
        settings=lambda w: run(w).sampling_digest,
        code=lambda w: run(w).code_digest("sample"),
        model=lambda w, input: ["--model", input.model] if input.get("model") else [],
    shell:
        "am sample --run {params.run:q} --data {input.data:q} --seed {wildcards.seed} --threads {threads}"
        " {params.model:q} --out {output.samples:q} 2> {log:q}"


rule evaluate_samples:
    """Measure predictions against the truth."""
    input:
        networks,
        data=ALL_POINTS,
        samples=rules.sample_method.output.samples,
    output:
        metrics=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/metrics.csv",
        blocks=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/blocks.csv",
        draws=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/draws.csv",
    log:
        f"{OUT}/logs/evaluate_samples/{{experiment}}/{{run}}/seed{{seed}}.log",
    group:
        "predict"
    conda:
        "../../environment.yml"
    threads: 1
    params:
        config=SETTINGS,
        settings=asked("metrics"),
        code=lambda w: experiment(w).data.code_digest("evaluate"),
    shell:
        "am evaluate --config {params.config:q} --data {input.data:q} --samples {input.samples:q} "
        "--method {wildcards.run:q} --seed {wildcards.seed} --threads {threads} --out {output.metrics:q} 2> {log:q}"


rule measure_history:
    """Measure the weights kept along training."""
    input:
        data=ALL_POINTS,
        snapshots=trained("snapshots.safetensors"),
    output:
        f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/history.csv",
    log:
        f"{OUT}/logs/measure_history/{{experiment}}/{{run}}/seed{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        config=SETTINGS,
        run=RUN_SETTINGS,
        settings=lambda w: [run(w).sampling_digest, asked("metrics", "history_samples")(w)],
        code=lambda w: [run(w).code_digest("sample"), experiment(w).data.code_digest("evaluate")],
    shell:
        "am history --config {params.config:q} --run {params.run:q} --data {input.data:q} "
        "--snapshots {input.snapshots:q} --seed {wildcards.seed} --threads {threads} --out {output:q} 2> {log:q}"


rule measure_floor:
    """Measure samples of the truth against each other."""
    input:
        raw_files,
        networks,
    output:
        f"{OUT}/{{experiment}}/floor.csv",
    log:
        f"{OUT}/logs/measure_floor/{{experiment}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    params:
        config=SETTINGS,
        settings=asked("times", "n_samples", "metrics", "history_samples", "floor_repeats"),
        code=lambda w: experiment(w).data.code_digest("evaluate"),
    shell:
        "am floor --config {params.config:q} --threads {threads} --out {output:q} 2> {log:q}"
