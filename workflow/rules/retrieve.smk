rule retrieve_file:
    """Fetch a file that data/registry.yaml lists; folders named in AM_DATA are searched first."""
    input:
        registry=ancient("data/registry.yaml"),
    output:
        "data/raw/{source}/{file}",
    log:
        f"{OUT}/logs/retrieve_file/{{source}}/{{file}}.log",
    benchmark:
        f"{OUT}/logs/retrieve_file/{{source}}/{{file}}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    shell:
        "am retrieve --registry {input.registry:q} --source {wildcards.source:q} "
        "--file {wildcards.file:q} --out {output:q} 2> {log:q}"


rule unpack_weights:
    """Take the weights of one run with one seed from the archive that the project published; nothing is trained."""
    input:
        archive=ancient(f"data/raw/{ARCHIVES}/{archive_name(PROJECT.scale)}"),
    output:
        model=f"{OUT}/{ARCHIVES}/{{experiment}}/{{run}}/seed{{seed}}/model.safetensors",
        snapshots=f"{OUT}/{ARCHIVES}/{{experiment}}/{{run}}/seed{{seed}}/snapshots.safetensors",
        losses=f"{OUT}/{ARCHIVES}/{{experiment}}/{{run}}/seed{{seed}}/training.csv",
        provenance=f"{OUT}/{ARCHIVES}/{{experiment}}/{{run}}/seed{{seed}}/training.json",
    log:
        f"{OUT}/logs/unpack_weights/{{experiment}}/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{OUT}/logs/unpack_weights/{{experiment}}/{{run}}/seed{{seed}}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    params:
        run=RUN_SETTINGS,
        settings=lambda w: run(w).training_digest,
        sha256=ARCHIVE.sha256 if ARCHIVE else "",
        scale=PROJECT.scale,
    shell:
        "am unpack {input.archive:q} --run {params.run:q} --scale {params.scale:q} --seed {wildcards.seed}"
        " --out {output.model:q} 2> {log:q}"
