"""YAML is read strictly: no key twice, no objects, and what is wrong is said with its place."""

from pathlib import Path

import pytest
import yaml

from nextbasis.support.yamls import read_keys, read_yaml

ROOT = Path(__file__).parents[2]


def test_a_merge_key_may_be_overruled_and_no_other_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}\n")
    assert read_keys(path)["y"] == {"a": 3, "b": 2}
    path.write_text("runs:\n  one: 1\n  two: {a: 1, a: 2}\n")
    with pytest.raises(ValueError, match=r"a.yaml is no YAML: the key 'a' .* line 3, column 15"):
        read_yaml(path)


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=str)
def test_our_own_files_read_as_any_reader_reads_them(path: Path) -> None:
    assert read_keys(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no .*absent.yaml; run from the repository's root"):
        read_yaml(tmp_path / "absent.yaml")
