# One rule per stage kind. What a stage reads and writes is said in dvc.yaml, and DVC runs it; the
# patterns are read from there, so nothing is said twice.


rule dataset:  # Images and labels, checked and converted.
    input:
        STAGES.inputs("dataset", ancient),
    output:
        STAGES.outputs("dataset"),
    log:
        "results/{scale}/logs/dataset.log",
    priority: STAGES.priority("dataset")
    threads: STAGES.resource("dataset", "threads")
    resources:
        mem_mb=STAGES.resource("dataset", "mem_mb"),
        runtime=STAGES.resource("dataset", "runtime"),
        gpu=STAGES.resource("dataset", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item dataset-{wildcards.scale} > {log} 2>&1"


rule reference:  # Feature statistics of the real images.
    input:
        STAGES.inputs("reference", ancient),
    output:
        STAGES.outputs("reference"),
    log:
        "results/{scale}/logs/reference.log",
    priority: STAGES.priority("reference")
    threads: STAGES.resource("reference", "threads")
    resources:
        mem_mb=STAGES.resource("reference", "mem_mb"),
        runtime=STAGES.resource("reference", "runtime"),
        gpu=STAGES.resource("reference", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item reference-{wildcards.scale} > {log} 2>&1"


rule text:  # The captions as tokens: words, or vectors of a frozen encoder.
    input:
        STAGES.inputs("text", ancient),
    output:
        STAGES.outputs("text"),
    log:
        "results/{scale}/logs/text/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("text", SCALE),
    priority: STAGES.priority("text")
    threads: STAGES.resource("text", "threads")
    resources:
        mem_mb=STAGES.resource("text", "mem_mb"),
        runtime=STAGES.resource("text", "runtime"),
        gpu=STAGES.resource("text", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item text-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule tokenizer:  # A tokenizer, trained or given.
    input:
        STAGES.inputs("tokenizer", ancient),
    output:
        STAGES.outputs("tokenizer"),
    log:
        "results/{scale}/logs/tokenizer/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("tokenizer", SCALE),
    priority: STAGES.priority("tokenizer")
    threads: STAGES.resource("tokenizer", "threads")
    resources:
        mem_mb=STAGES.resource("tokenizer", "mem_mb"),
        runtime=STAGES.resource("tokenizer", "runtime"),
        gpu=STAGES.resource("tokenizer", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item tokenizer-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule rebase:  # A VQ tokenizer on re-expressed latents.
    input:
        STAGES.inputs("rebase", ancient),
    output:
        STAGES.outputs("rebase"),
    log:
        "results/{scale}/logs/rebase/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("rebase", SCALE),
    priority: STAGES.priority("rebase")
    threads: STAGES.resource("rebase", "threads")
    resources:
        mem_mb=STAGES.resource("rebase", "mem_mb"),
        runtime=STAGES.resource("rebase", "runtime"),
        gpu=STAGES.resource("rebase", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item rebase-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule reconstruct:  # What the tokenizer loses: the floor of every score.
    input:
        STAGES.inputs("reconstruct", ancient),
    output:
        STAGES.outputs("reconstruct"),
        report(
            STAGES.picture("reconstruct"),
            caption="../report/reconstructions.rst",
            category="Reconstructions",
            labels={"tokenizer": "{key}"},
        ),
    log:
        "results/{scale}/logs/reconstruct/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("reconstruct", SCALE),
    priority: STAGES.priority("reconstruct")
    threads: STAGES.resource("reconstruct", "threads")
    resources:
        mem_mb=STAGES.resource("reconstruct", "mem_mb"),
        runtime=STAGES.resource("reconstruct", "runtime"),
        gpu=STAGES.resource("reconstruct", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item reconstruct-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule tokens:  # Every training image's views as tokens, in shards.
    input:
        STAGES.inputs("tokens", ancient),
    output:
        STAGES.outputs("tokens"),
        directory(STAGES.folder("tokens")),
    log:
        "results/{scale}/logs/tokens/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("tokens", SCALE),
    priority: STAGES.priority("tokens")
    threads: STAGES.resource("tokens", "threads")
    resources:
        mem_mb=STAGES.resource("tokens", "mem_mb"),
        runtime=STAGES.resource("tokens", "runtime"),
        gpu=STAGES.resource("tokens", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item tokens-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule train:  # One training.
    input:
        STAGES.inputs("train", ancient),
    output:
        STAGES.outputs("train"),
    log:
        "results/{scale}/logs/train/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("train", SCALE),
    priority: STAGES.priority("train")
    threads: STAGES.resource("train", "threads")
    resources:
        mem_mb=STAGES.resource("train", "mem_mb"),
        runtime=STAGES.resource("train", "runtime"),
        gpu=STAGES.resource("train", "gpu"),
        nodes=STAGES.resource("train", "nodes"),
        mpi=STAGES.resource("train", "mpi"),
        tasks=STAGES.resource("train", "tasks"),
    params:
        nodes=lambda wildcards: STAGES.resource("train", "nodes")(wildcards) or 1,
    shell:
        "NODES={params.nodes} python -m nextbasis.dvc --wait-for-lock repro --single-item train-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule sample:  # Class-balanced samples of one run.
    input:
        STAGES.inputs("sample", ancient),
    output:
        STAGES.outputs("sample"),
        report(
            STAGES.picture("sample"),
            caption="../report/samples.rst",
            category="Samples",
            labels={"evaluation": "{key}"},
        ),
    log:
        "results/{scale}/logs/sample/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("sample", SCALE),
    priority: STAGES.priority("sample")
    threads: STAGES.resource("sample", "threads")
    resources:
        mem_mb=STAGES.resource("sample", "mem_mb"),
        runtime=STAGES.resource("sample", "runtime"),
        gpu=STAGES.resource("sample", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item sample-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule score:  # FID, IS, precision and recall of one set of samples.
    input:
        STAGES.inputs("score", ancient),
    output:
        STAGES.outputs("score"),
    log:
        "results/{scale}/logs/score/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("score", SCALE),
    priority: STAGES.priority("score")
    threads: STAGES.resource("score", "threads")
    resources:
        mem_mb=STAGES.resource("score", "mem_mb"),
        runtime=STAGES.resource("score", "runtime"),
        gpu=STAGES.resource("score", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item score-{wildcards.scale}@{wildcards.key} > {log} 2>&1"


rule diagnose:  # What a trained basis does, in numbers and pictures.
    input:
        STAGES.inputs("diagnose", ancient),
    output:
        STAGES.outputs("diagnose"),
        report(
            STAGES.picture("diagnose"),
            caption="../report/prefix_images.rst",
            category="Diagnoses",
            labels={"run": "{key}", "picture": "images from the first coefficients"},
        ),
        report(
            STAGES.picture("diagnose", "rows.png"),
            caption="../report/basis_rows.rst",
            category="Diagnoses",
            labels={"run": "{key}", "picture": "what each coefficient adds"},
        ),
    log:
        "results/{scale}/logs/diagnose/{key}.log",
    wildcard_constraints:
        key=STAGES.key_pattern("diagnose", SCALE),
    priority: STAGES.priority("diagnose")
    threads: STAGES.resource("diagnose", "threads")
    resources:
        mem_mb=STAGES.resource("diagnose", "mem_mb"),
        runtime=STAGES.resource("diagnose", "runtime"),
        gpu=STAGES.resource("diagnose", "gpu"),
    shell:
        "python -m nextbasis.dvc --wait-for-lock repro --single-item diagnose-{wildcards.scale}@{wildcards.key} > {log} 2>&1"
