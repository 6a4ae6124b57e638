"""The seam of tokenizers: what each kind must keep, and that their README is true."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from fixtures_at_hand import fixture_path
from networks import MANIFESTS, SMALL_CONFIGS
from nextbasis.config import section
from nextbasis.data.layout import KINDS
from nextbasis.official.sizes import Votes
from nextbasis.tokenizers import kinds as seam
from nextbasis.tokenizers.common.loading import build
from nextbasis.tokenizers.common.tokenizer import PosteriorTokenizer, Tokenizer
from nextbasis.tokenizers.kinds import find, names, published
from toy_package import run_with_toy
from toy_tokenizers import workspace

__all__ = ["workspace"]  # a fixture

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "nextbasis"
SIZE = 24  # pixels a side of the small configs' images


def small(name: str) -> Tokenizer:
    torch.manual_seed(0)
    return build(SMALL_CONFIGS[name], SIZE, 3).eval().requires_grad_(False)


def released(name: str) -> Any:
    text = (ROOT / f"config/tokenizer/{name}.yaml").read_text(encoding="utf-8")
    return section("tokenizer", yaml.safe_load(text))


def network_state(name: str, config: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        return find(name).part("model").NETWORK(config.network).state_dict()


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("name", published())
def test_a_tokenizer_has_every_part(name: str) -> None:
    tokenizer = find(name)
    assert tokenizer.name == name and tokenizer.tokens in KINDS
    for part in seam.PARTS:
        assert tokenizer.part(part).__doc__
    assert (SOURCE / "tokenizers" / name / "README.md").is_file()


@pytest.mark.parametrize("name", published())
def test_its_config_composes(name: str) -> None:
    config, part = released(name), find(name).part("config")
    assert config.kind == name
    assert type(config) is part.TOKENIZER and type(config.network) is part.NETWORK
    assert config.downsample > 0


@pytest.mark.parametrize("name", published())
def test_a_tokenizer_takes_no_memory_on_meta(name: str) -> None:
    config = released(name)
    side = getattr(config.network, "levels", [2])[-1]
    with torch.device("meta"):
        tokenizer = build(config, side * config.downsample, config.network.image_channels)
    state = tokenizer.state_dict()
    assert all(tensor.is_meta for tensor in state.values())
    wanted = {f"network.{key}": shape for key, shape in shapes(network_state(name, config)).items()}
    assert shapes(state) == wanted


@pytest.mark.parametrize("name", published())
def test_tokens_are_what_the_tokenizer_says(name: str) -> None:
    made, told = small(name), find(name)
    assert type(made) is told.part("model").TOKENIZER
    assert isinstance(made, PosteriorTokenizer) == told.posterior
    assert made.layout.kind == told.tokens
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    tokens, layout = made.encode(images), made.layout
    assert tokens.shape == (2, *layout.shape)
    if told.tokens == "numbers":
        assert tokens.dtype == torch.float32
        assert [len(part) for part in made.units()] == [layout.size, layout.size]
    else:
        assert made.units() == ([], [])
        places = tokens.reshape(-1, len(layout.choices)).long()
        assert 0 <= places.min() and (places.amax(0) < torch.tensor(layout.choices)).all()
    if isinstance(made, PosteriorTokenizer):
        assert made.moments(images).shape == (2, layout.num_tokens, 2 * layout.size)
    again = made.decode(tokens)
    assert again.shape == images.shape and again.isfinite().all()


@pytest.mark.parametrize("name", published())
def test_an_official_file_is_read_and_written_to_the_bit(name: str) -> None:
    official, network = find(name).part("official"), SMALL_CONFIGS[name].network
    ours = dict(small(name).get_submodule("network").state_dict())
    theirs = official.theirs(dict(ours), network)
    assert all(key in theirs for key in official.SIGNATURE)
    again = official.ours(dict(theirs))
    assert list(again) == list(ours) and all(torch.equal(again[key], ours[key]) for key in ours)
    written = official.theirs(again, network)
    assert list(written) == list(theirs)
    assert all(torch.equal(written[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", published())
def test_official_names_are_those_of_the_released_file(name: str) -> None:
    """A bijection between the manifest's tensors and the network's; sizes come back."""
    official, config = find(name).part("official"), released(name)
    manifest = json.loads(fixture_path(f"manifests/{MANIFESTS[name]}.json").read_text())
    entries = manifest.get("tensors", manifest.get("state_dict", manifest))
    there = {key: torch.empty(shape, device="meta") for key, (shape, *_) in entries.items()}
    ours = official.ours(dict(there))
    assert shapes(ours) == shapes(network_state(name, config))
    assert shapes(official.theirs(dict(ours), config.network)) == shapes(there)
    given = vars(config.network)
    told = official.sizes(Votes(name, shapes(ours), given))
    assert told.items() <= given.items()
    assert set(told) <= {field.name for field in fields(config.network)}


@pytest.mark.parametrize("name", published())
def test_a_tokenizer_is_named_without_torch(name: str) -> None:
    code = (
        "import sys; from nextbasis.tokenizers.kinds import find; "
        f"find({name!r}).part('config'); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "torch" not in loaded.stdout.split()


def test_an_unknown_tokenizer_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=rf"tokenizer.kind must be one of {', '.join(names())}; g"):
        find("dvae")


def mentions(path: Path) -> Iterator[str]:
    """Identifiers, imports and string constants of a module; no comments, no docstrings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value if " " not in node.value else ""  # sentences may name one
        for field in ("id", "attr", "arg", "name", "module"):
            if isinstance(value := getattr(node, field, None), str):
                yield value


def test_nothing_outside_its_folder_names_a_tokenizer() -> None:
    """What depends on a published tokenizer asks the seam; none knows another."""
    wrong = []
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE).as_posix()
        found = {text.lower().replace("_", "") for text in mentions(path)}
        wrong += [
            f"{place}: {name}"
            for name in published()
            if not place.startswith((f"tokenizers/{name}/", "basis/"))
            and any(name.replace("_", "") in text for text in found)
        ]
    assert not wrong


# A toy tokenizer, one file for each that README.md lists but those that only official files need.
TOY = {
    "__init__.py": """
        from nextbasis.tokenizers.kinds import Kind
        TOKENIZER = Kind(name="toy", tokens="numbers")
    """,
    "config.py": """
        from dataclasses import dataclass
        from nextbasis.config.tokenizer import PublishedTokenizer
        @dataclass(kw_only=True)
        class ToyNetwork:
            downsample: int
        @dataclass(kw_only=True)
        class ToyConfig(PublishedTokenizer):
            network: ToyNetwork
        NETWORK, TOKENIZER = ToyNetwork, ToyConfig
    """,
    "model.py": """
        import torch
        from torch import nn
        from nextbasis.data.layout import TokenLayout
        from nextbasis.tokenizers.common.patches import patchify, unpatchify
        from nextbasis.tokenizers.common.tokenizer import Tokenizer
        class Gain(nn.Module):
            def __init__(self, sizes):
                super().__init__()
                self.gain = nn.Parameter(torch.ones(1))
        class Toy(Tokenizer):
            def __init__(self, config, image_size, image_channels):
                super().__init__()
                self.patch = config.downsample
                side = image_size // self.patch
                channels = image_channels * self.patch**2
                self.layout = TokenLayout.of_grid((side, side), channels=channels)
                self.network = Gain(config.network)
            @torch.no_grad()
            def encode(self, images):
                return patchify(images, self.patch) * self.network.gain
            @torch.no_grad()
            def decode(self, tokens):
                return unpatchify(tokens / self.network.gain, self.patch, self.layout.grid[0])
        NETWORK, TOKENIZER = Gain, Toy
    """,
}
TOY_RUN = """
from pathlib import Path
import torch
from safetensors.torch import save_file
from nextbasis.config import TokenizerStage, section
from nextbasis.stages import tokenizer
from nextbasis.tokenizers.common.loading import load_tokenizer
from nextbasis.tokenizers.kinds import find, names

assert "toy" in names()
save_file({"gain": torch.tensor([2.0])}, "weights.safetensors")
raw = {"kind": "toy", "encode_batch_size": 5, "weights": "weights.safetensors"}
config = section("tokenizer", raw | {"weights_sha256": "", "network": {"downsample": 4}})
tokenizer.main(TokenizerStage(reproducible=True, scale="toy", key="a", seed=0, tokenizer=config))
made = load_tokenizer(Path("results/toy/tokenizer/a"))
images = torch.rand(2, 1, 8, 8)
assert made.encode(images).shape == (2, 4, 16)
torch.testing.assert_close(made.decode(made.encode(images)), images)
assert made.network.gain == 2
try:
    find("toy").part("parity")
except FileNotFoundError as error:
    print(error)
"""


def test_the_readme_adds_a_tokenizer(workspace: Path) -> None:
    """A copy of the package with one new folder: stage tokenizer runs; it lacks a part by name."""
    said = run_with_toy(workspace, "tokenizers", TOY, seam.PARTS, TOY_RUN)
    assert "write src/nextbasis/tokenizers/toy/parity.py (knows and run" in said
