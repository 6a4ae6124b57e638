"""The command line refuses bad input with one line, and leaves nothing behind."""

import os
import pickle
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from command import FILES, HEADS, ROOT, assert_same, official_file, refused, run
from fixtures_at_hand import fixture_path
from nextbasis.commands.cli import main
from nextbasis.support.weights import read_checkpoint
from nextbasis.tokenizers.kinds import published


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_another_family_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for family, name, wrong in (("mar", FILES[3][1], "kl16"), ("kl16", FILES[0][1], "mar")):
        error = refused(capsys, "import", family, fixture_path(name), tmp_path / "out")
        assert f"is of family {wrong}, not {family}" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("family", "name", "values", "_"), FILES)
def test_every_wrong_tensor_is_named(
    family: str,
    name: str,
    values: list[str],
    _: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, _ = read_checkpoint(official_file(name, tmp_path))
    part = "0.conv2" if family in published() else "qkv"
    matrices = [n for n, t in state.items() if n.endswith(f"{part}.weight")]
    gone, short = matrices[-1], matrices[-2]
    state[short] = state[short][..., :-1]
    del state[gone]
    state["surprise.weight"] = torch.ones(3)
    torch.save(state, tmp_path / "bad.pth")
    error = refused(capsys, "import", family, tmp_path / "bad.pth", tmp_path / "out", *values)
    assert "3 tensors do not fit" in error and "unexpected: surprise.weight" in error
    assert f"missing: {gone}" in error and f"{short} has shape" in error
    assert not (tmp_path / "out").exists()


class Trap:
    """Creates a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("family", ["mar", "kl16"])
def test_bad_files_leave_nothing_behind(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sprung, out = tmp_path / "sprung", tmp_path / "out"
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap(sprung)))
    torch.save({"model": {"a": torch.ones(1)}, "args": Trap(sprung)}, tmp_path / "evil.pth")
    assert "would run code" in refused(capsys, "import", family, tmp_path / "evil.pth", out)
    assert "bare.pth" in refused(capsys, "import", family, tmp_path / "bare.pth", out)
    whole = fixture_path(FILES[0][1]).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    assert "not a complete" in refused(capsys, "import", family, tmp_path / "cut.pth", out)
    assert "no checkpoint" in refused(capsys, "import", family, tmp_path / "none.pth", out)
    names = {"bare.pth", "evil.pth", "cut.pth"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("precious")
    path = fixture_path(FILES[2][1])
    assert "exists" in refused(capsys, "import", "xar", path, tmp_path / "mine")
    assert "exists" in refused(capsys, "export", tmp_path, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"


def test_what_is_no_imported_model_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(capsys, "export", tmp_path, tmp_path / "out.pth")
    assert "is no imported model: it has no config.json" in error


def test_what_shapes_cannot_tell_must_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("import", "mar", fixture_path(FILES[0][1]), tmp_path / "out")
    assert "model.encoder_heads, model.decoder_heads" in refused(capsys, *given)
    assert "model.encoder_width is 768" in refused(capsys, *given, "--model", "mar_b")
    assert "no model.wings" in refused(capsys, *given, "wings=2")
    assert "must be of type int, got 'many'" in refused(capsys, *given, "encoder_heads=many")
    assert "no 3 x 5 grid" in refused(capsys, *given, *HEADS, "--grid", "3x5")
    assert "looked for nowhere, " in refused(capsys, *given, "--model", "nowhere")
    assert not list(tmp_path.iterdir())
    run(capsys, *given, HEADS[0], "--grid", "4x4", "model.decoder_heads=2")


def test_sizes_of_a_tokenizer_may_not_contradict_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("import", "kl16", fixture_path(FILES[3][1]), tmp_path / "out")
    assert "width is given as 64 and 32 in the checkpoint" in refused(capsys, *given, "width=64")
    assert "kl16 has no wings" in refused(capsys, *given, "wings=2")
    report = run(capsys, *given, "scale=0.5")
    assert report["config"].endswith("scale=0.5")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ('width="32"', "width must be of type int, got '32'"),
        ("width=true", "width must be of type int, got True"),
        ("multipliers=[1, x]", "a part of multipliers must be of type int, got 'x'"),
        ("scale=.inf", "scale must be finite, got inf"),
        ("scale=", "scale must be of type float, got None"),
        ("scale=-1", "tokenizer.network.scale must be above 0, got -1"),
    ],
)
def test_values_of_a_tokenizer_are_checked(
    word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("import", "kl16", fixture_path(FILES[3][1]), tmp_path / "out")
    assert message in refused(capsys, *given, word)
    assert "scale is given twice, as 1 and as 2" in refused(capsys, *given, "scale=1", "scale=2")
    assert not (tmp_path / "out").exists()
    report = run(capsys, *given, "scale=5e-1")
    assert report["config"].endswith("scale=0.5")


@pytest.mark.parametrize(
    ("family", "name", "values"), [("mar", FILES[0][1], HEADS), ("kl16", FILES[3][1], [])]
)
def test_tied_weights_are_imported_and_exported(
    family: str,
    name: str,
    values: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, _ = read_checkpoint(fixture_path(name))
    one, other = next(pair for pair in combinations(state, 2) if _fit(state, *pair))
    state[other] = state[one]
    torch.save(state, tmp_path / "tied.pth")
    run(capsys, "import", family, tmp_path / "tied.pth", tmp_path / "out", *values)
    run(capsys, "export", tmp_path / "out", tmp_path / "again.pth")
    assert_same(read_checkpoint(tmp_path / "again.pth")[0], state)


def _fit(state: dict[str, torch.Tensor], one: str, other: str) -> bool:
    return one.endswith("weight") and state[one].shape == state[other].shape


def test_outputs_that_cannot_be_made_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone")
    given = ("import", "kl16", fixture_path(FILES[3][1]))
    assert "file is no folder" in refused(capsys, *given, tmp_path / "file/out")
    assert "link exists already" in refused(capsys, *given, tmp_path / "link")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


@pytest.mark.parametrize(
    "words",
    [
        ("score", "", "--reference", "ref", "--as", "x"),
        ("score", "samples.npz", "--reference", "", "--as", "x"),
        ("score", "samples.npz", "--reference", "ref", "--as", "x", "--labels", ""),
        ("reference", "", "out", "--computed-on", "x"),
        ("reference", "images", "", "--computed-on", "x"),
        ("import", "mar", "", "out"),
        ("sample", ""),
        ("prompts", "mar_b", "", "out"),
        ("export", "", "out"),
    ],
)
def test_an_empty_name_is_not_the_folder_one_works_in(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "an empty name; name a file or a folder" in capsys.readouterr().err


def test_elsewhere_the_missing_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fixture_path(FILES[2][1]).resolve()
    monkeypatch.chdir(tmp_path)
    assert "no config here" in refused(capsys, "import", "xar", path, tmp_path / "out")
    assert "no config/tables.yaml, dvc.yaml" in refused(capsys, "plan")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "usage", "message"),
    [
        (["import", "nosuch", "a", "b"], "import", "invalid choice: 'nosuch'"),
        (["plan", "--gpus", "0"], "plan", "must be a positive whole number, got '0'"),
        (["plan", "x=1"], "plan", "unrecognized arguments: x=1"),
        (["sample", "xar_b", "--clases", "0"], "sample", "unrecognized arguments: --clases 0"),
        (["sampl", "--seed", "1"], "[-h]", "no command 'sampl'; the commands are sample, "),
        (["sample"], "sample", "the following arguments are required: MODEL\n"),
        (["import", "mar"], "import", "the following arguments are required: CHECKPOINT, OUT\n"),
        (["try"], "try", "the following arguments are required: RUN\n"),
    ],
)
def test_wrong_usage_ends_with_the_usage_of_the_command(
    wrong: list[str], usage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"usage: nextbasis {usage} ") and message in error
