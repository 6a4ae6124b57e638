"""Models of the papers' sizes: exactly the official tensors, on the meta device."""

import json

import pytest
import torch
from yaml import safe_load

from fixtures_at_hand import fixture_path
from nextbasis.config import section
from nextbasis.families import find, names
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.xar.official import constants
from nextbasis.official import official_name
from nextbasis.official.names import RASTER

CODEBOOKS = {"rar": 1024, "llamagen": 16_384, "par": 16_384}
# Published configs, their manifests and numbers of parameters.
PUBLISHED = {
    "mar_b": ("MAR-B", 207_924_768),
    "mar_l": ("MAR-L", 478_326_304),
    "mar_h": ("MAR-H", 942_403_104),
    "xar_b": ("xAR-B", 172_638_224),
    "xar_l": ("xAR-L", 608_397_968),
    "xar_h": ("xAR-H", 1_186_024_096),
    "rar_b": ("rar_b", 260_923_648),
    "rar_l": ("rar_l", 461_668_352),
    "rar_xl": ("rar_xl", 955_425_024),
    "rar_xxl": ("rar_xxl", 1_498_520_704),
    "llamagen_b": ("llamagen_B", 110_888_448),
    "llamagen_l": ("llamagen_L", 342_910_976),
    "llamagen_xl": ("llamagen_XL", 774_699_520),
    "llamagen_xxl": ("llamagen_XXL", 1_410_972_672),
    "llamagen_3b": ("llamagen_3B", 3_096_659_200),
    "par_xl_4x": ("par_XL_4x", 774_703_360),
    "par_xxl_4x": ("par_XXL_4x", 1_410_977_280),
    "par_3b_4x": ("par_3B_4x", 3_096_668_800),
    "par_3b_16x": ("par_3B_16x", 3_096_707_200),
    "dit_s2": ("", 32_963_360),
    "dit_b2": ("", 130_512_416),
    "dit_l2": ("", 458_102_816),
    "dit_xl2": ("dit_xl2_256", 675_129_632),
}


ELSEWHERE = {"mdtv2", "sit", "var"}  # families whose sizes tests of their own compare


def test_every_paper_config_is_compared() -> None:
    found = [
        path
        for name in set(names()) - ELSEWHERE
        for path in find(name).recipes.glob("model/paper/*.yaml")
    ]
    assert {path.stem for path in found} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_model_has_exactly_the_official_tensors(name: str) -> None:
    title, count = PUBLISHED[name]
    family = name.split("_")[0]
    model = section(
        "model", safe_load((find(family).recipes / f"model/paper/{name}.yaml").read_text())
    )
    codebook_size = CODEBOOKS.get(family, 0)
    channels = 0 if codebook_size else 16
    grid = (16, 16)
    if family == "dit":
        grid, channels = (32, 32), 4
    spec = TokenSpec.of_grid(
        grid=grid, channels=channels, codebook_size=codebook_size, num_classes=1000
    )
    with torch.device("meta"):
        backbone = build_backbone(model, RASTER, spec)
    assert sum(tensor.numel() for tensor in backbone.state_dict().values()) == count
    shapes = {official_name(family, n): tuple(t.shape) for n, t in backbone.state_dict().items()}
    if family == "xar":
        shapes |= {n: tuple(t.shape) for n, t in constants(model, spec).items()}
    if not title:
        return
    manifest = json.loads(fixture_path(f"manifests/{title}.json").read_text())
    entries = manifest.get("tensors", manifest.get("state_dict", manifest))
    assert shapes == {key: tuple(shape) for key, (shape, *_) in entries.items()}
