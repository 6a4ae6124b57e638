"""The tables of docs/paper-scale.md in Markdown: one scale's costs, and the order of running."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tabulate import tabulate

from nextbasis.plan.estimate import assumptions, estimate
from nextbasis.plan.paper import Costs, Job, Paper, paper, read_page, total
from nextbasis.plan.table import number
from nextbasis.tables.inputs import PUBLISHED
from nextbasis.tables.published import load, look_up

GIGA = 1e9  # bytes in the gigabyte of disks
DAY = 24  # hours


def scale_page(found: Paper) -> str:
    """All tables of one scale."""
    parts = [
        ("Runs", _runs(found)),
        ("Tables of the catalog", _tables(found)),
        ("Storage", _storage(found)),
        ("Claims", _claims(found)),
        ("Published beside planned", _published(found)),
    ]
    return "\n\n".join(f"**{title}, {found.scale}**\n\n{text}" for title, text in parts if text)


def order_page(papers: dict[str, Paper]) -> str:
    """The steps of config/plan.yaml in their order, each with what it costs and decides."""
    names = list(next(iter(papers.values())).page["dollars"])
    headers = ["step", "scale", "runs", *(f"{name} h" for name in names)]
    headers += [f"{name} h so far" for name in names] + [f"{name} $ so far" for name in names]
    rows, spent, done, decided = [], dict.fromkeys(names, 0.0), set(), set()
    for place, step in enumerate(read_page()["steps"], 1):
        of = papers[step["scale"]]
        cost = total(of.jobs[key].hours for key in step["runs"])
        spent = total([spent, cost])
        done |= {(step["scale"], key) for key in step["runs"]}
        new = [name for name in of.claims if name not in decided and _decided(of, name, done)]
        decided |= set(new)
        rows.append([f"{place}. {step['name']}", of.scale, _code(step["runs"])])
        rows[-1] += [*_numbers(cost), *_numbers(spent), *_numbers(_dollars(spent, of))]
        rows[-1].append(_code(new) or "no claim")
    return _markdown(rows, [*headers, "claims it decides"])


def _decided(of: Paper, name: str, done: set[tuple[str, str]]) -> bool:
    runs = of.runs_of_claim(name)
    return runs is not None and all((of.scale, run) in done for run in runs)


def _runs(found: Paper) -> str:
    names = list(found.page["dollars"])
    headers = ["run", "seeds", "GPUs", *(f"train {name} h" for name in names)]
    headers += [f"sample {name} h" for name in names] + [f"days on {name}" for name in names]
    headers += [f"{name} $" for name in names] + ["GB kept", "GB scratch", "tables"]
    rows = [[job.key, str(job.seeds), *_run(job, found)] for job in found.jobs.values()]
    return _markdown([*rows, ["all", str(len(rows)), *_all(found)]], headers)


def _run(job: Job, found: Paper) -> list[str]:
    days = {name: hours / job.row["gpus"] / DAY for name, hours in job.training.items()}
    return [
        str(job.row["gpus"]),
        *_numbers(job.training),
        *_numbers(job.sampling),
        *_numbers(days),
        *_numbers(_dollars(job.hours, found)),
        number(job.kept / GIGA),
        number(job.scratch / GIGA),
        ", ".join(job.tables),
    ]


def _all(found: Paper) -> list[str]:
    jobs = found.jobs.values()
    training, sampling = total(j.training for j in jobs), total(j.sampling for j in jobs)
    return [
        "",
        *_numbers(training),
        *_numbers(sampling),
        *[""] * len(training),
        *_numbers(_dollars(total([training, sampling]), found)),
        number(sum(job.kept for job in jobs) / GIGA),
        "",
        "",
    ]


def _tables(found: Paper) -> str:
    names = list(found.page["dollars"])
    shown = dict.fromkeys(name for job in found.jobs.values() for name in job.tables)
    rows = []
    for table in shown:
        jobs = [job for job in found.jobs.values() if table in job.tables]
        cost = total(job.hours for job in jobs)
        row = [table, str(len(jobs)), *_numbers(cost), *_numbers(_dollars(cost, found))]
        rows.append([*row, number(sum(job.kept for job in jobs) / GIGA)])
    headers = ["table", "runs", *(f"{name} h" for name in names)]
    return _markdown(rows, [*headers, *(f"{name} $" for name in names), "GB kept"])


def _storage(found: Paper) -> str:
    parts = found.kept()
    parts["all that is kept"] = sum(parts.values())
    parts["scratch, if all were trained at once"] = sum(j.scratch for j in found.jobs.values())
    return _markdown([[name, number(size / GIGA)] for name, size in parts.items()], ["what", "GB"])


def _claims(found: Paper) -> str:
    names = list(found.page["dollars"])
    rows = []
    for claim, entry in found.claims.items():
        if (runs := found.runs_of_claim(claim)) is not None:
            cost = total(found.jobs[run].hours for run in runs)
            rows.append([f"`{claim}`", entry["decidable_from"], _code(runs), *_numbers(cost)])
    headers = ["claim", "decidable from", "runs", *(f"{name} h" for name in names)]
    return _markdown(rows, headers) if rows else ""


def _published(found: Paper) -> str:
    """Published times and speeds beside the planned ones; the ratio is planned over published."""
    if found.scale != "imagenet256":
        return ""
    rows = [_training(entry, found) for entry in found.page["trainings"]]
    numbers = load(PUBLISHED)
    for family, table in found.page["speeds"].items():
        for key in (f"{family}_{size}" for size in ("b", "l", "h", "xl", "xxl")):
            speed = None
            if key in found.jobs and (f"{table}/{key}", "images_per_second") in numbers:
                speed = look_up(numbers, f"{table}/{key}", "images_per_second")
            if speed is not None:
                count = sum(entry["images"] for entry in found.jobs[key].row["sampling"])
                told = count / speed.value / 3600
                planned = found.jobs[key].sampling["A100"]
                what = f"sampling {key}: {speed.value:g} images/s, {speed.source}"
                rows.append([what, "A100", *_beside(told, planned)])
    headers = ["what", "GPU", "published GPU-hours", "planned GPU-hours", "ratio"]
    return _markdown(rows, headers)


def _training(entry: dict[str, Any], found: Paper) -> list[str]:
    run = found.jobs[entry["run"]].run
    config, images = run.config, found.page["images"][found.scale][0]
    model: Any = config.model
    model = replace(model, head_depth=entry["head_depth"], head_width=entry["head_width"])
    steps = math.ceil(entry["epochs"] * images / config.train.batch_size)
    train = replace(config.train, steps=steps)
    same = replace(run, config=replace(config, model=model, train=train))
    row = estimate(same, assumptions(found.scale, entry["gpus"]))
    what = f"training {entry['run']}, head {entry['head_depth']} x {entry['head_width']}, "
    what += f"{entry['epochs']} epochs on {entry['gpus']} GPUs: {entry['what']}"
    told = float(entry["hours"] * entry["gpus"])
    return [what, entry["gpu"], *_beside(told, row["training_hours"][entry["gpu"]])]


def _beside(published: float, planned: float) -> list[str]:
    return [number(published), number(planned), f"{planned / published:.2f}"]


def _dollars(hours: Costs, found: Paper) -> Costs:
    return {name: value * found.page["dollars"][name] for name, value in hours.items()}


def _numbers(costs: Costs) -> list[str]:
    return [number(value) for value in costs.values()]


def _code(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _markdown(rows: list[list[str]], headers: list[str]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def pages(scale: str, gpus: int | None) -> str:
    """What `--markdown` prints."""
    return scale_page(paper(scale, gpus))


def order() -> str:
    """What `--order` prints: the steps through all of the papers' scales."""
    scales = dict.fromkeys(step["scale"] for step in read_page()["steps"])
    return order_page({scale: paper(scale) for scale in scales})
