rule resolve_data:
    """Write the settings of an experiment's data, complete and checked."""
    output:
        f"{OUT}/{{experiment}}/config.yaml",
    params:
        settings=lambda w: digest(experiment(w).data.model_dump(mode="json")),
        scale=PROJECT.scale,
    log:
        f"{OUT}/logs/resolve_data/{{experiment}}.log",
    localrule: True
    shell:
        "am resolve --project config --scale {params.scale} --experiment {wildcards.experiment} --out {output} 2> {log}"


rule resolve_run:
    """Write the settings of one run, complete and checked."""
    output:
        f"{OUT}/{{experiment}}/{{run}}/config.yaml",
    params:
        settings=lambda w: digest(run(w).model_dump(mode="json")),
        scale=PROJECT.scale,
    log:
        f"{OUT}/logs/resolve_run/{{experiment}}/{{run}}.log",
    localrule: True
    shell:
        "am resolve --project config --scale {params.scale} --experiment {wildcards.experiment} --run {wildcards.run}"
        " --out {output} 2> {log}"


rule prepare_data:
    """Draw the points that start and judge every method of an experiment."""
    input:
        config=ancient(rules.resolve_data.output),
    output:
        f"{OUT}/{{experiment}}/data.h5ad",
    params:
        seeds=lambda w: experiment(w).seeds,
        data=data_digest,
    log:
        f"{OUT}/logs/prepare_data/{{experiment}}.log",
    shell:
        "am prepare --config {input.config} --out {output} 2> {log}"
