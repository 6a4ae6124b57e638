"""Shards of tokens: resumed and shared to the same bits, drawn alike by any number of parts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import write_cache
from nextbasis.data.layout import TokenLayout
from nextbasis.data.shards import FOLDER, Shards, entry, name_of, ranges
from nextbasis.data.tokens import TokenCache
from nextbasis.stages import tokens
from nextbasis.support import processes
from nextbasis.support.files import read_json
from toy_tokenizers import COUNT, KL, PATCHES, run_tokenizer, tokens_stage, workspace

__all__ = ["workspace"]  # a fixture
CACHE = Path("results/toy/tokens/a")


@given(count=st.integers(1, 200), size=st.integers(1, 60))
def test_ranges_cover_every_row_once(count: int, size: int) -> None:
    rows = [row for part in ranges(count, size) for row in range(count)[part]]
    assert rows == list(range(count))
    assert {part.stop - part.start for part in ranges(count, size)[:-1]} <= {size}


@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_rows_are_those_of_the_whole_array(tmp_path: Path, size: int) -> None:
    random = np.random.default_rng(0)
    whole = random.normal(size=(30, 2, 3, 4)).astype(np.float32)
    layout = TokenLayout.of_grid((1, 3), channels=4)
    write_cache(tmp_path, whole, np.zeros(30, np.int64), layout, size)
    cache = TokenCache(tmp_path)
    rows, columns = random.integers(30, size=50), random.integers(2, size=50)
    assert cache.tokens.shape == whole.shape
    np.testing.assert_array_equal(cache.tokens.take(rows, columns), whole[rows, columns])
    np.testing.assert_array_equal(cache.expected(every=4), whole[::4, 0])
    cache.tokens.verify()


def test_some_images_are_of_each_class_its_share_and_draw_as_in_a_cache_of_their_own(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    tokens = random.normal(size=(30, 2, 4, 6)).astype(np.float32)
    labels = np.sort(random.permutation(np.repeat([0, 1, 2], [5, 10, 15])))
    layout = TokenLayout.of_grid((2, 2), channels=6)
    write_cache(tmp_path / "all", tokens, labels, layout, 7)
    some = TokenCache(tmp_path / "all", images=6)
    np.testing.assert_array_equal(np.bincount(some.labels), [1, 2, 3])
    write_cache(tmp_path / "some", tokens[some.kept], labels[some.kept], layout, 4)
    own, items = TokenCache(tmp_path / "some"), np.array([5, 0, 3])
    found, wanted = (cache.draw(items, torch.Generator().manual_seed(1)) for cache in (some, own))
    assert torch.equal(found, wanted) and torch.equal(some.expected(2), own.expected(2))
    with pytest.raises(ValueError, match=r"train.images must be at most 30, .*; got 31"):
        TokenCache(tmp_path / "all", images=31)


@pytest.mark.parametrize("kind", ["ids", "latents", "moments"])
def test_parts_of_a_batch_get_what_they_get_in_the_whole(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 2, 4, 6)).astype(np.float32)
    index = {"posterior": kind == "moments", "mean": [0.5] * 3, "scale": [2.0] * 3}
    layout = TokenLayout.of_grid((2, 2), channels=3 if kind == "moments" else 6)
    if kind == "ids":
        rows = random.integers(9, size=(40, 2, 4), dtype=np.int32)
        layout = TokenLayout.of_grid((2, 2), codebook_size=9)
    write_cache(tmp_path, rows, np.zeros(40, np.int64), layout, 11, **index)
    cache, items = TokenCache(tmp_path), random.permutation(40)[:12]

    def drawn(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(5)
        return cache.draw(items, generator, part), torch.rand(3, generator=generator)

    whole, after = drawn(slice(None))
    for count in (1, 2, 3):
        parts = [
            drawn(slice(12 * rank // count, 12 * (rank + 1) // count)) for rank in range(count)
        ]
        assert torch.equal(torch.cat([part for part, _ in parts]), whole)
        assert all(torch.equal(state, after) for _, state in parts)


def encoded() -> dict[str, bytes]:
    """Everything that the stage wrote, except metrics.json."""
    files = sorted(path for path in CACHE.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.name != "metrics.json"}


def written(monkeypatch: pytest.MonkeyPatch, stop_after: int = 1000) -> list[int]:
    """First images of the shards that are encoded from now on; the one after is interrupted."""
    seen: list[int] = []
    write = tokens.Encoder.write

    def counted(encoder: tokens.Encoder, images: object, part: slice, *rest: object) -> None:
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(part.start)
        write(encoder, images, part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tokens.Encoder, "write", counted)
    return seen


def test_a_killed_stage_encodes_only_what_is_missing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tokenizer("a", KL)
    tokens.main(tokens_stage())
    uninterrupted = encoded()
    assert sum("shards/" in path for path in uninterrupted) == 3
    with monkeypatch.context() as patch:
        first = written(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            tokens.main(tokens_stage())
    assert first == [0, 20] and encoded() == uninterrupted, "old outputs stay until all is done"
    rest = written(monkeypatch)
    tokens.main(tokens_stage())
    assert rest == [40] and encoded() == uninterrupted
    assert not list(Path("scratch").rglob("*.npy"))


def test_processes_share_the_shards_and_make_the_same_bits(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tokenizer("a", KL)
    tokens.main(tokens_stage())
    alone = encoded()
    monkeypatch.setattr(processes, "count", lambda: 2)
    for rank, mine in ((1, [20]), (0, [0, 40])):  # process 0 comes last, as if it had waited
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        with monkeypatch.context() as patch:
            seen = written(patch)
            tokens.main(tokens_stage())
        assert seen == mine
    assert encoded() == alone


@pytest.mark.skipif(sys.platform != "linux", reason="Gloo over the loopback")
def test_torchrun_makes_the_same_bits(workspace: Path) -> None:
    run_tokenizer("a", PATCHES)
    tokens.main(tokens_stage())
    alone = encoded()
    program = Path("stage.py")
    program.write_text(
        "from nextbasis.support import processes\n"
        "from nextbasis.stages import tokens\n"
        "from toy_tokenizers import tokens_stage\n"
        "with processes.joined():\n"
        "    tokens.main(tokens_stage())\n"
        "    print(processes.count(), 'processes')\n",
        encoding="utf-8",
    )
    here = Path(__file__).parents[1]
    path = os.pathsep.join([str(here), str(here.parent / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        + [str(program)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stdout and encoded() == alone


def test_another_size_of_shards_holds_the_same_tokens(workspace: Path) -> None:
    run_tokenizer("a", PATCHES)
    rows = np.arange(COUNT)
    found = []
    for size in (20, 48, 13):
        tokens.main(tokens_stage(size))
        cache = TokenCache(CACHE)
        assert len(list((CACHE / FOLDER).iterdir())) == -(-COUNT // size)
        found.append(cache.tokens.take(rows, rows % 2))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    with pytest.raises(ValueError, match="shard_images must be above 0, got 0"):
        tokens_stage(0)


def test_a_shard_damaged_while_it_waited_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tokenizer("a", PATCHES)
    with monkeypatch.context() as patch:
        written(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            tokens.main(tokens_stage())
    path = next(Path("scratch").rglob("00001.npy"))
    np.save(path, np.load(path) + 1)
    with pytest.raises(ValueError, match="00001.npy has SHA-256 .*; delete it and rerun"):
        tokens.main(tokens_stage())
    path.unlink()
    tokens.main(tokens_stage())
    TokenCache(CACHE).tokens.verify()


def test_wrong_shards_are_named(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / name_of(0)
    np.save(path, np.zeros((4, 2, 3), np.int32))
    entries = [entry(path, 4)]
    with pytest.raises(ValueError, match="00000.npy has dtype int32, expected float32"):
        Shards(path.parent, entries, np.float32, (2, 3))
    with pytest.raises(ValueError, match=r"00000.npy has shape \(4, 2, 3\), expected \(5, 2, 3\)"):
        Shards(path.parent, [entries[0] | {"images": 5}], np.int32, (2, 3))
    whole = Shards(path.parent, entries, np.int32, (2, 3))
    np.save(path, np.ones((4, 2, 3), np.int32))
    with pytest.raises(ValueError, match="00000.npy has SHA-256 .* expected"):
        whole.verify()


def test_the_index_lists_every_shard(workspace: Path) -> None:
    run_tokenizer("a", PATCHES)
    tokens.main(tokens_stage())
    index = read_json(CACHE / "index.json")
    assert [each["name"] for each in index["shards"]] == ["00000.npy", "00001.npy", "00002.npy"]
    assert [each["images"] for each in index["shards"]] == [20, 20, 8]
    assert index["shards"] == [
        entry(CACHE / FOLDER / each["name"], each["images"]) for each in index["shards"]
    ]
    assert read_json(CACHE / "metrics.json")["tokens_sha256"] == index["tokens_sha256"]
