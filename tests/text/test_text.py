"""Captions as tokens: words against explicit constructions, states against their library."""

import string
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nextbasis.config import FrozenConfig, TextStage, WordsConfig, compose, section
from nextbasis.data.texts import Texts, load_texts
from nextbasis.stages import text as stage
from nextbasis.support.files import read_json, result_folder, sha256, write_json
from nextbasis.support.provenance import config_hash
from nextbasis.text import build, encode
from nextbasis.text.words import split, unknown_share, vocabulary_of

CONFIG = Path(__file__).parents[2] / "config"
CAPTIONS = ["Red apple", "green apple", "man’s shoe: dark skin", "keycap: #", "blue whale apple"]
TRAIN, TEST = [0, 0, 1, 2, 3, 2], [4, 0]  # labels of the images
VOCABULARY = ["apple", "#", "dark", "green", "keycap", "man", "red", "s", "shoe", "skin"]
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def words(num_tokens: int = 4) -> WordsConfig:
    return WordsConfig(kind="words", num_tokens=num_tokens)


def frozen(encoder: object, **changes: Any) -> FrozenConfig:
    values = {"kind": "frozen", "num_tokens": 6, "width": 16, "batch_size": 2}
    return section("text", values | {"encoder": str(encoder), "precision": "float32"} | changes)


def dataset(captions: list[str] = CAPTIONS) -> Path:
    """A dataset with these captions, below the working folder."""
    folder = result_folder("tiny", "dataset")
    folder.mkdir(parents=True)
    sizes = {"image_size": 2, "channels": 1, "num_classes": len(captions)}
    for name, labels in {"train": TRAIN, "test": TEST}.items():
        np.save(folder / f"{name}_images.npy", np.zeros((len(labels), 2, 2, 1), np.uint8))
        np.save(folder / f"{name}_labels.npy", np.array(labels))
        sizes[f"num_{name}"] = len(labels)
    write_json(folder / "captions.json", captions)
    checksums = {path.name: sha256(path) for path in folder.iterdir()}
    write_json(folder / "index.json", sizes | {"sha256": checksums})
    return folder


def run(config: WordsConfig | FrozenConfig) -> Texts:
    stage.main(TextStage(reproducible=True, scale="tiny", key="t", text=config))
    return load_texts(result_folder("tiny", "text", "t"))


def test_words_are_runs_of_letters_and_lone_signs() -> None:
    assert split("Face, with TEARS-of joy") == ["face", "with", "tears", "of", "joy"]
    assert split("keycap: *") == ["keycap", "*"] and split("Åland №5 “free”") == [
        *("åland", "5", "free"),
    ]
    assert split(" … ") == ["…"] and split("?!") == [] and split("") == []


@given(st.lists(st.text(string.ascii_lowercase[:3] + " ", max_size=12), max_size=6))
def test_the_vocabulary_is_in_order_of_frequency_then_alphabet(captions: list[str]) -> None:
    every = " ".join(captions).split()
    found = vocabulary_of(captions)
    assert set(found) == set(every) and len(found) == len(set(every))
    keys = [(-every.count(word), word) for word in found]
    assert keys == sorted(keys)
    assert unknown_share(captions, found) == 0


def test_words_are_numbered_padded_cut_off_and_unknown() -> None:
    captions = ["b a", "a a c b a", "zebra c", "", "?!"]
    texts = encode(captions, words(), ["a", "b", "c"])
    # a, b, c are 2, 3, 4; 1 is an unknown word, also of a caption without words; 0 pads
    expected = [[3, 2, 0, 0], [2, 2, 4, 3], [1, 4, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert texts.tokens.dtype == np.int32 and texts.tokens.tolist() == expected
    assert texts.lengths.dtype == np.int64 and texts.lengths.tolist() == [2, 4, 2, 1, 1]
    tokens, lengths = texts.take(torch.tensor([2, 0, 2]))
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [expected[2], expected[0], expected[2]]
    assert lengths.tolist() == [2, 2, 2]


def test_the_stage_takes_the_vocabulary_from_training_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = dataset()
    texts = run(words())
    again = encode(CAPTIONS, words(), VOCABULARY)
    np.testing.assert_array_equal(texts.tokens, again.tokens)
    np.testing.assert_array_equal(texts.lengths, again.lengths)
    assert texts.tokens[4].tolist() == [1, 1, 2, 0]  # blue and whale are in a test caption only
    folder = result_folder("tiny", "text", "t")
    assert texts.index == {
        "kind": "words",
        "text": {"kind": "words", "num_tokens": 4},
        "num_captions": 5,
        "num_tokens": 4,
        "width": 0,
        "vocabulary": VOCABULARY,
        "captions_sha256": sha256(source / "captions.json"),
        "tokens_sha256": sha256(folder / "tokens.npy"),
    }
    measured = read_json(folder / "metrics.json")
    assert measured["longest"] == 5 and measured["truncated"] == 1
    assert measured["vocabulary_size"] == 10 and measured["num_captions"] == 5
    # of the test captions "blue whale apple" and "red apple", two words of five
    assert measured["unknown_share_test"] == pytest.approx(2 / 5)
    assert not list(Path("scratch").rglob("*.npy"))


def test_a_killed_stage_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "SAVE_EVERY", 1)
    encoder, scratch = build(words(), VOCABULARY), tmp_path / "scratch"
    monkeypatch.setattr(encoder, "batch_size", 2)
    whole, calls = encoder.encode, []

    def killed(captions: list[str]) -> Any:
        calls.append(captions)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(captions)

    monkeypatch.setattr(encoder, "encode", killed)
    with pytest.raises(KeyboardInterrupt):
        stage.encode_all(encoder, CAPTIONS, scratch, "text t")
    stage.encode_all(encoder, CAPTIONS, scratch, "text t")
    assert calls == [CAPTIONS[:2], CAPTIONS[2:4], CAPTIONS[2:4], CAPTIONS[4:]]
    assert "resuming with 3 of 5 captions" in capsys.readouterr().out
    expected = encode(CAPTIONS, words(), VOCABULARY)
    np.testing.assert_array_equal(np.load(scratch / "tokens.npy"), expected.tokens)
    np.testing.assert_array_equal(np.load(scratch / "lengths.npy"), expected.lengths)


def test_damaged_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="dataset/index.json; run the stage that makes it"):
        run(words())
    source = dataset()
    run(words())
    folder = result_folder("tiny", "text", "t")
    np.save(folder / "lengths.npy", np.full(5, 9))
    with pytest.raises(ValueError, match=r"lengths.npy holds lengths outside 1..4"):
        load_texts(folder)
    np.save(folder / "tokens.npy", np.zeros((5, 4), np.int32))
    with pytest.raises(ValueError, match=r"tokens.npy has SHA-256 .*, expected"):
        load_texts(folder)
    np.save(folder / "tokens.npy", np.zeros((5, 3), np.int32))
    with pytest.raises(ValueError, match=r"tokens.npy has shape \(5, 3\), expected \(5, 4\)"):
        load_texts(folder)
    write_json(source / "captions.json", CAPTIONS[:2])
    with pytest.raises(ValueError, match="captions.json has SHA-256 .*, expected"):
        run(words())


def test_the_config_is_composed_and_checked() -> None:
    values = ["scale=tiny", "key=t", "text=frozen", "text.num_tokens=7"]
    config = compose("text", values, CONFIG)
    assert isinstance(config.text, FrozenConfig) and config.text.num_tokens == 7
    assert config_hash(config) != config_hash(compose("text", [*values[:2], "text=words"], CONFIG))
    for wrong, message in {
        "text.num_tokens=0": "text.num_tokens must be above 0, got 0",
        "text.precision=float8": "text.precision must be one of float32, bfloat16; got 'float8'",
        "text.encoder=''": "text.encoder must name a folder or a model",
        "text.kind=letters": "text.kind must be one of classes, words, frozen; got 'letters'",
    }.items():
        with pytest.raises(ValueError, match=message):
            compose("text", [*values, wrong], CONFIG)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'nextbasis\[text\]'"):
        encode(["a"], frozen("nowhere"), [])


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The library, kept from the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("transformers", reason="transformers is not installed")


def save_encoder(transformers: ModuleType, folder: Path, family: str) -> Path:
    """A tiny random model and a tokenizer of letters; Bert's adds a token at each end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = ["<pad>", "<unk>", "<s>", "</s>", *"abcdefgh"]
    ids = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if family == "bert":
        ends = [("<s>", 2), ("</s>", 3)]
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, ends)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = SIZES | {"vocab_size": len(names), "hidden_size": 16}
    if family == "bert":
        model = transformers.BertModel(
            transformers.BertConfig(**sizes, max_position_embeddings=32), add_pooling_layer=False
        )
    elif family == "qwen2":
        model = transformers.Qwen2Model(transformers.Qwen2Config(**sizes, num_key_value_heads=1))
    else:
        config = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
        model = transformers.T5Model(transformers.T5Config(vocab_size=len(names), **config))
    model.save_pretrained(folder)
    return folder


def states_of(transformers: ModuleType, folder: Path, caption: str) -> torch.Tensor:
    """One caption alone, without padding, straight from the library."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    ids = tokenizer(caption, return_tensors="pt", truncation=True, max_length=6)["input_ids"]
    model = model.get_encoder() if hasattr(model, "decoder") else model
    with torch.no_grad():
        return model(input_ids=ids).last_hidden_state[0]


@pytest.mark.parametrize("family", ["bert", "qwen2", "t5"])
def test_frozen_states_are_the_librarys(
    family: str, transformers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save_encoder(transformers, tmp_path / "encoder", family)
    captions = ["a b c", "d", "a b c d e f g h a b", "g h", "e f"]
    dataset(captions)
    texts = run(frozen(folder))
    assert texts.tokens.dtype == np.float16 and texts.tokens.shape == (5, 6, 16)
    extra = 2 if family == "bert" else 0
    assert texts.lengths.tolist() == [min(6, n + extra) for n in (3, 1, 10, 2, 2)]
    for caption, rows, length in zip(captions, texts.tokens, texts.lengths, strict=True):
        expected = states_of(transformers, folder, caption)
        np.testing.assert_allclose(rows[:length], expected.numpy(), rtol=2e-3, atol=1e-3)
        assert not rows[length:].any()
    taken, lengths = texts.take(torch.tensor([3, 0]))
    assert taken.dtype == torch.float16 and lengths.tolist() == texts.lengths[[3, 0]].tolist()
    assert texts.index["vocabulary"] == [] and texts.index["width"] == 16
    measured = read_json(result_folder("tiny", "text", "t") / "metrics.json")
    assert measured["longest"] == 10 + extra and measured["truncated"] == 1
    assert measured["transformers"] == transformers.__version__
    assert measured["dtype"] == "float32" and len(measured["encoder_sha256"]) == 64
    np.testing.assert_array_equal(encode(captions, frozen(folder), []).tokens, texts.tokens)


def test_frozen_empty_captions_are_one_row_of_zeros(
    transformers: ModuleType, tmp_path: Path
) -> None:
    folder = save_encoder(transformers, tmp_path / "encoder", "qwen2")
    texts = encode(["", "a"], frozen(folder, precision="bfloat16"), [])
    assert texts.lengths.tolist() == [1, 1]
    assert not texts.tokens[0].any() and texts.tokens[1, 0].any()


def test_frozen_encoders_that_do_not_fit_are_named(
    transformers: ModuleType, tmp_path: Path
) -> None:
    folder = save_encoder(transformers, tmp_path / "encoder", "bert")
    for config, message in (
        (frozen(folder, width=8), "text.encoder .*hidden_size is 16, but text.width is 8"),
        (frozen(folder, num_tokens=33), "it takes 32 tokens; text.num_tokens is 33"),
        (frozen(tmp_path / "absent"), "text.encoder .*absent' cannot be used: .*must be a folder"),
        (frozen("nobody/nothing"), "text.encoder 'nobody/nothing' cannot be used"),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            encode(["a"], config, [])


def test_frozen_states_beyond_float16_are_refused(transformers: ModuleType, tmp_path: Path) -> None:
    folder = save_encoder(transformers, tmp_path / "encoder", "bert")
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.encoder.layer[-1].output.LayerNorm.weight.fill_(1e6)
    model.save_pretrained(folder)
    with pytest.raises(ValueError, match="states of 'a' are not finite as float16"):
        encode(["a"], frozen(folder), [])
