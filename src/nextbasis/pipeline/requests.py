"""What Snakemake is asked for: settings of --config and targets, checked before anything else."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nextbasis.pipeline.catalog import Catalog, scales
from nextbasis.support.words import listed

SETTINGS = {"scale": "a folder of config/scales", "extra": "true or false"}
TARGET = re.compile(r"(?:\./)?results/([^/]+)(?:/.*)?")


def check_settings(config: Mapping[str, Any]) -> None:
    """Nothing if the pipeline reads every setting; one that it does not read would do nothing.

    Raises: ValueError naming those that it does not know, and those that it does.
    """
    if unknown := [name for name in config if name not in SETTINGS]:
        known = listed(f"{name} ({what})" for name, what in SETTINGS.items())
        raise ValueError(f"--config has no {listed(unknown, ' and no ')}; it has {known}")


def check_targets(words: Iterable[str], scale: str, catalog: Catalog) -> None:
    """Nothing unless a word of the command line is a result of another scale than the chosen one.

    Raises: ValueError naming the target and how to choose its scale.
    """
    for target in words:
        match = TARGET.fullmatch(target)
        if match and match[1] != scale and match[1] in scales(catalog):
            raise ValueError(
                f"{target} is a result of scale {match[1]}, and this run is of scale {scale}: "
                f"choose it by --config scale={match[1]}"
            )
