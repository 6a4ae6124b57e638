"""The code of a stage is one notion: what DVC reads and what a resumable state depends on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nextbasis.pipeline.stagelist import code_hash, code_of

ROOT = Path(__file__).parents[2]
SOURCE = "src/nextbasis"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the code and of what says which stage depends on which part."""
    weights = shutil.ignore_patterns("__pycache__", "extractors")
    shutil.copytree(ROOT / SOURCE, tmp_path / SOURCE, ignore=weights)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def edited(root: Path, path: str, hash_of: Callable[[], str]) -> bool:
    """Whether a new docstring at the end of a file changes the hash."""
    before = hash_of()
    with (root / SOURCE / path).open("a", encoding="utf-8") as file:
        file.write('\n"""Another docstring."""\n')
    return hash_of() != before


@pytest.mark.parametrize(
    ("path", "lost"),
    [
        ("tables/render.py", False),
        ("scoring/score.py", False),
        ("families/xar/cost.py", False),
        ("families/xar/parity_sampling.py", False),
        ("families/xar/README.md", False),
        ("families/mar/model.py", False),
        ("families/xar/model.py", True),
        ("families/common/attention.py", True),
        ("basis/transform.py", True),
        ("training/trainer.py", True),
        ("support/files.py", False),
        ("basis/constructions/tokens.py", True),
        ("basis/constructions/frequency.py", False),
    ],
)
def test_an_edit_loses_a_training_only_if_it_can_change_it(
    root: Path, path: str, lost: bool
) -> None:
    item = {"family": "xar", "construction": "tokens"}
    assert edited(root, path, lambda: code_hash("train", root, **item)) == lost


@pytest.mark.parametrize("kind", ["tokenizer", "tokens", "reconstruct", "rebase", "sample"])
@pytest.mark.parametrize(
    ("path", "lost"),
    [
        ("tokenizers/vq/model.py", True),
        ("tokenizers/common/tokenizer.py", True),
        ("tokenizers/vq/config.py", True),
        ("tokenizers/kl16/model.py", False),
        ("tokenizers/kl/model.py", False),
        ("tokenizers/kinds.py", False),
        ("tokenizers/README.md", False),
        ("tokenizers/new/model.py", False),
    ],
)
def test_an_edit_loses_tokens_only_if_it_can_change_them(
    root: Path, path: str, lost: bool, kind: str
) -> None:
    (root / SOURCE / path).parent.mkdir(exist_ok=True)  # of the new one
    item = {"family": "rar", "coder": "vq", "construction": "tokens"}
    assert edited(root, path, lambda: code_hash(kind, root, **item)) == lost


def test_the_code_is_what_dvc_names() -> None:
    names = {
        path.relative_to(ROOT).as_posix()
        for path in code_of("train", ROOT, family="mar", construction="controls")
    }
    assert f"{SOURCE}/families/mar/model.py" in names
    assert not any("__pycache__" in name or "/xar/" in name for name in names)


def test_an_unknown_kind_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match="dvc.yaml has no stage 'trein'; it has dataset, text"):
        code_of("trein", root=root)
