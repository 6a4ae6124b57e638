"""What belongs to a model: its folder, its tokenizer and the sampler that it was published with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nextbasis.config import CONFIG_FOLDER, PublishedTokenizer, SamplerBase, as_dict, compose
from nextbasis.config import section as checked
from nextbasis.data.layout import TokenLayout
from nextbasis.families import find
from nextbasis.families.common.checkpoint import CONFIG, MODEL
from nextbasis.families.common.spec import TokenSpec
from nextbasis.pipeline.catalog import default_scale, load_catalog, scales, section
from nextbasis.pipeline.stagelist import address
from nextbasis.support.files import read_json, result_folder
from nextbasis.support.words import listed, nearest
from nextbasis.support.yamls import read_keys
from nextbasis.tokenizers.common.loading import WEIGHTS, build, load_tokenizer
from nextbasis.tokenizers.common.pretrained import read_weights
from nextbasis.tokenizers.common.tokenizer import Tokenizer

CHOSEN_FREELY = ("dropout", "label_drop")  # keys of a model that say nothing of its sizes


@dataclass(kw_only=True)
class TrainedHere:
    """Where the run of a model stands in the catalog."""

    scale: str
    run: str
    tokens: str
    captions: str


@dataclass(kw_only=True)
class Belongings:
    """A model's tokenizer and sampler."""

    origin: TrainedHere | None  # None: imported
    tokenizer: Tokenizer
    made_by: str  # the tokenizer, in words
    sampler: SamplerBase


def folder_of(model: str | Path, scale: str) -> Path:
    """The folder of a model that is told by its path, or by its name among the runs of a scale.

    Raises: FileNotFoundError naming the folder and what makes it; ValueError for unknown names.
    """
    if (Path(model) / CONFIG).is_file():
        return Path(model)
    if Path(model).exists():
        raise FileNotFoundError(f"{model} is no folder with {MODEL} and {CONFIG}")
    scale = scale or default_scale()
    runs = section(load_catalog(), scale)["runs"]
    if str(model) not in runs:
        raise ValueError(
            f"no folder {model}, and no run of that name at scale {scale}; "
            f"its runs are {nearest(runs, str(model))}"
        )
    return trained_folder(scale, str(model))


def trained_folder(scale: str, run: str) -> Path:
    """The folder of a run of the catalog, with its weights and config.

    Raises: FileNotFoundError naming the file that is missing and what fetches or makes it.
    """
    if lacking := _lacking(scale, run):
        others = [other for other in scales(load_catalog()) if not _lacking(other, run)]
        raise FileNotFoundError(
            f"{lacking[0]} is missing; `dvc checkout` or `dvc pull` fetches it, "
            f"`dvc repro {address('train', scale, run)}` makes it"
            + "".join(f"; `--scale {name}`, in Python scale='{name}', is there" for name in others)
        )
    return result_folder(scale, "train", run)


def _lacking(scale: str, run: str) -> list[Path]:
    """Weights and config of a run, as far as they are missing."""
    paths = [result_folder(scale, "train", run) / name for name in (MODEL, CONFIG)]
    return [path for path in paths if not path.is_file()]


def belongings(
    folder: Path, config: Mapping[str, Any], spec: TokenSpec, tokenizer: str | Path, sampler: str
) -> Belongings:
    """Tokenizer and sampler of a model with this config, given ones first.

    Raises: FileNotFoundError or ValueError naming what is missing and how to give it.
    """
    origin = None
    if "imported" not in config:
        keys = ("scale", "key", "tokens", "captions")
        if lacking := [key for key in keys if key not in config]:
            raise ValueError(f"{folder / CONFIG} has no {listed(lacking)}: no stage wrote it")
        scale, run, tokens, captions = (str(config[key]) for key in keys)
        origin = TrainedHere(scale=scale, run=run, tokens=tokens, captions=captions)
    entries = list(_of_the_run(origin) if origin else _of_the_released(config["model"]))
    family = config["model"]["family"]
    settings = [f"sampler={sampler}"] if sampler else _published_sampler(entries, family)
    composed = compose("sample", ["scale=any", "key=any", "run=any", "seed=0", *settings])
    if composed.sampler.family != family:
        raise ValueError(f"sampler {sampler} is of {composed.sampler.family}, not of {family}")
    decoder, made_by = _tokenizer(tokenizer, origin, entries, family, spec)
    told = {field.name: getattr(spec, field.name) for field in fields(TokenLayout)}
    if TokenLayout(**told) != decoder.layout:
        raise ValueError(f"the model is of {spec} and {made_by} makes {decoder.layout}")
    return Belongings(origin=origin, tokenizer=decoder, made_by=made_by, sampler=composed.sampler)


def _of_the_run(origin: TrainedHere) -> Iterator[dict[str, Any]]:
    """Evaluations of a run, as its catalog has them."""
    catalog = load_catalog()
    if origin.scale in scales(catalog):
        evals = section(catalog, origin.scale)["evals"].values()
        yield from (entry for entry in evals if entry["run"] == origin.run)


def _of_the_released(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Runs of the largest scales whose model has these sizes, with the tokenizer's file."""
    catalog = load_catalog()
    sizes = {name: value for name, value in model.items() if name not in CHOSEN_FREELY}
    recipes = find(str(model["family"])).recipes / "model"
    for scale in reversed(scales(catalog)):
        part = section(catalog, scale)
        for entry in part["runs"].values():
            if entry["family"] != model["family"]:
                continue
            recipe = as_dict(checked("model", read_keys(recipes / f"{entry['model']}.yaml")))
            if all(recipe[name] == value for name, value in sizes.items()):
                yield entry | {"tokenizer": part["encoders"][entry["tokens"]].get("tokenizer")}


def _tokenizer(
    given: str | Path,
    origin: TrainedHere | None,
    entries: list[dict[str, Any]],
    family: str,
    spec: TokenSpec,
) -> tuple[Tokenizer, str]:
    """A tokenizer and what it is in words."""
    path = Path(given)
    if given and not path.exists():
        raise FileNotFoundError(f"tokenizer: no file or folder {path}")
    if given and (path / "index.json").is_file():
        return load_tokenizer(path), str(path)
    if origin and not given:
        folder = result_folder(origin.scale, "tokenizer", origin.tokens)
        return load_tokenizer(folder), str(folder)
    if path.is_dir() and given:
        return _published(*_imported(path), spec)
    names = [entry["tokenizer"] for entry in entries if entry["tokenizer"]]
    if not names:
        raise ValueError(
            f"no scale trains a {family} of these sizes, so nothing tells which tokenizer it "
            "needs: give a folder that `nextbasis import` made of one as tokenizer"
        )
    values = read_keys(CONFIG_FOLDER / "tokenizer" / f"{names[0]}.yaml")
    return _published(values | ({"weights": str(path)} if given else {}), names[0], spec)


def _imported(folder: Path) -> tuple[dict[str, Any], str]:
    """Config of a tokenizer that `nextbasis import` has written into a folder, and its kind."""
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"tokenizer: {folder} has no index.json and no {CONFIG}")
    found = read_json(folder / CONFIG)
    if "network" not in found:
        raise ValueError(f"tokenizer: {folder} holds a model of {found.get('model')}")
    kind = str(found["family"])
    values = read_keys(CONFIG_FOLDER / "tokenizer" / f"{kind}.yaml")
    own = {"network": found["network"], "weights": str(folder / WEIGHTS), "weights_sha256": ""}
    return values | own, kind


def _published(values: dict[str, Any], name: str, spec: TokenSpec) -> tuple[Tokenizer, str]:
    """A published tokenizer with the weights that its config names, for the grid of a model."""
    settings = checked("tokenizer", values)
    if not isinstance(settings, PublishedTokenizer):
        raise ValueError(f"{name} is trained here: give its results folder as tokenizer")
    weights, _ = read_weights(settings)
    rows, columns = spec.levels[-1]
    if rows != columns:
        raise ValueError(f"tokenizers are of square images, the model's grid is {rows}x{columns}")
    tokenizer = build(settings, rows * settings.downsample, settings.network.image_channels)
    tokenizer.get_submodule("network").load_state_dict(weights)
    return tokenizer, f"{name} ({settings.weights})"


def _published_sampler(entries: list[dict[str, Any]], family: str) -> list[str]:
    """Overrides that choose the sampler of the first entry."""
    if not entries:
        recipes = find(family).recipes / "sampler"
        known = sorted(
            str(path.relative_to(recipes).with_suffix("")) for path in recipes.rglob("*.yaml")
        )
        raise ValueError(
            f"no scale trains a {family} of these sizes, so nothing tells how to sample it; "
            f"choose a sampler among {listed(known)}"
        )
    return [f"sampler={entries[0]['sampler']}", *entries[0]["sampling"].split()]
