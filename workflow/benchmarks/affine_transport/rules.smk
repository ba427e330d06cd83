rule sample_affine_transport:
    """Move the test particles by optimal transport between Gaussians fitted to successive snapshots: numpy alone."""
    input:
        data=ALL_POINTS,
        script="workflow/benchmarks/affine_transport/affine_transport.py",
    output:
        samples=f"{OUT}/{{experiment}}/affine_transport/seed{{seed}}/samples.npz",
    log:
        f"{OUT}/logs/sample_affine_transport/{{experiment}}/seed{{seed}}.log",
    benchmark:
        f"{OUT}/logs/sample_affine_transport/{{experiment}}/seed{{seed}}.tsv"
    conda:
        "environment.yml"
    threads: 1
    params:
        config=SETTINGS,
        settings=asked("times", "start", "n_samples"),
    shell:
        "python {input.script:q} {params.config:q} {input.data:q} {wildcards.seed} {output.samples:q} 2> {log:q}"
