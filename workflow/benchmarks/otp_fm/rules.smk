OTP_FM_VENV = f"{PROJECT.results}/environments/otp_fm"
# Where conda makes environments, the rule that samples has one from it.
OTP_FM_BY_CONDA = "conda" in {method.name.lower() for method in workflow.deployment_settings.deployment_method}


rule make_otp_fm_environment:
    """An environment of its own, in which every file is checked by its hash: otpfm, and a torch without CUDA."""
    input:
        "workflow/benchmarks/otp_fm/torch.lock",
        "workflow/benchmarks/otp_fm/requirements.lock",
    output:
        f"{OTP_FM_VENV}/made",
    log:
        f"{OUT}/logs/make_otp_fm_environment.log",
    localrule: True
    conda:
        "../../../environment.yml"
    params:
        venv=lambda w, output: Path(output[0]).parent,
    shell:
        "(python -m venv --clear {params.venv:q}"
        " && for lock in {input:q}; do"
        " {params.venv:q}/bin/python -m pip install --no-deps --require-hashes --only-binary :all:"
        ' -r "$lock" || exit; done'
        " && {params.venv:q}/bin/python -m pip check && touch {output:q}) > {log:q} 2>&1"


rule sample_otp_fm:
    """Train OTP-FM on the training cells of all times, and move the test particles of a seed."""
    input:
        data=ALL_POINTS,
        script="workflow/benchmarks/otp_fm/otp_fm.py",
        environment=[] if OTP_FM_BY_CONDA else rules.make_otp_fm_environment.output,
    output:
        samples=f"{OUT}/{{experiment}}/otp_fm/seed{{seed}}/samples.npz",
        provenance=f"{OUT}/{{experiment}}/otp_fm/seed{{seed}}/provenance.json",
    log:
        f"{OUT}/logs/sample_otp_fm/{{experiment}}/seed{{seed}}.log",
    benchmark:
        f"{OUT}/logs/sample_otp_fm/{{experiment}}/seed{{seed}}.tsv"
    conda:
        "environment.yml"
    threads: 1
    params:
        config=SETTINGS,
        settings=asked("times", "start", "n_samples"),
        python="python" if OTP_FM_BY_CONDA else f"{OTP_FM_VENV}/bin/python",
    shell:
        "{params.python:q} {input.script:q} {params.config:q} {input.data:q} {wildcards.seed} {output.samples:q} 2> {log:q}"
