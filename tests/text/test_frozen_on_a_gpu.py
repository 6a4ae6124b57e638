"""The frozen encoder on a GPU, pretend or real, with a stand-in for its library."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gpus import Gpu
from nextbasis.config import FrozenConfig, TextStage
from nextbasis.data.texts import Texts, load_texts
from nextbasis.stages import text as stage
from nextbasis.support.files import read_json, result_folder, sha256, write_json

WIDTH, LETTERS = 16, "abcdefgh"
CAPTIONS = ["a b c", "d", "a b c d e f g h a b", "g h", ""]


class Encoder(nn.Module):
    """Attention over letters, which sees no padding."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(use_cache=True)
        self.letters = nn.Embedding(1 + len(LETTERS), WIDTH, dtype=dtype)
        self.project = nn.Linear(WIDTH, WIDTH, dtype=dtype)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        h = self.letters(input_ids)
        scores = (self.project(h) @ h.mT).masked_fill(attention_mask[:, None] == 0, -torch.inf)
        return SimpleNamespace(last_hidden_state=scores.softmax(-1) @ h)


def tokenize(captions: list[str], max_length: int = 1000, **_: Any) -> dict[str, list[list[int]]]:
    rows = [[1 + LETTERS.index(word) for word in caption.split()] for caption in captions]
    return {"input_ids": [row[:max_length] for row in rows]}


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nextbasis.text asks of transformers; the working folder is new."""
    monkeypatch.chdir(tmp_path)
    module: Any = ModuleType("transformers")
    sizes = SimpleNamespace(hidden_size=WIDTH, max_position_embeddings=32, is_encoder_decoder=False)
    module.__version__ = "0"
    module.AutoConfig = SimpleNamespace(from_pretrained=lambda name: sizes)
    module.AutoTokenizer = SimpleNamespace(from_pretrained=lambda name: tokenize)
    module.AutoModel = SimpleNamespace(from_pretrained=lambda name, dtype: Encoder(dtype))
    monkeypatch.setitem(sys.modules, "transformers", module)


def dataset() -> None:
    folder = result_folder("tiny", "dataset")
    folder.mkdir(parents=True)
    sizes = {"image_size": 2, "channels": 1, "num_classes": len(CAPTIONS)}
    for name, labels in {"train": [0, 1, 2], "test": [3, 4]}.items():
        np.save(folder / f"{name}_images.npy", np.zeros((len(labels), 2, 2, 1), np.uint8))
        np.save(folder / f"{name}_labels.npy", np.array(labels))
        sizes[f"num_{name}"] = len(labels)
    write_json(folder / "captions.json", CAPTIONS)
    checksums = {path.name: sha256(path) for path in folder.iterdir()}
    write_json(folder / "index.json", sizes | {"sha256": checksums})


def run(precision: str) -> tuple[Texts, dict[str, Any]]:
    config = FrozenConfig(
        kind="frozen",
        num_tokens=6,
        width=WIDTH,
        batch_size=2,
        encoder="letters",
        precision=precision,
    )
    stage.main(TextStage(reproducible=True, scale="tiny", key="t", text=config))
    folder = result_folder("tiny", "text", "t")
    texts = load_texts(folder)
    assert texts is not None
    return texts, read_json(folder / "metrics.json")


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_states_made_there_are_those_of_the_cpu(
    precision: str, deterministic: bool, gpu: Gpu
) -> None:
    dataset()
    here, metrics = run(precision)
    states, lengths = np.array(here.tokens), np.array(here.lengths)
    assert states.std() > 0.1 and lengths.tolist() == [3, 1, 6, 2, 1] and not states[4].any()
    with gpu(deterministic):
        there, their_metrics = run(precision)
    np.testing.assert_allclose(
        there.tokens, states, rtol=gpu.rounding * 1e-3, atol=gpu.rounding * 1e-3
    )
    np.testing.assert_array_equal(there.lengths, lengths)
    assert their_metrics["encoder_sha256"] == metrics["encoder_sha256"]
    assert (metrics["device"], their_metrics["device"]) == ("cpu", "cuda")
