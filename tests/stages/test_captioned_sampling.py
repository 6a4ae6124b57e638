"""Sampling of captions: those of test images, and prompts from outside."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from builders import basis_config, model_config, order_config, sampler_config
from nextbasis.commands import prompts
from nextbasis.config import SampleStage, TrainStage
from nextbasis.config import compose as compose_here
from nextbasis.data.texts import load_texts
from nextbasis.families.common.checkpoint import save_generator
from nextbasis.families.common.generator import build
from nextbasis.families.common.spec import TokenSpec
from nextbasis.stages import dataset, sample, text
from nextbasis.tokenizers.common.loading import build as build_tokenizer
from nextbasis.tokenizers.common.loading import save_tokenizer
from nextbasis.tokenizers.patches.config import PatchesConfig
from nextbasis.training.trainer import text_spec

CONFIG = Path(__file__).parents[2] / "config"
TEST_IMAGES = 300  # of the digits
RESULTS = Path("results/test")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits with their names, and an xAR that reads them, as the stages leave them."""
    monkeypatch.chdir(tmp_path)
    dataset.main(compose_here("dataset", ["scale=test", "dataset=digits"], CONFIG))
    text.main(compose_here("text", ["scale=test", "key=words", "text=words"], CONFIG))
    texts = load_texts(RESULTS / "text/words")
    spec = TokenSpec.of_grid(
        grid=(4, 4), channels=4, codebook_size=0, num_classes=10, text=text_spec(texts)
    )
    torch.manual_seed(0)
    made = build(model_config("xar", text_depth=1), basis_config(), order_config(), spec)
    for parameter in made.backbone.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    train = compose_here(
        "train",
        ["scale=test", "key=run", "tokens=patches", "captions=words", "model=small_text/xar_b"]
        + ["train=tiny/xar", "basis=identity", "order=raster"],
        CONFIG,
    )
    assert isinstance(train, TrainStage)
    train.model, train.basis = model_config("xar", text_depth=1), basis_config()
    save_generator(RESULTS / "train/run", made, deepcopy(made), train, spec)
    config = PatchesConfig(kind="patches", encode_batch_size=9, downsample=2, latent_channels=4)
    (RESULTS / "tokenizer/patches").mkdir(parents=True)
    tokenizer = build_tokenizer(config, 8, 1)
    save_tokenizer(tokenizer, config, {"size": 8, "channels": 1}, RESULTS / "tokenizer/patches")


def stage(num_images: int) -> SampleStage:
    sampler = sampler_config("xar", num_images=num_images, batch_size=100)
    return SampleStage(
        reproducible=True, scale="test", key="eval", seed=0, run="run", sampler=sampler
    )


def test_captions_are_those_of_the_test_images() -> None:
    sample.main(stage(TEST_IMAGES))
    labels = np.load(RESULTS / "sample/eval/labels.npy")
    wanted = np.sort(np.load(RESULTS / "dataset/test_labels.npy"))
    assert labels.tolist() == wanted.tolist()
    with Image.open(RESULTS / "sample/eval/grid.png") as sheet:
        assert sheet.size[0] > 500  # captions need a larger picture than a bare grid
    with pytest.raises(ValueError, match="multiple of the 300 captions"):
        sample.main(stage(100))


def test_prompts_are_laid_out_as_geneval_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_evaluation", lambda scale, key: stage(TEST_IMAGES))
    lines = [{"tag": "counting", "prompt": "seven"}, {"tag": "colors", "prompt": "a purple three"}]
    file, out = Path("prompts.jsonl"), Path("images")
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    prompts.sample_prompts("test", "eval", file, out, 3)
    for number, line in enumerate(lines):
        folder = out / f"{number:05}"
        assert json.loads((folder / "metadata.jsonl").read_text()) == line
        names = sorted(path.name for path in (folder / "samples").iterdir())
        assert names == ["0000.png", "0001.png", "0002.png"]

    # Image j of prompt i is that of caption and number alone, and what is there is not made again.
    def image(number: int) -> np.ndarray:
        return np.asarray(Image.open(out / "00000/samples" / f"{number:04}.png"))

    before = [image(number) for number in range(3)]
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(out / "00000/samples/0001.png")
    prompts.sample_prompts("test", "eval", file, out, 3)
    assert not image(1).any()
    sampler = sample.Sampler(stage(TEST_IMAGES))
    seven = json.loads((RESULTS / "dataset/captions.json").read_text()).index("seven")
    own = sampler.images(range(3), np.full(3, seven))[..., 0]
    for number in (0, 2):
        assert np.abs(own[number].astype(int) - before[number]).max() <= 1


def test_folders_of_other_prompts_or_numbers_of_images_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompts, "_evaluation", lambda scale, key: pytest.fail("went on"))
    lines = [{"prompt": "seven"}, {"prompt": "three"}]
    out = Path("images")
    prompts.check_made(out, lines, 2)
    for number, line in enumerate(lines):
        prompts._write(out / f"{number:05}", line, [np.zeros((8, 8, 1), np.uint8)] * 2)
    prompts.check_made(out, lines, 2)
    for given, count, message in (
        (lines, 4, "00000 holds 2 images and --images is 4; name another OUT"),
        (lines[::-1], 2, "00000/metadata.jsonl is not of the prompt 'three'"),
        ([lines[0], lines[1] | {"tag": "colors"}], 2, "00001/metadata.jsonl is not of the prompt"),
        (lines[:1], 2, "00001 is of no prompt: there are 1"),
    ):
        text = "".join(json.dumps(line) + "\n" for line in given)
        Path("prompts.jsonl").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            prompts.sample_prompts("test", "eval", Path("prompts.jsonl"), out, count)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no prompt"), ("{}\n", "line 1 has no text"), ("seven\n", "line 1 is not JSON")],
)
def test_bad_prompts_are_named(text: str, message: str) -> None:
    Path("bad.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"bad.jsonl.*{message}"):
        prompts.read_prompts(Path("bad.jsonl"))
    with pytest.raises(FileNotFoundError, match="no file none.jsonl"):
        prompts.read_prompts(Path("none.jsonl"))
