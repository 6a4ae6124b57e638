"""Jobs that no node of their Slurm partition can run are refused, by what a stand-in sinfo says."""

from pathlib import Path

import pytest

from nextbasis.pipeline.partitions import check_job, partitions

SINFO = """\
cpu|64|256000|infinite|(null)
gpu|96|500000|1-00:00:00|gpu:a100:4(S:0-1)
gpu|64|1000000+|1-00:00:00|gpu:8,shard:16
short|8|16000|30:00|gpu:1
"""
WANTS = {"threads": 64, "mem_mb": 256_000, "runtime": 1440, "gpu": 8}


def put_sinfo(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "sinfo").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


@pytest.fixture
def offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, float]]]:
    put_sinfo(tmp_path, monkeypatch, f"cat <<'END'\n{SINFO}END")
    return partitions()


def test_nodes_are_read_as_sinfo_lists_them(offers: dict[str, list[dict[str, float]]]) -> None:
    assert list(offers) == ["cpu", "gpu", "short"]
    assert [node["gpu"] for node in offers["gpu"]] == [4, 8]
    assert [node["mem_mb"] for node in offers["gpu"]] == [500_000, 1_000_000]
    limits = {name: nodes[0]["runtime"] for name, nodes in offers.items()}
    assert limits == {"cpu": float("inf"), "gpu": 1440, "short": 30}


def test_what_a_node_has_is_granted(offers: dict[str, list[dict[str, float]]]) -> None:
    check_job("train", "gpu", WANTS, offers)


@pytest.mark.parametrize(
    ("partition", "changed", "message"),
    [
        ("a100", {}, "slurm_partition is 'a100', but sinfo knows cpu, gpu, short"),
        ("cpu", {}, "gpu is 8, but a job in partition 'cpu' can have at most 0 GPUs"),
        ("gpu", {"threads": 128}, "threads is 128, .* at most 96 CPUs"),
        ("gpu", {"mem_mb": 2_000_000}, "mem_mb is 2e.06, .* at most 1e.06 MB"),
        ("gpu", {"runtime": 10_080}, "runtime is 10080, .* at most 1440 minutes"),
    ],
)
def test_what_no_node_has_is_refused_by_name(
    offers: dict[str, list[dict[str, float]]],
    partition: str,
    changed: dict[str, float],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=f"rule train: {message}"):
        check_job("train", partition, WANTS | changed, offers)


def test_no_slurm_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="no sinfo here"):
        partitions()


def test_a_silent_controller_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_sinfo(tmp_path, monkeypatch, "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ValueError, match="sinfo fails: Unable to contact slurm controller"):
        partitions()
