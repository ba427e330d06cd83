rule retrieve_file:
    """Fetch a file that data/registry.yaml lists; folders named in AM_DATA are searched first."""
    input:
        registry=ancient("data/registry.yaml"),
    output:
        "data/raw/{source}/{file}",
    log:
        f"{OUT}/logs/retrieve_file/{{source}}/{{file}}.log",
    localrule: True
    conda:
        "../../environment.yml"
    shell:
        "am retrieve --registry {input.registry} --source {wildcards.source} --file {wildcards.file} --out {output} 2> {log}"
