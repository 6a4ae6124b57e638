"""The seam of families: what every family must keep, and that its README is true."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from builders import generator, model_config, order_config, sampler_config, token_spec, tokens
from nextbasis.config import section
from nextbasis.data.layout import KINDS
from nextbasis.families import family as seam
from nextbasis.families import find, names
from nextbasis.families.common.backbone import Backbone, Draws
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec
from nextbasis.official.names import official_name, official_shapes, our_name
from nextbasis.official.sizes import infer
from toy_package import run_with_toy

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "nextbasis"
LABELS = torch.tensor([0, 1, 2, 4])
# A paper's name that is no family here: of its basis or scan, of its protocol of evaluation.
NAMES_OF_OTHER_THINGS = ("basis", "scoring/rules.py", "figures/pictures.py")


@pytest.mark.parametrize("name", names())
def test_a_family_has_every_part(name: str) -> None:
    family = find(name)
    assert family.name == name and family.tokens in KINDS
    for part in seam.PARTS:
        assert family.part(part).__doc__


@pytest.mark.parametrize("name", names())
def test_a_model_takes_no_memory_on_meta(name: str) -> None:
    with torch.device("meta"):
        model = build_backbone(model_config(name), order_config(), token_spec(name))
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("name", names())
def test_the_loss_is_finite_and_of_parts_the_mean(name: str) -> None:
    """Draws are data: the loss of a batch is the mean of those of its halves, with their draws."""
    model = generator(name).backbone.eval()
    draws = model.draw(4, 0.5, torch.Generator().manual_seed(0))
    assert isinstance(draws, Draws)
    whole = model.loss(tokens(name), LABELS, draws)
    halves = (slice(0, 2), slice(2, 4))
    parts = [model.loss(tokens(name)[h], LABELS[h], draws.part(h)).value for h in halves]
    assert torch.isfinite(whole.value)
    torch.testing.assert_close(whole.value, torch.stack(parts).mean())


@pytest.mark.parametrize("name", names())
def test_samples_have_the_shape_and_range_of_the_spec(name: str) -> None:
    made, spec = generator(name).eval(), token_spec(name)
    noise = ImageNoise(0, range(4), torch.device("cpu"))
    drawn = made.sample(LABELS, noise, sampler_config(name))
    if spec.kind == "numbers":
        assert drawn.shape == (4, spec.num_tokens, spec.size) and drawn.isfinite().all()
    else:
        assert drawn.shape == (4, spec.num_tokens)
        assert 0 <= drawn.min() and drawn.max() < spec.size


@pytest.mark.parametrize("name", names())
def test_every_token_is_drawn_in_one_step_and_has_one_place(name: str) -> None:
    model = generator(name).backbone
    n = token_spec(name).num_tokens
    assert sorted(model.host_order.tolist()) == list(range(n))
    assert sorted(set(model.step_of.tolist())) == list(range(int(model.step_of.max()) + 1))
    assert (int(model.step_of.max()) + 1 < n) == model.grouped
    assert model.layout[0] * model.layout[1] == n


@pytest.mark.parametrize("name", names())
def test_official_names_are_a_bijection_and_sizes_come_back(name: str) -> None:
    model, spec = model_config(name), token_spec(name)
    ours = build_backbone(model, order_config(), spec).state_dict()
    official = [official_name(name, key) for key in ours]
    assert len(set(official)) == len(ours)
    assert [our_name(name, key) for key in official] == list(ours)
    shapes = official_shapes(model, spec)
    place = (spec.grid,) if len(spec.levels) == 1 else (None, spec.levels)
    told, found = infer(name, shapes, vars(model), *place)
    assert told == model and found == spec


@pytest.mark.parametrize("ratio", [1.0, 2.5, 3.0, 4.0, 5.75])
@pytest.mark.parametrize("name", ["mar", "xar"])
def test_the_ratio_of_an_mlp_is_read_off_its_shapes(name: str, ratio: float) -> None:
    """Whatever the ratio, the layers of what is read are those of the checkpoint."""
    model, spec = model_config(name, mlp_ratio=ratio), token_spec(name)
    shapes = official_shapes(model, spec)
    given = {key: value for key, value in vars(model).items() if key != "mlp_ratio"}
    told, _ = infer(name, shapes, given, spec.grid)
    assert official_shapes(told, spec) == shapes
    with pytest.raises(ValueError, match="model.mlp_ratio is 9.0 in the config and"):
        infer(name, shapes, given | {"mlp_ratio": 9.0}, spec.grid)


@pytest.mark.parametrize("name", names())
def test_its_recipes_compose(name: str) -> None:
    recipes = {
        group: sorted((find(name).recipes / group).rglob("*.yaml"))
        for group in ("model", "train", "sampler")
    }
    assert all(recipes.values())
    for group in ("model", "sampler"):
        for path in recipes[group]:
            found = section(group, yaml.safe_load(path.read_text(encoding="utf-8")))
            assert type(found) is getattr(find(name).part("config"), group.upper())
            assert found.family == name


@pytest.mark.parametrize("name", names())
def test_a_family_is_named_without_torch(name: str) -> None:
    code = f"import sys; from nextbasis.families import find; find({name!r}); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "torch" not in loaded.stdout.split()


def test_an_unknown_family_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=rf"model.family must be one of {', '.join(names())}; got"):
        find("nosuch", "model.family")


def test_tokens_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="model.family=rar needs tokens that are ids"):
        build_backbone(model_config("rar"), order_config(), token_spec("mar"))


def strings(path: Path) -> set[str]:
    """String constants of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_nothing_outside_the_families_names_one() -> None:
    """No constant and no import of a family's name: what depends on a family asks the seam."""
    wrong = []
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE).as_posix()
        if place.startswith(("families/", *NAMES_OF_OTHER_THINGS)):
            continue
        found = {text for text in strings(path) if text in names()}
        imported = re.findall(r"nextbasis\.families\.(\w+)", path.read_text(encoding="utf-8"))
        wrong += [f"{place}: {name}" for name in found | set(imported) & set(names())]
    assert not wrong


@pytest.mark.parametrize("levels", [((4, 4),), tuple((n, n) for n in (1, 2, 3, 4, 5, 6, 8, 10))])
def test_a_spec_survives_json(levels: tuple[tuple[int, int], ...]) -> None:
    spec = TokenSpec(kind="ids", levels=levels, sizes=(4096,) * 4, num_classes=1000)
    assert TokenSpec.of(spec.as_dict()) == spec
    assert spec.num_tokens == sum(a * b for a, b in levels)


def test_tokens_without_a_place_are_a_row() -> None:
    spec = TokenSpec(kind="ids", levels=(), length=32, sizes=(4096,), num_classes=1000)
    assert (spec.num_tokens, spec.sequence) == (32, (1, 32))
    with pytest.raises(ValueError, match="levels or a length"):
        TokenSpec(kind="ids", levels=(), sizes=(4096,), num_classes=1000)
    with pytest.raises(ValueError, match="an older version of this package made it"):
        TokenSpec.of({"grid": [4, 4], "channels": 3, "codebook_size": 0, "num_classes": 5})


# A toy family, one file for each that README.md lists but those that only official weights need.
TOY = {
    "__init__.py": """
        from nextbasis.families.family import Family
        FAMILY = Family(name="toy", title="Toy", tokens="numbers", captions=False)
    """,
    "config.py": """
        from dataclasses import dataclass
        from nextbasis.config.model import ModelBase
        from nextbasis.config.running import SamplerBase
        @dataclass(kw_only=True)
        class ToyConfig(ModelBase):
            width: int
        @dataclass(kw_only=True)
        class ToySampler(SamplerBase):
            spread: float
        MODEL, SAMPLER = ToyConfig, ToySampler
    """,
    "model.py": """
        from dataclasses import dataclass
        import torch
        from torch import nn
        from nextbasis.families.common.backbone import Backbone
        from nextbasis.families.common.loss import Loss
        @dataclass
        class Draws:
            noise: torch.Tensor
            def part(self, images):
                return Draws(self.noise[images])
            def share_level(self):
                return self
        class Toy(Backbone):
            grouped = False
            def __init__(self, config, spec, order):
                super().__init__(config, spec, order)
                self.layout, n = spec.sequence, spec.num_rows or spec.num_tokens
                self.mean = nn.Parameter(torch.zeros(spec.num_classes, n, spec.channels))
                for name in ("host_order", "step_of"):
                    self.register_buffer(name, torch.arange(n), persistent=False)
            @staticmethod
            def decays(name, parameter):
                return False
            def draw(self, batch, progress, generator):
                return Draws(torch.randn(batch, *self.mean.shape[1:], generator=generator))
            def loss(self, tokens, labels, draws, target=None):
                error = (tokens if target is None else target) - self.mean[labels]
                snr = torch.ones(error.shape[:2])
                return Loss(value=error.square().mean(), error=error, snr=snr)
            @torch.no_grad()
            def sample(self, labels, noise, sampler):
                return self.mean[labels] + sampler.spread * noise.normal(*self.mean.shape[1:])
        MODEL = Toy
    """,
}
TOY_RUN = """
from pathlib import Path
import torch
from nextbasis.config import OrderConfig, section
from nextbasis.families import find, names
from nextbasis.families.common.generator import build
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec
from builders import basis_config

assert "toy" in names()
shared = {"num_images": 5, "batch_size": 5, "latency_images": 1, "guidance": 1.0}
shared |= {"rounding": "round", "precision": "float32", "compile": False}
model = section("model", {"family": "toy", "dropout": 0.0, "label_drop": 0.0, "width": 4})
sampler = section("sampler", {"family": "toy", "spread": 0.0} | shared)
spec = TokenSpec.of_grid((4, 4), channels=3, num_classes=5)
order = OrderConfig(scan="raster", anneal_start=0.0, anneal_end=0.0)
made = build(model, basis_config(learned=True, projection="hard"), order, spec)
random = torch.Generator().manual_seed(0)
x, labels = torch.randn(5, 16, 3, generator=random), torch.arange(5)
optim = torch.optim.SGD(made.backbone.parameters(), lr=100.0)
for _ in range(50):
    optim.zero_grad()
    made.loss(x, labels, made.draw(5, 0.0, random)).value.backward()
    optim.step()
drawn = made.sample(labels, ImageNoise(0, range(5), torch.device("cpu")), sampler)
torch.testing.assert_close(drawn, x, atol=1e-3, rtol=1e-3)
try:
    find("toy").part("cost")
except FileNotFoundError as error:
    print(error)
"""


def test_the_readme_adds_a_family(tmp_path: Path) -> None:
    """A copy of the package with one new folder: it trains, samples, and lacks a part by name."""
    said = run_with_toy(tmp_path, "families", TOY, seam.PARTS, TOY_RUN)
    assert "write src/nextbasis/families/toy/cost.py (FLOPs and memory)" in said


def test_models_are_backbones() -> None:
    for name in names():
        assert issubclass(find(name).part("model").MODEL, Backbone)
