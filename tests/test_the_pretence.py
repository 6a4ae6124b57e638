"""The pretend GPU itself: deliberate mistakes are caught, deliberate waits are counted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nextbasis.data.pictures import to_uint8
from pretend_gpu import DEVICE, Sync, counting_syncs, pretend_gpu


def test_the_pretence_catches_mixed_devices() -> None:
    with pretend_gpu():
        there, here = torch.ones(3, device=DEVICE), torch.ones(3)
        with pytest.raises(RuntimeError, match="add mixes a CUDA tensor and one of the CPU"):
            there + here
        assert (there + torch.tensor(1.0)).cpu().tolist() == [2.0] * 3
        with pytest.raises(RuntimeError, match="index of a CPU tensor by CUDA indices"):
            here[torch.tensor([1], device=DEVICE)]
        with pytest.raises(TypeError, match="no .numpy()"):
            there.numpy()


def test_the_pretence_catches_what_is_not_deterministic() -> None:
    with pretend_gpu(deterministic=True):
        with pytest.raises(RuntimeError, match="cumsum does not have a deterministic"):
            torch.ones(3, device=DEVICE).cumsum(0)
        assert torch.ones(3, device=DEVICE, dtype=torch.long).cumsum(0).tolist() == [1, 2, 3]
        assert (torch.ones(2, 2, device=DEVICE) @ torch.ones(2, 2, device=DEVICE)).sum().item() == 8
    with pretend_gpu(deterministic=True, workspace=False):
        with pytest.raises(RuntimeError, match="deterministic on CUDA only with CUBLAS_WORKSPACE"):
            torch.ones(2, 2, device=DEVICE) @ torch.ones(2, 2, device=DEVICE)
    with pretend_gpu(workspace=False):
        assert (torch.ones(2, 2, device=DEVICE) @ torch.ones(2, 2, device=DEVICE)).sum().item() == 8


def ones(*shape: int, **options: Any) -> Tensor:
    return torch.ones(*shape, device=DEVICE, **options)


WAITS: dict[str, tuple[str, Callable[[], Any]]] = {
    "item": ("item", lambda: ones(1).item()),
    "tolist": ("tolist", lambda: ones(2).tolist()),
    "float": ("float", lambda: float(ones(1))),
    "int": ("int", lambda: int(ones(1))),
    "bool": ("bool", lambda: bool(ones(1))),
    "as an index": ("index", lambda: [0, 1][ones(1, dtype=torch.long)[0]]),
    "if any": ("bool", lambda: 1 if (ones(2) > 0).any() else 0),
    "cpu": ("copy to cpu", lambda: ones(2).cpu()),
    "to cpu": ("copy to cpu", lambda: ones(2).to("cpu")),
    "to cuda": ("copy to cuda", lambda: torch.ones(2).to(DEVICE)),
    "a module to cuda": ("copy to cuda", lambda: torch.nn.Linear(1, 1, bias=False).to(DEVICE)),
    "copy_ there": ("copy to cuda", lambda: ones(2).copy_(torch.ones(2))),
    "copy_ back": ("copy to cpu", lambda: torch.ones(2).copy_(ones(2))),
    "tensor": ("copy to cuda", lambda: torch.tensor([1.0, 2.0], device=DEVICE)),
    "nonzero": ("nonzero", lambda: ones(2).nonzero()),
    "where of one": ("nonzero", lambda: torch.where(ones(2) > 0)),
    "mask": ("boolean mask", lambda: ones(2)[ones(2) > 0]),
    "mask set": ("boolean mask", lambda: ones(2).index_put_((ones(2) > 0,), ones(2))),
    "masked_select": ("masked_select", lambda: ones(2).masked_select(ones(2) > 0)),
    "index of the cpu": ("copy to cuda", lambda: ones(2)[torch.tensor([0])]),
    "equal": ("equal", lambda: torch.equal(ones(2), ones(2))),
    "allclose": ("allclose", lambda: torch.allclose(ones(2), ones(2))),
    "unique": ("_unique2", lambda: ones(2).unique()),
    "bincount": ("bincount", lambda: ones(2, dtype=torch.long).bincount()),
    "repeats": ("repeat_interleave", lambda: ones(2).repeat_interleave(ones(2, dtype=torch.long))),
    "one_hot": ("one_hot", lambda: torch.nn.functional.one_hot(ones(2, dtype=torch.long))),
    "inv": ("_linalg_check_errors", lambda: torch.linalg.inv(torch.eye(2, device=DEVICE))),
}


@pytest.mark.parametrize("case", WAITS)
def test_the_pretence_counts_what_the_cpu_waits_for(case: str) -> None:
    operation, wait = WAITS[case]
    with pretend_gpu(), counting_syncs() as syncs:
        wait()
    assert {sync.operation for sync in syncs} == {operation}
    assert {sync.place.partition(":")[0] for sync in syncs} == {"tests/test_the_pretence.py"}


def set_by_mask() -> None:
    ones(2)[ones(2) > 0] = 0.0  # masked_fill


FREE: dict[str, Callable[[], Any]] = {
    "arithmetic": lambda: (ones(2) + 1) * torch.tensor(2.0),
    "product": lambda: ones(2, 2) @ ones(2, 2),
    "index": lambda: ones(2)[ones(2, dtype=torch.long) - 1],
    "set by mask": set_by_mask,
    "to cpu later": lambda: ones(2).to("cpu", non_blocking=True),
    "to cuda later": lambda: torch.ones(2).to(DEVICE, non_blocking=True),
    "a module later": lambda: torch.nn.Linear(1, 1).to(DEVICE, non_blocking=True),
    "copy_ later": lambda: ones(2).copy_(torch.ones(2), non_blocking=True),
    "there already": lambda: ones(2).to(DEVICE).copy_(ones(2)),
    "on the cpu": lambda: torch.ones(1).item() + len(torch.ones(2).nonzero()),
    "repeats": lambda: ones(2).repeat_interleave(2),
    "one_hot": lambda: torch.nn.functional.one_hot(ones(2, dtype=torch.long), 3),
    "shape": lambda: ones(2).shape[0] + ones(2).numel() + len(ones(2)),
    "cholesky_ex": lambda: torch.linalg.cholesky_ex(torch.eye(2, device=DEVICE)),
    "backward": lambda: ones(2, requires_grad=True).square().sum().backward(),
}


@pytest.mark.parametrize("case", FREE)
def test_the_pretence_counts_nothing_else(case: str) -> None:
    with pretend_gpu(), counting_syncs() as syncs:
        FREE[case]()
    assert not syncs


def test_a_wait_has_its_place_in_src_and_each_block_its_own_list() -> None:
    with pretend_gpu(), counting_syncs() as outer:
        with counting_syncs() as inner:
            to_uint8(ones(1, 3, 2, 2), "round")
        ones(1).item()
    places = {sync.place.partition(":")[0] for sync in inner}
    assert places == {"src/nextbasis/data/pictures.py"} and inner[0].operation == "item"
    assert outer[: len(inner)] == inner and len(outer) == len(inner) + 1
    assert isinstance(outer[-1], Sync) and outer[-1].place.startswith("tests/")
