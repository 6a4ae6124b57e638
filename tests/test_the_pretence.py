"""The pretend GPU itself: deliberate mistakes are caught, deliberate waits are counted."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cuda_rules import NONDETERMINISTIC
from nextbasis.data.pictures import to_uint8
from nextbasis.families.common.execution import precision
from nextbasis.support.provenance import device, processor
from pretend_gpu import DEVICE, CudaTensor, Sync, counting_syncs, pretend_gpu


def ones(*shape: int, **options: Any) -> Tensor:
    return torch.ones(*shape, device=DEVICE, **options)


def long(*numbers: int) -> Tensor:
    return torch.tensor(numbers, device=DEVICE)


MIXES: dict[str, Callable[[], Any]] = {
    "add mixes": lambda: ones(3) + torch.ones(3),
    "add_ mixes": lambda: torch.ones(3).add_(ones(3)),
    "add_ mixes a CUDA tensor and one of the CPU, torch.Size": lambda: torch.tensor(1.0).add_(
        ones(1)[0]
    ),
    "mm mixes": lambda: ones(2, 2) @ torch.ones(2, 2),
    "stack mixes": lambda: torch.stack([ones(3), torch.ones(3)]),
    "stack mixes a CUDA tensor and": lambda: torch.stack([ones(1)[0], torch.tensor(1.0)]),
    "cat mixes": lambda: torch.cat([torch.ones(3), ones(3)]),
    "gather mixes": lambda: ones(3).gather(0, torch.tensor([0])),
    "scatter_ mixes": lambda: ones(3).scatter_(0, torch.tensor([0]), 1.0),
    "index_select mixes": lambda: ones(3).index_select(0, torch.tensor([0])),
    "index of a CPU tensor by CUDA indices": lambda: torch.ones(3)[long(1, 2)],
    "index_put_ of a CPU tensor by CUDA": lambda: torch.ones(3).index_put_((long(1),), ones(1)),
    "index_put_ mixes": lambda: ones(3).index_put_((long(1, 2),), torch.ones(2)),
    "embedding mixes": lambda: functional.embedding(torch.tensor([0]), ones(2, 2)),
    "where mixes": lambda: torch.where(ones(2) > 0, torch.ones(2), ones(2)),
    "(addmm|linear|addmv) mixes": lambda: torch.nn.Linear(2, 2).to(DEVICE)(torch.ones(2)),
    "Expected a 'cuda' device type for generator but found 'cpu'": lambda: torch.rand(
        3, device=DEVICE, generator=torch.Generator()
    ),
    "Expected a 'cuda' device type for generator": lambda: ones(3).normal_(
        generator=torch.Generator("cpu")
    ),
    "Expected a 'cpu' device type for generator but found 'cuda'": lambda: torch.randperm(
        3, generator=torch.Generator(DEVICE)
    ),
}


@pytest.mark.parametrize("message", MIXES)
def test_mixed_devices_are_refused(message: str) -> None:
    with pretend_gpu(), pytest.raises(RuntimeError, match=message):
        MIXES[message]()


def test_a_tensor_of_the_gpu_is_no_array() -> None:
    with pretend_gpu():
        for ask in (lambda: ones(3).numpy(), lambda: np.asarray(ones(3))):
            with pytest.raises(TypeError, match="no .numpy()"):
                ask()
        assert ones(3).cpu().numpy().tolist() == [1, 1, 1]


ALLOWED: dict[str, tuple[Callable[[], Tensor], list[float]]] = {
    "a number of the CPU": (lambda: ones(2) + torch.tensor(1.0), [2, 2]),
    "an index of the CPU": (lambda: ones(3)[torch.tensor([1, 2])], [1, 1]),
    "a number of the CPU set": (
        lambda: ones(2).index_put_((long(1),), torch.tensor(3.0)),
        [1, 3],
    ),
    "copied there": (lambda: ones(2).copy_(torch.tensor([3.0, 4.0])), [3, 4]),
    "copied back": (lambda: torch.zeros(2).copy_(ones(2)), [1, 1]),
    "a part copied there": (lambda: ones(3)[:2].copy_(torch.zeros(2)), [0, 0]),
    "its generator": (
        lambda: torch.rand(2, device=DEVICE, generator=torch.Generator(DEVICE)) * 0,
        [0, 0],
    ),
    "moved to where another is": (lambda: torch.zeros(2).to(DEVICE).to(ones(1)), [0, 0]),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_cuda_allows_is_allowed(case: str) -> None:
    make, expected = ALLOWED[case]
    with pretend_gpu(deterministic=True):
        assert make().tolist() == expected


def test_a_copy_in_place_changes_the_tensor_on_either_side() -> None:
    with pretend_gpu():
        there, here = ones(3), torch.zeros(3)
        here.copy_(there)
        there[:2].copy_(torch.tensor([5.0, 6.0]))
        assert here.tolist() == [1, 1, 1] and there.tolist() == [5, 6, 1]


def test_the_operations_that_raise_are_those_of_torchs_documentation() -> None:
    documented = torch.use_deterministic_algorithms.__doc__ or ""
    raising = documented.partition(":class:`RuntimeError` when ``mode=True``")[2]
    raising = raising.partition("In addition")[0]
    assert set(re.findall(r"\* :\w+:`([\w.]+)`", raising)) == set(NONDETERMINISTIC)
    operations = [name for names in NONDETERMINISTIC.values() for name in names]
    assert not [name for name in operations if not hasattr(torch.ops.aten, name)]


def upsampled() -> None:
    image = ones(1, 1, 2, 2).requires_grad_()
    functional.interpolate(image, scale_factor=2, mode="bicubic").sum().backward()


RAISING: dict[str, Callable[[], Any]] = {
    "histc": lambda: ones(3).histc(2),
    "bincount": lambda: long(1, 2).bincount(ones(2)),
    "median": lambda: ones(3).median(0),
    "put_": lambda: ones(3).put_(long(1), ones(1)),
    "scatter_reduce_": lambda: ones(3).scatter_reduce_(0, long(1), ones(1), "prod"),
    "upsample_bicubic2d_backward": upsampled,
}
DETERMINISTIC: dict[str, tuple[Callable[[], Tensor], list[float]]] = {
    "cumsum": (lambda: ones(3).cumsum(0), [1, 2, 3]),
    "bincount": (lambda: long(1, 2).bincount(), [0, 1, 1]),
    "median": (lambda: ones(3).median()[None], [1]),
    "scatter": (lambda: ones(3).scatter(0, long(1), ones(1) * 2), [1, 2, 1]),
    "scatter_add": (lambda: ones(2).scatter_add(0, long(1, 1), ones(2)), [1, 3]),
    "scatter_reduce": (lambda: ones(2).scatter_reduce(0, long(1), ones(1), "sum"), [1, 2]),
    "index_add": (lambda: ones(2).index_add(0, long(1, 1), ones(2)), [1, 3]),
    "index_copy": (lambda: ones(2).index_copy(0, long(1), ones(1) * 2), [1, 2]),
    "index_put": (lambda: ones(2).index_put((long(1, 1),), ones(2), accumulate=True), [1, 3]),
    "products": (lambda: (ones(2, 2) @ ones(2, 2))[0], [2, 2]),
}


@pytest.mark.parametrize("name", RAISING)
def test_what_is_not_deterministic_is_refused_where_it_must_be(name: str) -> None:
    with pretend_gpu(deterministic=True):
        with pytest.raises(RuntimeError, match=f"{name} does not have a deterministic"):
            RAISING[name]()
    with pretend_gpu():
        RAISING[name]()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_what_is_deterministic_is_not_refused(name: str) -> None:
    make, expected = DETERMINISTIC[name]
    with pretend_gpu(deterministic=True):
        assert make().tolist() == expected


def test_products_need_their_variable_where_they_must_be_deterministic() -> None:
    with pretend_gpu(deterministic=True, workspace=False):
        with pytest.raises(RuntimeError, match="deterministic on CUDA only with CUBLAS_WORKSPACE"):
            ones(2, 2) @ ones(2, 2)
    with pretend_gpu(workspace=False):
        assert (ones(2, 2) @ ones(2, 2)).tolist() == [[2, 2], [2, 2]]


def test_there_is_a_gpu_inside_the_block_and_none_outside() -> None:
    generator, autocast, before = torch.Generator, torch.autocast, device()
    with pretend_gpu():
        assert device() == torch.device("cuda") and processor() == "pretend GPU"
        assert ones(1).to("cuda").device == ones(1).cuda().device == DEVICE
        assert isinstance(generator(), torch.Generator)
        assert not isinstance(1, torch.Generator)
    assert (torch.Generator, torch.autocast, device()) == (generator, autocast, before)


def test_random_numbers_are_those_of_the_cpu() -> None:
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    with pretend_gpu():
        drawn = torch.rand(3, device=DEVICE, generator=torch.Generator("cuda").manual_seed(5))
        assert isinstance(drawn, CudaTensor) and drawn.tolist() == expected.tolist()


def test_products_under_autocast_are_halves() -> None:
    with pretend_gpu(), precision("bfloat16", DEVICE):
        assert torch.is_autocast_enabled("cuda")
        assert (ones(2, 2) @ ones(2, 2)).dtype == torch.bfloat16
        with precision("float32", DEVICE):
            assert (ones(2, 2) @ ones(2, 2)).dtype == torch.float32


def test_a_saved_tensor_is_loaded_on_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pretend_gpu():
        torch.save({"there": ones(2), "weight": torch.nn.Parameter(ones(1))}, path)
        found = torch.load(path, weights_only=True, map_location="cpu")
    assert type(found["there"]) is Tensor and found["there"].tolist() == [1, 1]
    assert found["weight"].tolist() == [1]


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
