"""What Snakemake is asked for: settings of --config and targets, checked before anything else."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nextbasis.pipeline.catalog import scales
from nextbasis.pipeline.schedule import Stages
from nextbasis.support.words import listed, nearest

SETTINGS = {"scale": "a folder of config/scales", "extra": "true or false"}
TARGET = re.compile(r"(?:\./)?results/([^/]+)(?:/(.*))?")
STAGE = re.compile(r"([^/]+)/([^/]+)/[^/]+")  # kind and key, below the scale's folder


def check_settings(config: Mapping[str, Any]) -> None:
    """Nothing if the pipeline reads every setting; one that it does not read would do nothing.

    Raises: ValueError naming those that it does not know, and those that it does.
    """
    if unknown := [name for name in config if name not in SETTINGS]:
        known = listed(f"{name} ({what})" for name, what in SETTINGS.items())
        raise ValueError(f"--config has no {listed(unknown, ' and no ')}; it has {known}")


def check_targets(words: Iterable[str], stages: Stages) -> None:
    """Nothing unless a word of the command line is a result that the chosen scale does not have.

    Raises: ValueError naming the target: how to choose its scale, or which keys its kind has.
    """
    for target in words:
        match = TARGET.fullmatch(target)
        if match and match[1] != stages.scale and match[1] in scales(stages.catalog):
            raise ValueError(
                f"{target} is a result of scale {match[1]}, and this run is of scale "
                f"{stages.scale}: choose it by --config scale={match[1]}"
            )
        found = STAGE.fullmatch(match[2] or "") if match and match[1] == stages.scale else None
        keys = stages.keys(found[1]) if found else []
        if found and any(keys) and found[2] not in keys:
            raise ValueError(
                f"{target}: scale {stages.scale} has no {found[1]} of '{found[2]}'; it has "
                f"{nearest(keys, found[2])}"
            )
