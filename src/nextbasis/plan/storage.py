"""How many bytes a scale keeps on disk, from configs and shapes."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from nextbasis.data.tokens import stored
from nextbasis.data.views import VIEWS
from nextbasis.families.common.spec import TokenSpec
from nextbasis.plan import memory
from nextbasis.plan.runs import Run
from nextbasis.support.yamls import read_keys
from nextbasis.tokenizers import kinds

FLOAT, HALF, ID, LABEL = 4, 2, 4, 8  # bytes of a weight, a state, a word's id, a label
STATES = 2  # that a training keeps until its end


def images(scale: str, counts: list[int]) -> int:
    """Bytes of the dataset's arrays: pixels and labels of both splits."""
    return sum(counts) * (_pixels(scale) + LABEL)


def tokens(encoder: dict[str, Any], spec: TokenSpec, count: int) -> int:
    """Bytes of the tokens of all views of this many training images: of a posterior two moments."""
    dtype, shape = stored(spec, kinds.find(encoder["coder"]).posterior)
    view = math.prod(shape) * np.dtype(dtype).itemsize
    return count * (VIEWS[encoder["views"]].count * view + LABEL)


def text(spec: TokenSpec, count: int) -> int:
    """Bytes of the tokens of captions: ids, or a frozen encoder's vectors in half precision."""
    if spec.text is None:
        return 0
    numbers = spec.text.num_tokens * (spec.text.width * HALF if spec.text.width else ID)
    return count * (numbers + LABEL)


def model(run: Run, parameters: int) -> int:
    """Bytes of model.safetensors: raw and averaged weights, and A as a matrix if there is one."""
    n = run.spec.num_tokens
    matrix = n * n if run.config.basis.learned or run.config.basis.init != "identity" else 0
    return FLOAT * (2 * parameters + matrix)


def states(parameters: int, optimizer: str) -> int:
    """Bytes of what a training keeps in scratch/ to go on from; it is deleted at its end."""
    kept = memory.state(optimizer) | {"gradients": 0}
    return STATES * sum(kept.values()) * parameters


def samples(scale: str, run: Run) -> int:
    """Bytes of the images of all evaluations of a run."""
    count = sum(evaluation.sampler.num_images for evaluation in run.evals)
    return count * (_pixels(scale) + LABEL)


def _pixels(scale: str) -> int:
    """Bytes of one image; the scales of the papers are named after their datasets."""
    config = read_keys(Path(f"config/dataset/{scale}.yaml"))
    return config["image_size"] ** 2 * config["channels"]
