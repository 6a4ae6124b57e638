"""What Snakemake is asked for: settings of --config and targets, checked before anything else."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nextbasis.pipeline.catalog import scales
from nextbasis.pipeline.schedule import Stages
from nextbasis.support.words import listed, nearest

CONFIG_KEYS = {"scale": "a folder of config/scales", "extra": "true or false"}
# Scale, and of a stage's file kind and key.
TARGET = re.compile(r"(?:\./)?results/([^/]+)(?:/([^/]+)/([^/]+)/[^/]+|/.*)?")


def check_settings(config: Mapping[str, Any]) -> None:
    """Nothing if the pipeline reads every setting; one that it does not read would do nothing.

    Raises: ValueError naming those that it does not know, and those that it does.
    """
    if unknown := [name for name in config if name not in CONFIG_KEYS]:
        known = listed(f"{name} ({what})" for name, what in CONFIG_KEYS.items())
        raise ValueError(f"--config has no {listed(unknown, ' and no ')}; it has {known}")


def check_targets(words: Iterable[str], stages: Stages) -> None:
    """Nothing unless a word of the command line is a result that the chosen scale does not have.

    Raises: ValueError naming the target: how to choose its scale, or which keys its kind has.
    """
    for target in words:
        if not (match := TARGET.fullmatch(target)):
            continue
        scale, kind, key = match.groups()
        if scale != stages.scale:
            if scale in scales(stages.catalog):
                raise ValueError(
                    f"{target} is a result of scale {scale}, and this run is of scale "
                    f"{stages.scale}: choose it by --config scale={scale}"
                )
            continue
        keys = stages.keys(kind)
        if any(keys) and key not in keys:
            raise ValueError(
                f"{target}: scale {scale} has no {kind} of '{key}'; it has {nearest(keys, key)}"
            )
