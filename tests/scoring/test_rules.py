"""Named protocols: what each demands, and how it splits images for IS."""

from typing import Any

import numpy as np
import pytest

from nextbasis.config import compose
from nextbasis.pipeline.catalog import load_catalog, scales
from nextbasis.scoring.protocol import NOT_GIVEN, check_images, count_classes, describe
from nextbasis.scoring.rules import (
    INCEPTION,
    PROTOCOLS,
    check_rounding,
    fid_name,
    find_rule,
    permutation,
    split,
)
from scoring import balanced, evaluation, pictures


def paper(protocol: str, **changes: Any) -> Any:
    """The paper's settings under another protocol."""
    config = compose("reference", ["evaluation=imagenet256", "scale=imagenet256"]).evaluation
    for name, value in ({"protocol": protocol} | changes).items():
        setattr(config, name, value)
    return config


@pytest.mark.parametrize(
    ("name", "rounding", "file_order", "spatial"),
    [("adm", "", True, True), ("mar", "round", False, False), ("rar", "truncate", True, True)],
)
def test_protocols_of_the_papers(name: str, rounding: str, file_order: bool, spatial: bool) -> None:
    rule = find_rule(paper(name))
    assert (rule.rounding, rule.file_order, rule.spatial) == (rounding, file_order, spatial)
    assert (rule.num_images, rule.per_class) == (50_000, 50)
    assert rule.settings["extractor"] == INCEPTION and rule.settings["num_reference"] == 10_000
    assert "differ" in rule.offsets or "agrees" in rule.offsets


@pytest.mark.parametrize("scale", scales(load_catalog()))
def test_shipped_evaluations_fit_their_protocol(scale: str) -> None:
    find_rule(compose("reference", [f"evaluation={scale}", f"scale={scale}"]).evaluation)


def test_settings_that_contradict_the_protocol_are_named() -> None:
    for changes, message in (
        (
            {"protocol": "adm", "is_splits": 5},
            "is_splits must be 10 under .* adm, got 5",
        ),
        ({"protocol": "mar", "seed": 0}, "evaluation.seed must be 2020 under protocol mar, got 0"),
        ({"protocol": "rar", "extractor": "fashion128"}, "evaluation.extractor must be inception"),
        ({"protocol": "cpu-fashion-v1"}, "evaluation.extractor must be fashion128"),
    ):
        with pytest.raises(ValueError, match=message):
            find_rule(paper(**changes))


def test_rounding_is_the_protocols() -> None:
    check_rounding(paper("mar"), "round")
    check_rounding(paper("adm"), "truncate")
    check_rounding(paper("rar"), "not recorded")
    for name, given in (("mar", "truncate"), ("rar", "round")):
        with pytest.raises(ValueError, match=f"protocol {name} needs pixels .* '{given}'"):
            check_rounding(paper(name), given)


def test_fid_50k_is_called_so_only_when_it_is() -> None:
    assert fid_name(paper("adm"), 50_000) == "FID-50K"
    assert fid_name(paper("adm"), 49_999) == "FID of 49999 images under adm"
    assert fid_name(evaluation(), 50_000) == "FID of 50000 images under cpu-fashion-v1"
    assert describe(paper("mar"), 50_000, from_file=True)["fid_is"] == "FID-50K"


def test_chunks_are_in_file_order_or_permuted() -> None:
    in_order = np.repeat(np.arange(10), 5_000)
    np.testing.assert_array_equal(split(50_000, paper("adm"), from_file=True), in_order)
    shuffled = split(50_000, paper("mar"), from_file=True)
    assert np.bincount(shuffled).tolist() == [5_000] * 10 and (shuffled != in_order).any()
    order = np.random.RandomState(2020).permutation(50_000)  # torch-fidelity's own shuffle
    np.testing.assert_array_equal(shuffled[order], in_order)


def test_exported_samples_have_the_chunks_that_the_pipeline_scores() -> None:
    """Scoring the permuted file in its order is scoring the array in order of class."""
    config = paper("adm")
    inside = split(50_000, config, from_file=False)
    exported = permutation(50_000, config.seed)  # sample i of the file is exported[i] of the array
    np.testing.assert_array_equal(inside[exported], split(50_000, config, from_file=True))


def test_uneven_splits_are_those_of_torch_fidelity() -> None:
    part = split(23, evaluation(is_splits=4), from_file=False)
    assert np.bincount(part).tolist() == [5, 6, 6, 6]


def test_49999_images_or_unequal_classes_are_refused() -> None:
    shape = np.broadcast_to(np.uint8(0), (49_999, 8, 8, 3))
    with pytest.raises(ValueError, match="protocol mar needs 50000 images, got 49999"):
        check_images(shape, None, paper("mar"), 1000)
    labels = np.repeat(np.arange(1000), 50)
    assert count_classes(labels, 1000, paper("mar")) == {"min": 50, "max": 50}
    labels[0] = 1
    with pytest.raises(ValueError, match="needs 50 images of each class, got between 49 and 51"):
        count_classes(labels, 1000, paper("mar"))


def test_samples_without_labels_say_so() -> None:
    assert count_classes(None, 10, evaluation()) == NOT_GIVEN
    check_images(pictures(200, seed=1), None, evaluation(), 10)


def test_channels_first_is_recognised() -> None:
    images = pictures(200, seed=1).transpose(0, 3, 1, 2)
    with pytest.raises(ValueError, match="seem to have channels first"):
        check_images(images, balanced(200), evaluation(), 10)
    known = {"tiny-plumbing", "cpu-fashion-v1", "adm", "unlabelled", "mar", "rar"}
    known |= {"emoji-v1", "t2i-coco"}
    assert set(PROTOCOLS) == known
