"""`nextbasis try`: a run with other values, trained and scored beside the results, not in them."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from nextbasis.commands.arguments import read_path
from nextbasis.commands.compare import THESE_ALONE, by_noise, of_one_pair
from nextbasis.commands.report import collected_warnings, print_report
from nextbasis.commands.workspace import run_stage, workspace
from nextbasis.pipeline.catalog import (
    default_scale,
    evaluation_of,
    load_catalog,
    section,
)
from nextbasis.pipeline.stagelist import Stage, code_hash, load_stages
from nextbasis.support.files import read_json, result_folder, write_text
from nextbasis.support.words import listed, nearest

EXAMPLE = "nextbasis try xar_b train.lr=0.002"
NAME = "try"  # of the training and of the evaluation in the folder
STAGES = ("train", "sample", "score")
FIXED = ("scale", "key", "run", "tokens", "captions")  # told by the run and by this command
RECORD = "try.txt"  # in the folder: what it is of


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "try",
        help="train and score a run with other values, compared with the run as it is",
        description="Train a run of the catalog with other values on the same tokens, sample and "
        "score it as its evaluation says, and compare it with the run itself, image by image on "
        "the same noise. Nothing in results/ or dvc.lock is touched: all is written to a folder "
        "of scratch/, one for each set of values and version of the code. A try that was stopped "
        "goes on when it is told again.",
        epilog="KEY is train.KEY, model.KEY, basis.KEY, order.KEY or seed of the training, or "
        "sampler.KEY of the samples; basis=klt takes another file of values. The seed is that of "
        f"the training: samples keep the run's noise. Example: {EXAMPLE}",
    )
    command.add_argument("run", metavar="RUN", help="a run of the catalog, such as xar_b")
    command.add_argument(
        "values",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],
        help="such as train.lr=0.002 basis.delta=0.2",
    )
    command.add_argument("--scale", default="", help="a folder of config/scales (the default one)")
    command.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        type=read_path,
        help="(scratch/RUN-…, the same for the same)",
    )
    command.set_defaults(action=run, takes=lambda word: True)


def run(given: argparse.Namespace) -> int:
    """Check all values, then train, sample, score and compare; done stages are kept.

    Raises: ValueError naming the key that does not fit; FileNotFoundError naming the inputs that
    were not made, and the command that makes them; FileExistsError if the folder is of another try.
    """
    from nextbasis.config import compose
    from nextbasis.pipeline.checks import check_files

    scale, words = given.scale or default_scale(), [*given.values, *given.late]
    catalog = load_catalog()
    runs = section(catalog, scale)["runs"]
    check_files(scale)
    if given.run not in runs:
        raise ValueError(
            f"no run '{given.run}' at scale {scale}; its runs are {nearest(runs, given.run)}"
        )
    evaluation_of(catalog, scale, given.run)  # the run's own; others resample it
    stages = load_stages(catalog, only=[scale])
    own = {stage.kind: stage for stage in stages if stage.key == given.run}
    told = words_of(own, words)
    configs = {kind: compose(kind, told[kind]) for kind in STAGES}
    check(configs)
    check_inputs(stages, own)
    check_images(scale, runs[given.run], configs["sample"].sampler.num_images)
    identity = _identity(configs, runs[given.run]["coder"], own)
    folder = given.out or Path("scratch") / f"{given.run}-{identity[:8]}"
    _claim(folder, identity)
    differ = "; ".join(changed(own, configs))
    print(f"{given.run} in {folder}: {differ or 'no value is another one'}", flush=True)
    shared = {Path(path).parent for path in _inputs(own)}
    shared |= {result_folder(scale, kind, given.run) for kind in ("sample", "score")}
    with collected_warnings() as warned, workspace(folder, sorted(shared)):
        for kind in STAGES:
            last = "score.json" if kind == "score" else "metrics.json"
            if not (result_folder(scale, kind, NAME) / last).is_file():
                print(kind, flush=True)
                run_stage(kind, told[kind])
        report = _compare(scale, given.run)
    made = {kind: folder / result_folder(scale, kind, NAME) for kind in STAGES}
    report |= warned | {"model": str(made["train"]), "samples": str(made["sample"] / "grid.png")}
    print_report(report | {"scores": str(made["score"] / "score.json")})
    return 0


def words_of(own: Mapping[str, Stage], words: Sequence[str]) -> dict[str, list[str]]:
    """What each stage of the try is told: the run's own words, changed by the user's.

    Raises: ValueError naming a key that is not for the user to set, or that is in no section.
    """
    if taken := [word for word in words if _key(word) in FIXED]:
        raise ValueError(
            f"{taken[0]}: {listed(FIXED)} are those of the run; use --scale, or add a "
            "run to the catalog"
        )
    from nextbasis.config import TrainStage, keys_below
    from nextbasis.config.overrides import meant

    told = [*(field.name for field in fields(TrainStage) if field.name not in FIXED), "sampler"]
    for key in map(_key, words):
        if key.partition(".")[0] not in told:
            known = [key for kind in ("train", "sample") for key in keys_below(own[kind].arguments)]
            advice = meant(key, [*told, *known])
            raise ValueError(f"there is no {key}; a key is one of {listed(told)}, or below{advice}")
    sampling = [word for word in words if _key(word).partition(".")[0] == "sampler"]
    training = [word for word in words if word not in sampling]
    more = {"train": training, "sample": sampling, "score": sampling}
    named = {"train": [f"key={NAME}"], "sample": [f"key={NAME}", f"run={NAME}"]}
    named["score"] = named["sample"]
    return {
        kind: list({_key(w): w for w in [*own[kind].arguments, *named[kind], *more[kind]]}.values())
        for kind in STAGES
    }


def check(configs: Mapping[str, Any]) -> None:
    """Nothing if the configs of the stages fit each other.

    Raises: ValueError naming the key that does not fit.
    """
    from nextbasis.scoring.rules import check_rounding

    family, sampled = configs["train"].model.family, configs["sample"].sampler.family
    if family != sampled:
        raise ValueError(
            f"model.family is {family} and sampler.family {sampled}: add sampler=…, one of {family}"
        )
    check_rounding(configs["score"].evaluation, configs["sample"].sampler.rounding)


def changed(own: Mapping[str, Stage], configs: Mapping[str, Any]) -> list[str]:
    """What differs from the run's own values, as `key: old → new`."""
    from nextbasis.config import as_dict, compose
    from nextbasis.diff.causes import changes

    found = []
    for kind in ("train", "sample"):
        before, after = as_dict(compose(kind, own[kind].arguments)), as_dict(configs[kind])
        named = {name: after[name] for name in ("key", "run") if name in after}
        found += changes(before | named, after)
    return found


def check_inputs(stages: Sequence[Stage], own: Mapping[str, Stage]) -> None:
    """Nothing if all that the stages of a run read from outside it is made.

    Raises: FileNotFoundError naming a missing file, and the command that makes all of them.
    """
    makers = {path: stage for stage in stages for path in stage.outs}
    missing = [path for path in _inputs(own) if not Path(path).exists()]
    if missing:
        addresses = dict.fromkeys(makers[path].address for path in missing)
        raise FileNotFoundError(
            f"{missing[0]} is missing; `dvc pull {missing[0]}` fetches what was shared, "
            f"`dvc repro {' '.join(addresses)}` makes all that is missing"
        )


def check_images(scale: str, run: Mapping[str, Any], number: int) -> None:
    """Nothing if so many images can be shared equally among the classes of a run, if it has some.

    Raises: ValueError naming the key, the value and the number of classes.
    """
    from nextbasis.data.texts import CLASSES

    if read_json(result_folder(scale, "text", run["captions"]) / "index.json")["kind"] != CLASSES:
        return
    tokens = result_folder(scale, "tokens", run["tokens"])
    classes = read_json(tokens / "index.json")["num_classes"]
    if number % classes or not number:
        raise ValueError(
            f"sampler.num_images must be a multiple of the {classes} classes, got {number}"
        )


def _inputs(own: Mapping[str, Stage]) -> list[str]:
    """Results that the stages of a run read and do not make."""
    made = {path for kind in STAGES for path in own[kind].outs}
    read = [path for kind in STAGES for path in own[kind].deps if path.startswith("results/")]
    return [path for path in dict.fromkeys(read) if path not in made]


def _identity(configs: Mapping[str, Any], coder: str, own: Mapping[str, Stage]) -> str:
    """A hash of all that decides what comes out: values, code, and what the stages read."""
    from nextbasis.basis.brought import source_hash
    from nextbasis.basis.registry import construction_of
    from nextbasis.support.provenance import config_hash

    train = configs["train"]
    item = {"family": train.model.family, "coder": coder}
    item["construction"] = construction_of(train.basis.init)
    parts = [config_hash(configs[kind]) for kind in STAGES]
    parts += [code_hash(kind, **item) for kind in STAGES]
    parts += source_hash(train.basis.init).values()
    indices = [path for path in _inputs(own) if path.endswith("index.json")]
    parts += [Path(path).read_text(encoding="utf-8") for path in indices]
    return sha256("/".join(parts).encode()).hexdigest()


def _claim(folder: Path, identity: str) -> None:
    """Make the folder, or go on in it.

    Raises: FileExistsError if something else is in it.
    """
    record = folder / RECORD
    if folder.exists() and (
        not record.is_file() or record.read_text(encoding="utf-8").strip() != identity
    ):
        raise FileExistsError(f"{folder} exists and is not of this try; choose another folder")
    write_text(record, identity + "\n")


def _compare(scale: str, run: str) -> dict[str, str]:
    """FIDs of the run and of the try, image by image where both have the same labels."""
    try:
        report, effect = by_noise(scale, run, NAME)
    except (FileNotFoundError, ValueError) as error:  # not made, or of other labels
        recorded = result_folder(scale, "score", run) / "score.json"
        report = {f"FID {run}": _fid(recorded)} if recorded.is_file() else {}
        report[f"FID {NAME}"] = _fid(result_folder(scale, "score", NAME) / "score.json")
        return report | {"not paired": str(error)}
    report["difference"] += THESE_ALONE
    return report | {"verdict": of_one_pair(effect)}


def _fid(path: Path) -> str:
    """The FID of a score file, with how many images it is of."""
    score = read_json(path)
    return f"{score['values']['fid']:.4f} of {score['protocol']['num_images']:,} images"


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")
