rule resolve_data:
    """Write the settings of an experiment's data, complete and checked."""
    output:
        f"{OUT}/{{experiment}}/config.yaml",
    log:
        f"{OUT}/logs/resolve_data/{{experiment}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=lambda w: digest(experiment(w).data.model_dump(mode="json")),
        scale=PROJECT.scale,
    shell:
        "am resolve --project config --scale {params.scale} --experiment {wildcards.experiment} --out {output} 2> {log}"


rule resolve_run:
    """Write the settings of one run, complete and checked."""
    output:
        f"{OUT}/{{experiment}}/{{run}}/config.yaml",
    log:
        f"{OUT}/logs/resolve_run/{{experiment}}/{{run}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        settings=lambda w: digest(run(w).model_dump(mode="json")),
        scale=PROJECT.scale,
    shell:
        "am resolve --project config --scale {params.scale} --experiment {wildcards.experiment} --run {wildcards.run}"
        " --out {output} 2> {log}"


rule prepare_data:
    """Draw the points that start and judge every method of an experiment."""
    input:
        config=ancient(rules.resolve_data.output),
    output:
        f"{OUT}/{{experiment}}/data.h5ad",
    log:
        f"{OUT}/logs/prepare_data/{{experiment}}.log",
    conda:
        "../../environment.yml"
    params:
        seeds=lambda w: experiment(w).seeds,
        data=data_digest,
    shell:
        "am prepare --config {input.config} --out {output} 2> {log}"
