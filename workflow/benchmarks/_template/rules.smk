rule sample_NAME:
    """Move the test particles of a seed to every time that the experiment asks about."""
    input:
        data=ALL_POINTS,
        script="workflow/benchmarks/NAME/NAME.py",
    output:
        samples=f"{OUT}/{{experiment}}/NAME/seed{{seed}}/samples.npz",
    log:
        f"{OUT}/logs/sample_NAME/{{experiment}}/seed{{seed}}.log",
    benchmark:
        f"{OUT}/logs/sample_NAME/{{experiment}}/seed{{seed}}.tsv"
    conda:
        "environment.yml"
    threads: 1
    params:
        config=SETTINGS,
        settings=asked("times", "start", "n_samples"),
    shell:
        "python {input.script:q} {params.config:q} {input.data:q} {wildcards.seed} {output.samples:q} 2> {log:q}"
