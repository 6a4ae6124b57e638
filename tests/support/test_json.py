"""JSON as other programs write it: what ends a line, what stands first, what is no text."""

import json
from pathlib import Path
from typing import Any

import pytest

from nextbasis.commands.geneval import KEYS, TAGS, read_results
from nextbasis.commands.prompts import read_prompts
from nextbasis.support.files import read_json, read_json_lines, read_record, write_json

FILE = Path("lines.jsonl")
# Characters at which Python's str.splitlines cuts, though JSON may hold them.
ENDS = "\u2028\u2029\u0085"
TEXTS = [f"a dog{end}and a cat" for end in ENDS] + ["a café", "two 猫", "a\x1cb", "a\x0bb"]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(values: list[Any], end: str = "\n", encoding: str = "utf-8", after: str = "") -> None:
    text = "".join(json.dumps(value, ensure_ascii=False) + end for value in values)
    FILE.write_bytes((text + after).encode(encoding))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", " \n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("after", ["", "\n", "  \r\n\r\n", '{"x": 1}'])
def test_lines_are_what_was_written(end: str, encoding: str, after: str) -> None:
    values = [{"prompt": text} for text in TEXTS]
    write(values, end, encoding, after)
    last = [{"x": 1}] if "x" in after else []
    assert [value for _, value in read_json_lines(FILE)] == values + last


def test_every_reader_of_lines_reads_them_whole() -> None:
    write([{"prompt": text} for text in TEXTS], "\r\n", "utf-8-sig", "\n")
    assert [line["prompt"] for line in read_prompts(FILE)] == TEXTS
    row = dict.fromkeys(KEYS, "") | {"correct": True}
    rows = [row | {"tag": tag, "metadata": TEXTS[0]} for tag in TAGS]
    write(rows, "\r\n", "utf-8-sig", "\n")
    found = read_results(FILE)
    assert [image.tag for image in found] == list(TAGS) and found[0].prompt == TEXTS[0]


@pytest.mark.parametrize(
    "line",
    [
        b'{"prompt": "a',
        '{"prompt": "café"}'.encode("latin-1"),
        rb'{"prompt": "half of \ud83d a pair"}',
        b"[" * 100_000,
        '{"prompt": "a"}'.encode("utf-16"),
    ],
)
def test_the_line_that_is_no_json_is_named(line: bytes) -> None:
    FILE.write_bytes(b'{"prompt": "a"}\n\n' + line + b"\n")
    with pytest.raises(ValueError, match="^lines.jsonl: line 3 is not JSON in UTF-8"):
        read_prompts(FILE)


def test_numbers_are_those_of_the_file() -> None:
    FILE.write_bytes(b"\n1\n\n2")
    assert list(read_json_lines(FILE)) == [(2, 1), (4, 2)]


def test_json_may_begin_with_a_byte_order_mark() -> None:
    FILE.write_text('{"a": "é"}', encoding="utf-8-sig")
    assert read_json(FILE) == {"a": "é"}
    write_json(FILE, {"a": TEXTS})
    assert read_json(FILE) == {"a": TEXTS}


@pytest.mark.parametrize("data", [b"{", '{"a": "é"}'.encode("latin-1"), b"[" * 100_000])
def test_a_file_that_is_no_json_is_named(data: bytes) -> None:
    FILE.write_bytes(data)
    with pytest.raises(ValueError, match="^lines.jsonl is not valid JSON"):
        read_json(FILE)


def test_only_what_the_pipeline_made_is_to_be_deleted() -> None:
    for path in (FILE, FILE.absolute(), Path("results/cpu/a.json"), Path("scratch/a.json")):
        path.parent.mkdir(parents=True, exist_ok=True)
        for text in ("{", "[]", "{}"):
            path.write_text(text, encoding="utf-8")
            with pytest.raises(ValueError) as error:
                read_record(path, ("key",))
            is_ours = path.parts[0] in ("results", "scratch")
            assert ("delete it and rerun" in str(error.value)) == is_ours
