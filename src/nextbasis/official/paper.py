"""What the shapes of an official file cannot tell, from the configs of the released models."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from nextbasis.config import CONFIG_FOLDER, as_dict, section
from nextbasis.families import find
from nextbasis.official.sizes import Shapes, Votes, infer

PAPER = Path("model/paper")  # below config/: the released models


def model_config(name: str, folder: Path = CONFIG_FOLDER) -> dict[str, Any]:
    """A model's config by its file, its name below config/model, or that of a released model.

    Raises: FileNotFoundError naming the places looked in; ValueError if it is no such config.
    """
    places = [Path(name), folder / "model" / f"{name}.yaml", folder / PAPER / f"{name}.yaml"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        tried = ", ".join(str(place) for place in places)
        raise FileNotFoundError(f"no model config '{name}'; looked for {tried}")
    return as_dict(section("model", _read(path)))


def complete(
    family: str, shapes: Shapes, given: Mapping[str, Any], folder: Path = CONFIG_FOLDER
) -> dict[str, Any]:
    """`given`, and what neither it nor the shapes tell, where released models leave no choice.

    That is the config of the only released model of these sizes. Files of other sizes get the
    values in which all released models of the family agree.

    Raises: FileNotFoundError if those configs are not there; ValueError if `given` has an unknown
    key or a value of a wrong type.
    """
    _check_types(family, given)
    files = sorted((folder / PAPER).glob(f"{family}_*.yaml"))
    if not files:
        raise FileNotFoundError(f"no {folder / PAPER}/{family}_*.yaml; run from the root")
    papers = [as_dict(section("model", _read(path))) for path in files]
    told, _, _ = find(family).part("official").sizes(Votes(family, shapes, papers[0] | dict(given)))
    fitting = [paper for paper in papers if _fits(family, shapes, paper)]
    chosen = fitting if len(fitting) == 1 else papers
    agreed = {
        name: value
        for name, value in chosen[0].items()
        if name not in told and all(paper[name] == value for paper in chosen)
    }
    return agreed | dict(given)


def _fits(family: str, shapes: Shapes, paper: Mapping[str, Any]) -> bool:
    try:
        infer(family, shapes, paper, None)
    except ValueError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    raw = yaml.safe_load(path.read_text())
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is no config: it holds no keys")
    return raw


def _check_types(family: str, given: Mapping[str, Any]) -> None:
    types = {field.name: field.type for field in fields(find(family).part("config").MODEL)}
    for name, value in given.items():
        if name not in types:
            raise ValueError(f"{family} has no model.{name}; it has {', '.join(types)}")
        wanted = types[name]
        assert isinstance(wanted, type)
        if not isinstance(value, (int, float) if wanted is float else wanted):
            raise ValueError(f"model.{name} must be of type {wanted.__name__}, got '{value}'")
