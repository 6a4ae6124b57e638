"""What users get wrong on a stage's command line and in files of config/: one line that helps."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from nextbasis.config import compose

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
TRAIN = {
    **{"scale": "tiny", "key": "k", "tokens": "t", "captions": "c", "model": "small/xar_b"},
    **{"train": "tiny/xar", "basis": "bar", "order": "raster"},
}
# Words of Hydra, OmegaConf and their parser, which say nothing to who uses this package.
FOREIGN = re.compile(
    r"multirun|hydra\.cc|HYDRA|Lexer|viable|mismatched|extraneous|<EOF>|override|defaults list"
    r"|DictConfig|OmegaConf|searchpath|Config group",
    re.IGNORECASE,
)


def composed(*words: str, folder: Path = CONFIG) -> Any:
    """The config of stage train; the words replace those of the same key."""
    keys = [word.partition("=")[0].lstrip("+~ ") for word in words]
    given = [f"{key}={value}" for key, value in TRAIN.items() if key not in keys]
    return compose("train", [*given, *words], folder)


def refused(*words: str, folder: Path = CONFIG) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        composed(*words, folder=folder)
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


SHAPES = ["model", "--multirun", "-m", "", "=3", "~model", "~seed", "seed: 3", "seed =3", " seed=3"]
SHAPES += ["model/x=small/xar_b", "model@x=small/xar_b", "hydra/launcher=x", "{a}=3", "a b=3"]


@pytest.mark.parametrize("word", SHAPES)
def test_what_is_no_key_and_value_is_shown(word: str) -> None:
    message = refused(word)
    assert message == f"stage train: '{word}' is no KEY=VALUE, such as key=a_name"


UNREADABLE = {"model.width": "[1,", "key": "{", "train.lr": "=3", "tokens": "'a", "scale": "a=b"}
UNREADABLE |= {"captions": '"', "seed": "3 # comment", "order.scan": "$(x)", "basis.init": "ü"}


@pytest.mark.parametrize("key", UNREADABLE)
def test_a_value_that_cannot_be_read_is_shown_with_its_key(key: str) -> None:
    message = refused(f"{key}={UNREADABLE[key]}")
    assert message.startswith(f"{key}: the value {UNREADABLE[key]} cannot be read; ")
    assert "quotes" in message and not FOREIGN.search(message)


@pytest.mark.parametrize("value", ["1,2", "range(1,3)", "choice(1,2)", "glob(*)", "a,b"])
@pytest.mark.parametrize("key", ["train.steps", "seed", "key", "train"])
def test_several_values_of_a_key_are_refused(key: str, value: str) -> None:
    message = refused(f"{key}={value}")
    if key != "train":
        assert message == f"{key} has one value, got {value}; a list stands in [ ]"
    assert not FOREIGN.search(message)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mdl=small/xar_b", "stage train does not read mdl; it reads scale, key, reproducible"),
        (
            "sampler=tiny/xar",
            "stage train does not read sampler; it reads scale, key",
        ),
        ("evaluation=none", "stage train does not read evaluation; it reads scale"),
        ("hydra.run.dir=x", "stage train does not read hydra.run.dir; it reads scale"),
        ("defaults=[]", "stage train does not read defaults; it reads scale"),
        ("model.wdth=3", "model.wdth: there is no such key; the keys of model are family, "),
        ("+model.wdth=3", "model.wdth: there is no such key; the keys of model are family, "),
        ("train.warmpu=3", "train.warmpu: there is no such key; the keys of train are warmup, "),
        ("train._target_=x", "train._target_: there is no such key; the keys of train are "),
        ("train.steps.a=3", "train.steps"),
        ("model=", "model must be one of "),
        ("model=small/nothing", "model must be one of "),
        ("model.width=many", "model.width: Value 'many' of type 'str' could not be converted to"),
        ("model.width=", "model.width: Value '' of type 'str' could not be converted to Integer"),
        ("train.lr=abc", "train.lr: Value 'abc' of type 'str' could not be converted to Float"),
        ("train.lr=null", "train.lr: Incompatible value 'None' for field of type 'float'"),
        ("basis.options=3", "basis.options: "),
        ("seed=x", "seed: Value 'x' of type 'str' could not be converted to Integer"),
        ("seed=1.5", "seed: Value '1.5' of type 'float' could not be converted to Integer"),
        ("seed=null", "seed: Incompatible value 'None' for field of type 'int'"),
        ("seed=-1", "seed must lie in [0, 4294967296), got -1"),
        ("seed=99999999999999999999", "seed must lie in [0, 4294967296), got 9999"),
        ("train.lr=nan", "train.lr must be above 0, got nan"),
        ("train.lr=inf", "train.lr must be finite, got inf"),
        ("train.min_lr=-inf", "train.min_lr must be finite, got -inf"),
        ("basis.delta=nan", "basis.delta must lie in [0, 1), got nan"),
        ("key=a b", "key must be of letters, digits and _ . -; got 'a b'"),
        ("scale=../up", "scale must be of letters, digits and _ . -; got '../up'"),
        ("tokens=..", "tokens must be of letters, digits and _ . -; got '..'"),
        ("tokens=", "tokens must be of letters, digits and _ . -; got ''"),
        ("key=[a]", "key: "),
        ("train.lr=${oops}", "train.lr must be a value itself, got ${oops}"),
        ("key=${item.key}", "key must be a value itself, got ${item.key}"),
    ],
)
def test_key_value_and_what_would_be_right_are_named(word: str, message: str) -> None:
    told = refused(word)
    assert told.startswith(message)
    assert "could not be converted" not in told or "the keys of" not in told  # the key is right
    assert message.startswith("stage train does not read") or not FOREIGN.search(message)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("basis_", "; did you mean basis?"),
        ("warmup", "; did you mean train.warmup?"),
        ("training.lr", "; did you mean train.lr?"),
        ("lr", "; did you mean train.lr or basis.lr?"),
        ("wdth", "; did you mean model.width?"),
        ("defaults", ", train"),
        ("guidance", ", train"),
    ],
)
def test_the_key_that_was_meant_is_named_with_its_section(key: str, advice: str) -> None:
    assert refused(f"{key}=1").endswith(advice)


@pytest.mark.parametrize(
    "value",
    [
        *("sources={}", "sources={kind: local}", "sources.kind=local", "sources.5.kind=local"),
        *("checksums=[]", "captions={}", "captions={a: b}"),
    ],
)
def test_a_list_in_place_of_keys_and_the_reverse_name_the_key(value: str) -> None:
    words = ["scale=tiny", "key=''", "dataset=digits", f"dataset.{value}"]
    with pytest.raises(ValueError) as error:
        compose("dataset", words, CONFIG)
    message = str(error.value)
    key = value.partition("=")[0]
    assert message.startswith(f"dataset.{key}: the value is of another shape; a list stands in [ ]")
    assert not FOREIGN.search(message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("num_test=-5", "dataset.num_test must be 0 or more, got -5"),
        ("channels=2", "dataset.channels must be 1 (grey) or 3 (RGB), got 2"),
        ("channels=4", "dataset.channels must be 1 (grey) or 3 (RGB), got 4"),
        ("channels=0", "dataset.channels must be 1 (grey) or 3 (RGB), got 0"),
        ("sources=[]", "dataset.sources must list at least one source, got none"),
        ("name=a/b", "dataset.name must be a plain file name, without slashes; got 'a/b'"),
        ("name=..", "dataset.name must be a plain file name, without slashes; got '..'"),
        ("name=' '", "dataset.name must be a plain file name, without slashes; got ' '"),
        ("name=''", "dataset.name must be a plain file name, without slashes; got ''"),
        ("name='a\nb'", "dataset.name must be a plain file name, without slashes; got 'a\\nb'"),
    ],
)
def test_values_of_a_dataset_that_cannot_be_are_refused(value: str, message: str) -> None:
    words = ["scale=tiny", "key=''", "dataset=digits", f"dataset.{value}"]
    with pytest.raises(ValueError) as error:
        compose("dataset", words, CONFIG)
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["café", "my photos", "a.b-c_1", "数字"])
def test_a_dataset_may_have_any_plain_name(name: str) -> None:
    words = ["scale=tiny", "key=''", "dataset=digits", f"dataset.name='{name}'"]
    assert compose("dataset", words, CONFIG).dataset.name == name


def test_a_plus_in_front_changes_nothing() -> None:
    wanted = composed("basis.init=xar", "basis.options={cells_per_side: 4}", "seed=3")
    options = "basis.options.cells_per_side=4"
    for plus in ("", "+", "++"):
        assert composed("basis.init=xar", plus + options, plus + "seed=3") == wanted


def test_numbers_that_name_something_are_names() -> None:
    config = composed("key=7", "tokens=1.5", "seed=00")
    assert (config.key, config.tokens, config.seed) == ("7", "1.5", 0)


GOOD = (CONFIG / "basis/bar.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace("init:", "\tinit:"), "is no YAML: .* at line 2, column 1"),
        (GOOD + "init: bar\n", "is no YAML: the key 'init' stands twice at line 18"),
        ("init: a: b\n", "is no YAML: .* at line 1"),
        ("{", "is no YAML"),
        ("init: !!python/object/apply:os.system ['x']\n", "is no YAML: could not determine"),
        ("x: *nothing\n", "is no YAML: found undefined alias"),
        ("init: \xe9\n".encode("latin-1"), "is no YAML: 'utf-8' codec"),
        ("- a\n- b\n", "must hold keys and values"),
        ("hello\n", "must hold keys and values"),
        ("3: 4\n", "must hold keys and values"),
        ("", "must hold keys and values"),
        (GOOD + "defaults: [klt]\n", "must hold all values itself"),
    ],
)
def test_a_file_that_is_no_section_is_named(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "basis/mine.yaml").write_bytes(data)
    found = refused("basis=mine", folder=folder)
    assert re.match(f"{folder}/basis/mine.yaml {message}", found) and not FOREIGN.search(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + "wings: 3\n", "basis.wings: there is no such key"),
        (GOOD.replace("delta: ", "delta: big # "), "basis.delta: Value 'big' of type 'str'"),
        (GOOD.replace("lr: ", "lr: .inf # "), "basis.lr must be finite, got inf"),
        (GOOD.replace("lr: ", "# "), "basis: no value for lr"),
        (GOOD.replace("lr: ", "lr: ${basis.nothing} # "), "basis.lr: Interpolation key"),
    ],
)
def test_a_key_of_a_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    (folder / "basis/mine.yaml").write_text(content, encoding="utf-8")
    assert refused("basis=mine", folder=folder).startswith(message)


def test_elsewhere_the_root_is_named(tmp_path: Path) -> None:
    assert "run from the repository's root" in refused(folder=tmp_path / "config")
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    (folder / "config.yaml").write_text("\t", encoding="utf-8")
    assert f"{folder / 'config.yaml'} is no YAML" in refused(folder=folder)
