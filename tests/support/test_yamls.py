"""YAML is read strictly: no key twice, no objects, and what is wrong is said with its place."""

import math
from pathlib import Path

import pytest
import yaml

from nextbasis.support.yamls import parse_yaml, read_keys, read_yaml, write_yaml

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


# From YAML 1.2.2, section 10.3.2: what plain text is by its core rules.
CORE = {
    **{"": None, "~": None, "null": None, "NULL": None, "nULL": "nULL"},
    **{"true": True, "False": False, "yes": "yes", "off": "off", "y": "y"},
    **{"0": 0, "-0": 0, "+3": 3, "010": 10, "0o10": 8, "0x3A": 58, "1_000": "1_000"},
    **{"1:30": "1:30", "0b1": "0b1", "2020-01-01": "2020-01-01", "=": "="},
    **{"0.": 0.0, "-.5": -0.5, "1e-1": 0.1, "1e5": 1e5, "12e03": 12e3, "-2E+05": -2e5},
    **{".inf": math.inf, "-.INF": -math.inf, "'32'": "32", '"010"': "010", ".": "."},
}


@pytest.mark.parametrize("text", CORE)
def test_values_are_those_of_the_core_rules_of_yaml_1_2(text: str) -> None:
    found = parse_yaml(text)
    assert found == CORE[text] and type(found) is type(CORE[text])
    assert math.isnan(parse_yaml(".nan"))


@pytest.mark.parametrize(
    "text", ["010", "-08", "1:30", "1_000", "0x1_0", "0b1", "0o10", "yes", "No", "on", "OFF"]
)
def test_what_versions_of_yaml_read_differently_is_refused_in_files(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"a: 1\nb: [{text}]\n")
    with pytest.raises(ValueError, match=rf"a.yaml is no YAML: '{text}' is one thing .* line 2"):
        read_yaml(path)
    path.write_text(f"b: ['{text}']\n")
    assert read_yaml(path) == {"b": [text]}


def test_written_texts_are_read_as_texts_by_either_version(tmp_path: Path) -> None:
    texts = [*CORE, "café\u2028\x85\0", "a: b", "- c", "# d", ".nan"]
    written = write_yaml({"texts": texts, "numbers": [1, 0.5]})
    for found in (parse_yaml(written), yaml.safe_load(written)):
        assert found == {"texts": texts, "numbers": [1, 0.5]}
    with pytest.raises(ValueError, match="cannot be written as YAML"):
        write_yaml({"a": "zo\udceb"})


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no .*absent.yaml; run from the repository's root"):
        read_yaml(tmp_path / "absent.yaml")
