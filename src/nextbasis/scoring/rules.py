"""Protocols by name: what each demands, how it splits images for IS, and what is known to differ.

A number without its protocol cannot be compared. `adm` is the evaluation of Dhariwal & Nichol
2021 (guided-diffusion), `rar` that of RAR through the same program, `mar` that of MAR and xAR;
`unlabelled` is `adm` without its numbers of images and of images of a class. In `emoji-v1` and
`t2i-coco` labels are numbers of captions.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int, Int64

from nextbasis.config import EvaluationConfig

INCEPTION = "inception-v3-compat"
FULL = 50_000  # images of what the papers call FID-50K
COCO = 30_000  # images of what papers on text-to-image call FID-30K
ADM_OFFSETS = (
    "the official program runs the TensorFlow graph and computes distances of precision and recall "
    "in float16; a PyTorch port with the converted weights is published to differ from it by 0.002 "
    "in FID, 0.07 % in IS, 0.0001 in sFID, -0.001 in precision and -0.0024 in recall"
)
MAR_OFFSETS = (
    "the official code uses the same converted weights and shuffle through a fork of "
    "torch-fidelity: FID agrees to 1e-4, IS to 1e-6 (relative) on the same images"
)
COCO_OFFSETS = (
    "not known: papers report FID on 30,000 captions of MS-COCO's validation images without saying "
    "which captions, how images were cropped and resized, whether the reference is all validation "
    "images or those of the chosen captions, or which program computed it; known is that FID moves "
    "with each of them; here the reference is all test images of the dataset as it crops them"
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a named protocol demands; 0 and empty demand nothing."""

    num_images: int = 0
    per_class: int = 0
    rounding: str = ""  # of pixels to uint8: round or truncate
    classifies: bool = False  # the extractor's classes are the labels, so accuracy means something
    file_order: bool = False  # IS splits files as they stand; else after torch-fidelity's shuffle
    spatial: bool = False  # sFID too
    captioned: bool = False  # labels are numbers of captions: one class, and retrieval
    on_test: bool = False  # the pipeline's reference is the test images, else the training images
    settings: dict[str, Any] = field(default_factory=dict)  # of EvaluationConfig
    offsets: str = "none: this protocol is this package's own"


_INCEPTION = {"extractor": INCEPTION, "is_splits": 10, "neighbours": 3, "num_reference": 10_000}
PROTOCOLS = {
    "tiny-plumbing": Rule(),
    "cpu-fashion-v1": Rule(classifies=True, settings={"extractor": "fashion128"}),
    "emoji-v1": Rule(captioned=True, settings={"extractor": "emoji128"}),
    "adm": Rule(
        num_images=FULL,
        per_class=50,
        file_order=True,
        spatial=True,
        settings=_INCEPTION,
        offsets=ADM_OFFSETS,
    ),
    "unlabelled": Rule(file_order=True, spatial=True, settings=_INCEPTION, offsets=ADM_OFFSETS),
    "mar": Rule(
        num_images=FULL,
        per_class=50,
        rounding="round",
        settings=_INCEPTION | {"seed": 2020},
        offsets=MAR_OFFSETS,
    ),
    "t2i-coco": Rule(
        num_images=COCO, captioned=True, on_test=True, settings=_INCEPTION, offsets=COCO_OFFSETS
    ),
    "rar": Rule(
        num_images=FULL,
        per_class=50,
        rounding="truncate",
        file_order=True,
        spatial=True,
        settings=_INCEPTION,
        offsets=ADM_OFFSETS,
    ),
}


def find_rule(config: EvaluationConfig) -> Rule:
    """What the protocol that `config` names demands.

    Raises: ValueError if it is unknown, or if another key contradicts it.
    """
    if config.protocol not in PROTOCOLS:
        raise ValueError(
            f"evaluation.protocol must be one of {', '.join(PROTOCOLS)}; got '{config.protocol}'"
        )
    rule = PROTOCOLS[config.protocol]
    for name, value in rule.settings.items():
        if (found := getattr(config, name)) != value:
            raise ValueError(
                f"evaluation.{name} must be {value} under protocol {config.protocol}, got {found}"
            )
    return rule


def check_rounding(config: EvaluationConfig, rounding: str) -> None:
    """Check how pixels became bytes, where that is known.

    Raises: ValueError if the protocol demands the other way.
    """
    wanted = find_rule(config).rounding
    if wanted and rounding in ("round", "truncate") and rounding != wanted:
        raise ValueError(
            f"protocol {config.protocol} needs pixels brought to uint8 by '{wanted}', these were "
            f"by '{rounding}'"
        )


def as_classes(
    labels: Int[np.ndarray, " n"], num_classes: int, config: EvaluationConfig
) -> tuple[Int[np.ndarray, " n"], int]:
    """Labels, and how many there are, as balance and standard errors see them.

    Captions are one class: nearly each has an image of its own.
    """
    if find_rule(config).captioned:
        return np.zeros(len(labels), np.int64), 1
    return labels, num_classes


def fid_name(config: EvaluationConfig, num_images: int) -> str:
    """FID-50K only where it is: 50,000 images under a protocol of the papers."""
    if find_rule(config).num_images == num_images == FULL:
        return "FID-50K"
    return f"FID of {num_images} images under {config.protocol}"


def permutation(num_images: int, seed: int) -> Int64[np.ndarray, " n"]:
    """The seeded order of exported files; the same as torch-fidelity's shuffle for IS."""
    return np.random.RandomState(seed).permutation(num_images)


def split(num_images: int, config: EvaluationConfig, from_file: bool) -> Int64[np.ndarray, " n"]:
    """Which of the IS splits each image belongs to.

    Files from outside stay in their order where the protocol says so, as the official program
    reads them. Images of the pipeline stand in order of class: they are permuted first, as in
    their exported file.
    """
    stay = from_file and find_rule(config).file_order
    order = np.arange(num_images) if stay else permutation(num_images, config.seed)
    part = np.empty(num_images, np.int64)
    for index in range(config.is_splits):
        start = index * num_images // config.is_splits
        part[order[start : (index + 1) * num_images // config.is_splits]] = index
    return part
