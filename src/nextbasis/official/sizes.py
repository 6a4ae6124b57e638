"""A model's config from the shapes of its official weights, and from the released models."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from nextbasis.config import as_dict, section
from nextbasis.config.checks import check_type
from nextbasis.data.layout import Grid
from nextbasis.families import find
from nextbasis.families.common.spec import TokenSpec
from nextbasis.support.words import listed
from nextbasis.support.yamls import read_keys

Shapes = Mapping[str, tuple[int, ...]]


class Votes:
    """Sizes that several tensors agree on, so that one bad tensor is found and not believed."""

    def __init__(self, family: str, shapes: Shapes, given: Mapping[str, Any]) -> None:
        """Vote with these shapes; `given` holds what they cannot tell."""
        self.family, self.shapes, self.given = family, shapes, given

    def size(self, *sources: tuple[str, int]) -> int:
        """The commonest size among (tensor, axis) pairs; negative axes count from the end.

        Raises: ValueError naming the tensors if none of them is there.
        """
        found = [
            self.shapes[name][axis]
            for name, axis in sources
            if name in self.shapes and -len(self.shapes[name]) <= axis < len(self.shapes[name])
        ]
        if not found:
            names = listed(name for name, _ in sources)
            raise ValueError(f"the checkpoint is not of family {self.family}: no tensor {names}")
        return Counter(found).most_common(1)[0][0]

    def depth(self, blocks: str) -> int:
        """How many blocks there are; an index with a single stray tensor is none."""
        pattern = re.compile(rf"{re.escape(blocks)}\.(\d+)\.")
        matches = (pattern.match(name) for name in self.shapes)
        counts = Counter(int(match[1]) for match in matches if match)
        return max((index + 1 for index, count in counts.items() if count > 1), default=0)


def infer(
    family: str,
    shapes: Shapes,
    given: Mapping[str, Any],
    grid: Grid | None,
    levels: tuple[Grid, ...] = (),
) -> tuple[Any, TokenSpec]:
    """Model config and token spec of official tensors; `given` holds what shapes cannot tell.

    Tokens of several levels have no one grid: where `levels` are given they are believed.

    Raises: ValueError if `given` lacks a value or contradicts the shapes, if `grid` is None and the
    tokens form no square or are not told by the shapes, or if sizes do not fit each other.
    """
    model, num_tokens, spec = _model(family, shapes, given)
    if levels:
        return model, replace(TokenSpec.of_grid(levels[-1], **spec), levels=levels)
    return model, TokenSpec.of_grid(_grid(num_tokens, grid), **spec)


def _model(
    family: str, shapes: Shapes, given: Mapping[str, Any]
) -> tuple[Any, int | None, dict[str, int]]:
    """Model config, number of tokens if shapes tell it, and codebook and classes."""
    schema, official = find(family).part("config").MODEL, find(family).part("official")
    values, num_tokens, spec = official.sizes(Votes(family, shapes, given))
    if spec["num_classes"] < 1:
        raise ValueError(
            f"the class table leaves {spec['num_classes']} classes; the checkpoint is damaged"
        )
    wrong = [
        f"model.{name} is {given[name]} in the config and {value} in the checkpoint"
        for name, value in values.items()
        if name in given and given[name] != value
    ]
    if wrong:
        raise ValueError(f"the checkpoint is of another size: {listed(wrong, '; ')}")
    values = {"family": family} | dict(given) | values
    names = [field.name for field in fields(schema)]
    needed = [field.name for field in fields(schema) if field.default is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ValueError(
            f"a {family} checkpoint does not tell {listed(f'model.{m}' for m in missing)}; "
            "give the values (the family's recipes/model/paper has those of the released models)"
        )
    if unknown := [name for name in values if name not in names]:
        raise ValueError(f"{family} has no model.{listed(unknown, ', model.')}")
    return schema(**values), num_tokens, spec


def _grid(num_tokens: int | None, grid: Grid | None) -> Grid:
    if num_tokens is None:
        if grid is None:
            raise ValueError(
                "the checkpoint does not tell how many tokens an image has; give their grid, such "
                "as --grid 16x16"
            )
        return grid
    side = math.isqrt(max(0, num_tokens))
    grid = grid or (side, side)
    if grid[0] * grid[1] != num_tokens or num_tokens < 1:
        raise ValueError(
            f"the checkpoint has {num_tokens} tokens per image, which is no {grid[0]} x {grid[1]} "
            "grid; give its grid"
        )
    return grid


LARGE = 1024.0  # a ratio whose width is hardly changed by rounding


def mlp_ratio(votes: Votes, hidden: int, width_at: Callable[[float], int]) -> float:
    """The ratio of an MLP whose inner width is `width_at(ratio)`: the given one if it fits.

    Several ratios give the same layer; without a given one it is the least multiple of 1/64 that
    fits, or else one found by rounding.
    """
    given = votes.given.get("mlp_ratio")
    if given is not None and width_at(given) == hidden:
        return given
    plain = hidden * LARGE / max(1, width_at(LARGE))
    near = (round(plain * 64) + step for step in range(-2, 3))
    for ratio in (*(n / 64 for n in near), plain, math.nextafter(plain, math.inf)):
        if width_at(ratio) == hidden:
            return ratio
    raise ValueError(f"no ratio gives an MLP of width {hidden}; the checkpoint is damaged")


MODELS = "model"  # of a family's recipes
PAPER = Path(MODELS, "paper")  # the released models


def model_config(family: str, name: str) -> dict[str, Any]:
    """A model's config by its file, its name among the family's recipes, or a released model's.

    Raises: FileNotFoundError naming the places looked in; ValueError if it is no such config.
    """
    recipes = find(family).recipes
    places = [Path(name), *(recipes / which / f"{name}.yaml" for which in (MODELS, PAPER))]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        tried = listed(places)
        raise FileNotFoundError(f"no model config '{name}'; looked for {tried}")
    return as_dict(section("model", read_keys(path)))


def complete(family: str, shapes: Shapes, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given`, and what neither it nor the shapes tell, where released models leave no choice.

    That is the config of the only released model of these sizes. Files of other sizes get the
    values in which all released models of the family agree.

    Raises: FileNotFoundError if the family has no recipes of released models; ValueError if `given`
    has an unknown key or a value of a wrong type.
    """
    _check_types(family, given)
    folder = find(family).recipes / PAPER
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise FileNotFoundError(f"no {folder}/*.yaml: write the config of a released model")
    papers = [as_dict(section("model", read_keys(path))) for path in files]
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
        _model(family, shapes, paper)
    except ValueError:
        return False
    return True


def _check_types(family: str, given: Mapping[str, Any]) -> None:
    types = {field.name: field.type for field in fields(find(family).part("config").MODEL)}
    for name, value in given.items():
        if name not in types:
            raise ValueError(f"{family} has no model.{name}; it has {listed(types)}")
        check_type(f"model.{name}", value, types[name])
