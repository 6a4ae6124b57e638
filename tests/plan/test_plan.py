"""Costs of runs against published counts, speeds and times."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake_executor_plugin_slurm.submit_string import get_submit_command

from command import ROOT
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.schedule import RESOURCES, RUNTIMES, Stages
from nextbasis.plan import basis_flops, flops, plan
from nextbasis.plan.estimate import assumptions, estimate, notes
from nextbasis.plan.runs import Run, runs_of
from nextbasis.plan.runtimes import LEAST, MOST, STEP, minutes

CLUSTER = ["imagenet256", "imagenet512", "ffhq256", "t2i"]

# TFLOP of one image in the transformer and in the head, computed elsewhere for the released
# models with their samplers.
PUBLISHED = {
    "mar_b": (47.3, 3.7),
    "mar_l": (110.5, 7.4),
    "mar_h": (213.9, 15.5),
    "xar_b": (4.95, 0.0),
    "xar_l": (21.7, 0.0),
    "xar_h": (42.1, 0.0),
}
PARAMETERS = {
    "mar_b": 207_924_768,
    "mar_l": 478_326_304,
    "mar_h": 942_403_104,
    "xar_b": 172_638_224,
    "xar_l": 608_397_968,
    "xar_h": 1_186_024_096,
    "rar_b": 260_923_648,
    "rar_xxl": 1_498_520_704,
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def paper() -> dict[str, Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return {run.config.key: run for run in runs_of("imagenet256", list(PARAMETERS))}


@pytest.mark.parametrize("key", PARAMETERS)
def test_released_models_cost_what_is_known(key: str, paper: dict[str, Run]) -> None:
    row = estimate(paper[key], assumptions("imagenet256", None))
    parts = row["parameters"]
    assert parts.pop("total") == PARAMETERS[key] == sum(parts.values())
    assert row["tokens"] == 256
    [sampling] = row["sampling"]
    if key in PUBLISHED:
        found = sampling["flops"]["transformer"] / 1e12, sampling["flops"]["head"] / 1e12
        assert found == pytest.approx(PUBLISHED[key], rel=0.02)
    # 50,000 images at the speeds that the papers report for one A100, in hours.
    speed = {"mar_b": 0.8, "mar_h": 0.3, "xar_b": 9.8, "xar_h": 1.3, "rar_b": 17.0, "rar_xxl": 6.4}
    if key in speed:
        assert sampling["hours"]["A100"] == pytest.approx(50_000 / speed[key] / 3600, rel=0.55)


def test_training_takes_as_long_as_the_readme_of_mar_says(paper: dict[str, Run]) -> None:
    config = paper["mar_l"].config
    model = replace(config.model, head_depth=3, head_width=1024)
    train = replace(config.train, steps=400 * 1_281_167 // 2048)
    run = replace(paper["mar_l"], config=replace(config, model=model, train=train))
    hours = estimate(run, assumptions("imagenet256", None))["training_hours"]["H100"]
    assert hours == pytest.approx(35 * 16, rel=0.1)  # hours on 16 GPUs


def test_fewer_iterations_of_mar_cost_what_is_known(paper: dict[str, Run]) -> None:
    run = paper["mar_b"]
    sampler = replace(run.evals[0].sampler, num_iter=64)
    found = flops.sampling(run.config.model, run.spec, sampler).transformer
    assert found / 1e12 == pytest.approx(11.0, rel=0.02)


def test_memory_and_hours_add_up() -> None:
    [run] = runs_of("tiny", ["xar_b_bar"])
    assumed = assumptions("tiny", 5)
    row = estimate(run, assumed)
    used, parameters = row["memory"], row["parameters"]["total"]
    assert used["batch_per_gpu"] == 7  # of 32 images
    assert used["weights"] + used["gradients"] + used["optimizer"] + used["ema"] == 20 * parameters
    train = replace(run.config.train, optimizer="adan", beta3=0.99)
    adan = estimate(replace(run, config=replace(run.config, train=train)), assumed)["memory"]
    assert adan["total"] - used["total"] == 8 * parameters  # two more numbers a weight
    assert row["images"] == run.config.train.steps * 32
    parts = row["training_flops"]
    assert parts["total"] == parts["transformer"] + parts["head"] + parts["basis"]
    per_image = basis_flops.training(run.config.basis, run.config.model, run.spec, 7)
    assert parts["basis"] == per_image > 0
    work = parts["total"] * row["images"]
    hours, share = row["training_hours"], assumed.utilisation["training"]["xar"]
    assert hours["A100"] == pytest.approx(work / (312e12 * share) / 3600)
    assert hours["A100"] / hours["H100"] == pytest.approx(989 / 312)
    assert row["parameters"]["basis"] == 16**2


def test_a_rebased_tokenizer_has_its_parents_tokens() -> None:
    parent, rebased = runs_of("tiny", ["rar_b", "rar_b_klt"])
    assert parent.spec == rebased.spec
    assert parent.spec.codebook_size == 64 and parent.spec.grid == (4, 4)


def changed(run: Run, part: str, **values: Any) -> list[str]:
    return notes(replace(run.config, **{part: replace(getattr(run.config, part), **values)}))


def test_notes_tell_what_schedules_do() -> None:
    [run] = runs_of("tiny", ["rar_b"])
    run = replace(run, config=replace(run.config, train=replace(run.config.train, steps=10_000)))
    assert notes(run.config) == []
    assert changed(run, "train", decay_start=1.0) == ["rate stays at its peak to the end"]
    assert changed(run, "train", ema_decay=0.0) == ["no EMA"]
    assert changed(run, "train", ema_decay=0.9999) == ["EMA half-life is 69% of the steps"]
    jump = changed(run, "order", anneal_start=0.5, anneal_end=0.5)
    assert jump == ["orders jump from random to the scan at 50%"]
    assert changed(run, "order", anneal_start=1.0, anneal_end=1.0) == ["random orders throughout"]


def test_table_and_json_tell_the_same() -> None:
    keys = ["rar_b_klt", "mar_b"]
    table, text = plan("tiny", keys), plan("tiny", keys, form="json")
    found = json.loads(text)
    assert found["scale"] == "tiny" and found["assumptions"]["counts"] == [1, 2, 4, 8]
    assert [row["run"] for row in found["runs"]] == keys
    lines = table.splitlines()
    assert [line.split()[0] for line in lines[2 : 2 + len(keys)]] == keys
    assert "Assumptions (config/plan.yaml):" in lines


def of_scale(scale: str, name: str) -> dict[str, dict[str, dict[str, int]]]:
    """What a file of a scale's folder says."""
    return yaml.safe_load(Path("config/scales", scale, name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("scale", "keys"),
    [
        ("imagenet256", ["xar_b", "rar_b", "mar_h"]),
        ("imagenet512", ["xar_b_householder", "xar_l"]),
        ("ffhq256", ["mar_b_pixel_bar"]),
        ("t2i", ["xar_l_text"]),
    ],
)
def test_runtimes_of_the_cluster_are_those_of_the_plan(scale: str, keys: list[str]) -> None:
    """The committed file has every job; some of them are computed again."""
    written = of_scale(scale, RUNTIMES)
    catalog = load_catalog()[scale]
    assert set(written["train"]) == set(catalog["runs"])
    assert set(written["sample"]) == set(catalog["evals"])
    found = yaml.safe_load(plan(scale, keys, form="runtimes"))
    for kind, jobs in found.items():
        assert {key: written[kind][key] for key in jobs} == jobs


@pytest.mark.parametrize("scale", CLUSTER)
def test_trainings_have_the_fewest_gpus_that_end_in_time(scale: str) -> None:
    """Half as many would take at least about twice as long, and so reach the bound."""
    for key, job in of_scale(scale, RUNTIMES)["train"].items():
        assert job["gpu"] in (8, 16, 32, 64), key
        assert job["runtime"] < MOST or job["gpu"] == 64, key
        assert 2 * job["runtime"] >= MOST - STEP or job["gpu"] == 8, key


def test_given_gpus_are_taken() -> None:
    [run] = runs_of("imagenet256", ["rar_l"])
    planned, given = (estimate(run, assumptions("imagenet256", n)) for n in (None, 128))
    assert (planned["gpus"], given["gpus"]) == (16, 128)
    assert planned["memory"]["batch_per_gpu"] == 8 * given["memory"]["batch_per_gpu"]


def test_a_job_of_several_nodes_tells_slurm_so() -> None:
    """Minutes and GPUs of a planned job are those of the plan; all else is what its kind gets."""
    stages, planned = Stages("imagenet256"), of_scale("imagenet256", RUNTIMES)["train"]
    node = of_scale("imagenet256", RESOURCES)
    for key, nodes in (("xar_b", 1), ("rar_l", 2), ("mar_h", 8)):
        names = ("gpu", "runtime", "nodes", "tasks", "mpi", "threads", "mem_mb")
        job = {name: stages.resource("train", name)(_job(key)) for name in names}
        assert {name: job[name] for name in planned[key]} == planned[key]
        assert job["gpu"] == nodes * node["train"]["gpu"] and job["nodes"] == nodes
        assert (job["mpi"], job["tasks"]) == (("srun", nodes) if nodes > 1 else (None, None))
        assert (job["threads"], job["mem_mb"]) == (64, 256_000)  # of each node
    assert stages.resource("score", "runtime")(_job("xar_b")) == node["default"]["runtime"]
    small = Stages("cpu")
    assert small.resource("dataset", "runtime")({"scale": "cpu"}) == 60
    assert small.resource("train", "nodes")({"scale": "cpu", "key": "xar_b"}) == 1


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("xar_b", "--nodes=1 --cpus-per-task=64"),
        ("rar_l", "--nodes=2 --ntasks=2 --cpus-per-task=64"),
    ],
)
def test_slurm_starts_one_task_a_node(key: str, options: str) -> None:
    """The command is the plugin's own."""
    stages = Stages("imagenet256")
    names = ("gpu", "runtime", "nodes", "tasks", "mpi", "mem_mb")
    found = {name: stages.resource("train", name)(_job(key)) for name in names}
    profile = yaml.safe_load(Path("profiles/slurm/config.yaml").read_text(encoding="utf-8"))[
        "default-resources"
    ]
    given = _Resources(profile | {name: v for name, v in found.items() if v is not None})
    params = dict.fromkeys(
        ("run_uuid", "slurm_logfile", "comment_str", "account", "partition"), "x"
    )
    job = SimpleNamespace(resources=given, threads=stages.resource("train", "threads")(_job(key)))
    command = get_submit_command(job, params | {"workdir": ""})
    assert command.endswith(f" --mem 256000 {options}")


class _Resources(dict[str, Any]):
    """Resources of a job, as items and attributes."""

    __getattr__ = dict.__getitem__


def _job(key: str) -> dict[str, str]:
    return {"scale": "imagenet256", "key": key}


@pytest.mark.parametrize(
    ("hours", "expected"), [(0.0, LEAST), (2.0, 240), (2.01, 270), (1000.0, MOST)]
)
def test_minutes_have_a_margin_and_bounds(hours: float, expected: int) -> None:
    assert minutes(hours) == expected


@pytest.mark.parametrize(
    ("scale", "run", "message"),
    [
        ("moon", "", "scale must be one of tiny, tiny_text, cpu"),
        ("tiny", "x", "run must be one of mar_b"),
    ],
)
def test_unknown_names_are_refused(scale: str, run: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(scale, [run] if run else [])
