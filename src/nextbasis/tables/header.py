"""What makes a table's numbers comparable, as printed above it."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nextbasis.pipeline.catalog import Catalog, Evals, section
from nextbasis.support.files import result_folder
from nextbasis.support.git import GitError, git
from nextbasis.support.instructions import machine
from nextbasis.tables.inputs import table_evals, table_tokenizers
from nextbasis.tables.measured import read_result, read_score
from nextbasis.tables.sofar import half_done

NO_REPOSITORY = "not a git repository"  # in what git says
SHORT = 12  # digits of a checksum that are printed
SOURCES = ("src", "config", "workflow", "Snakefile", "dvc.yaml", "pyproject.toml")
MADE = ":(exclude)*dvc.lock"  # among them
PLUMBING = (
    "Plumbing only: this scale checks that every stage runs; its numbers mean nothing and must "
    "not be compared with the published ones."
)


def facts(catalog: Catalog, scale: str, name: str) -> list[tuple[str, str]]:
    """Names and values of everything a reader needs to compare the table's numbers.

    Raises: FileNotFoundError naming the missing file and the command that makes it.
    """
    evals = table_evals(catalog, scale, name)
    return facts_of(scale, evals, table_tokenizers(catalog, scale, name))


def facts_of(scale: str, evals: Evals, tokenizers: list[str]) -> list[tuple[str, str]]:
    """What stands above a table of any evaluations of one scale.

    Raises: FileNotFoundError naming the missing file and the command that makes it.
    """
    found = [("scale", scale), ("dataset", _dataset(scale))]
    if evals:
        protocol = read_score(scale, "score", next(iter(evals)))["protocol"]
        found += [
            ("protocol", str(protocol["name"])),
            (
                "extractor",
                f"{protocol['extractor']}, SHA-256 {protocol['extractor_sha256'][:SHORT]}",
            ),
            ("reference", _reference(scale)),
        ]
        found += [*_machines(scale, evals), *_speed(scale, evals)]
    for tokenizer in tokenizers:
        values = read_score(scale, "reconstruct", tokenizer)["values"]
        text = f"{values['fid']:.2f} ± {values['fid_se']:.2f}"
        found.append((f"floor: FID of reconstructions, tokenizer {tokenizer}", text))
    found += _anchors(scale)
    found.append(("made by", commit()))
    return found


def environment(scale: str, evals: Iterable[str]) -> tuple[str, str]:
    """Versions and devices that made the scores."""
    made = [read_score(scale, "score", key)["provenance"] for key in evals]
    texts = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in sorted(one["versions"].items()))
        + f", on {one['device']}"
        for one in made
    )
    return "environment", "; ".join(texts)


def warning(catalog: Catalog, scale: str) -> str:
    """A sentence for scales whose numbers mean nothing or that are half done; else empty."""
    plumbing = PLUMBING if section(catalog, scale).get("plumbing") else ""
    return " ".join(filter(None, (plumbing, half_done(catalog, scale))))


def commit(folder: Path = Path(".")) -> str:
    """The commit the code stands at, with `-dirty` if code or config differ from it."""
    try:
        head = git(folder, "rev-parse", f"--short={SHORT}", "HEAD").decode().strip()
        changed = git(folder, "status", "--porcelain", "--", *SOURCES, MADE)
    except (GitError, FileNotFoundError) as error:
        if NO_REPOSITORY not in str(error):  # as of a folder that was downloaded without one
            print(f"no git commit is named: {error}", file=sys.stderr)
        return "no git commit"
    return f"commit {head}" + ("-dirty" if changed else "")


def _dataset(scale: str) -> str:
    folder = result_folder(scale, "dataset")
    index = read_result(folder / "index.json", scale, "dataset", "")
    arrays = read_result(folder / "metrics.json", scale, "dataset", "")["sha256"]
    size = index["image_size"]
    return (
        f"{index['name']}, {size}x{size}, {index['num_classes']} classes, "
        f"{index['num_train']:,} training images (SHA-256 {arrays['train_images.npy'][:SHORT]})"
    )


def _reference(scale: str) -> str:
    index = read_result(result_folder(scale, "reference") / "index.json", scale, "reference", "")
    return f"{index['computed_on']}, SHA-256 {index['sha256'][:SHORT]}"


def _anchors(scale: str) -> list[tuple[str, str]]:
    """FID of real test images, the best to hope for, of blurred ones and of a crude generator."""
    path = result_folder(scale, "reference") / "metrics.json"
    made: dict[str, Any] = read_result(path, scale, "reference", "")
    scores = made["scores"]
    real = "training" if "floor_fid_of_training_images" in made.get("floors", {}) else "test"
    names = {
        "floor": f"floor: FID of the {real} images",
        **{
            key: f"blur: FID of the {real} images behind a Gaussian filter of "
            f"{key.removeprefix('blur_')} pixels"
            for key in scores
            if key.startswith("blur_")
        },
        "anchor": "bad anchor: FID of a class-conditional Gaussian of rank 24 in pixel space",
    }
    return [
        (
            text,
            f"{scores[key]['fid']:.3g} ± {scores[key]['fid_se']:.1g}, "
            + (f"recall {scores[key]['recall']:.2f}, " if "recall" in scores[key] else "")
            + f"{scores[key]['num_images']:,} images",
        )
        for key, text in names.items()
    ]


def _machines(scale: str, evals: Iterable[str]) -> list[tuple[str, str]]:
    """Processors and instruction sets that made the scores, if they say so."""
    made = {machine(read_score(scale, "score", key)) for key in evals} - {""}
    return [("scores made on", "; ".join(sorted(made)))] if made else []


def _speed(scale: str, evals: Iterable[str]) -> list[tuple[str, str]]:
    seen = set()
    for key in evals:
        path = result_folder(scale, "sample", key) / "speed.json"
        speed = read_result(path, scale, "sample", key)
        threads = f"{speed['threads']} thread" + "s" * (speed["threads"] != 1)
        machine = f"{speed['device']} ({speed['processor']}), {threads}"
        seen.add(f"{machine}, throughput at batch {speed['batch_size']}")
    return [("speed measured on", "; ".join(sorted(seen)))]
