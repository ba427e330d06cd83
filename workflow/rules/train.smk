rule train_method:
    """Train one method with one seed. A killed job, started again, continues from its last checkpoint."""
    input:
        data=TRAINING_POINTS,
    output:
        model=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/model.safetensors",
        snapshots=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/snapshots.safetensors",
        losses=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/training.csv",
        provenance=f"{OUT}/{{experiment}}/{{run}}/seed{{seed}}/training.json",
    log:
        f"{OUT}/logs/train_method/{{experiment}}/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{OUT}/logs/train_method/{{experiment}}/{{run}}/seed{{seed}}.tsv"
    priority: 1  # before figures and tables, and what samples for minutes first: else it runs alone at the end
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=1,
    params:
        run=RUN_SETTINGS,
        settings=lambda w: run(w).training_digest,
        code=lambda w: run(w).code_digest("train"),
        tensorboard=["--tensorboard"] if PROJECT.tensorboard else [],
    shell:
        "am train --run {params.run:q} --data {input.data:q} --seed {wildcards.seed} --threads {threads}"
        " --devices {resources.gpu} {params.tensorboard:q} --out {output.model:q} 2>> {log:q}"
