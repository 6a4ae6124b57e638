"""Files of weights: what is taken, what is told, what is refused; nothing in them runs."""

import argparse
import bz2
import collections
import datetime
import gzip
import lzma
import os
import pathlib
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nextbasis.support.sections import Origin
from nextbasis.support.weights import (
    apart,
    check_finite,
    check_floats,
    check_shapes,
    read_checkpoint,
)
from nextbasis.support.words import MOST, listed

RAW = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}
MEAN = {name: tensor + 0.5 for name, tensor in RAW.items()}
ARGUMENTS = argparse.Namespace(
    lr=np.float64(1e-4),
    seed=np.int64(3),
    flag=np.bool_(True),
    betas=np.array([0.9, 0.95]),
    kinds=np.array([None, "a"], dtype=object),
    dtype=np.dtype("float32"),
    state=np.random.get_state(),
    out=Path("runs/1"),
    windows=pathlib.PureWindowsPath("C:/runs"),
    started=datetime.datetime(2024, 1, 2),
    counts=collections.defaultdict(list, a=[1]),
)


def saved(content: Any, path: Path, **options: Any) -> tuple[dict[str, Tensor], Origin]:
    torch.save(content, path, **options)
    return read_checkpoint(path)


def assert_are(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


NAMES = ["ema", "model_ema", "ema_model", "params_ema", "state_dict_ema", "ema_state_dict"]
NAMES += ["net_ema", "generator-ema", "ema_0.9999", "EMA", "modelEMA", "shadow", "averaged_model"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inner", [None, "shadow", "state_dict"])
@pytest.mark.parametrize("decay", [0.9, torch.tensor(0.9), torch.tensor([0.9])])
def test_averaged_weights_are_taken_by_any_of_their_names(
    name: str, inner: str | None, decay: float | Tensor, tmp_path: Path
) -> None:
    section = MEAN if inner is None else {"decay": decay, inner: MEAN}
    content = {"model": RAW, name: section, "opt": {"state": {}}, "args": ARGUMENTS}
    state, origin = saved(content, tmp_path / "file.pth")
    assert_are(state, MEAN)
    assert origin.averaged and origin.section == (f"{name}/{inner}" if inner else name)
    assert str(origin).endswith("averaged; not read: model, opt, args")


@pytest.mark.parametrize("name", ["schema", "cinema", "weights_semantic"])
def test_a_name_that_only_contains_the_letters_is_no_average(name: str, tmp_path: Path) -> None:
    state, origin = saved({"model": RAW, name: MEAN}, tmp_path / "file.pth")
    assert_are(state, RAW)
    assert not origin.averaged and origin.section == "model"


@pytest.mark.parametrize(
    ("average", "told"),
    [
        (None, "model_ema (empty)"),
        ({}, "model_ema (empty)"),
        (list(MEAN.values()), "model_ema (no tensors by name)"),
        ({"shadow_params": list(MEAN.values())}, "model_ema (no tensors by name)"),
    ],
)
def test_an_average_that_cannot_be_read_is_told(average: Any, told: str, tmp_path: Path) -> None:
    state, origin = saved({"model": RAW, "model_ema": average, "epoch": 3}, tmp_path / "file.pth")
    assert_are(state, RAW)
    assert str(origin) == f"model; not read: {told}, epoch"


@pytest.mark.parametrize(
    ("content", "section"),
    [
        (RAW, "flat"),
        (RAW | {"epoch": 3}, "flat"),
        ({"state_dict": RAW, "step": torch.tensor(3)}, "state_dict"),
        ({"module": RAW, "ds_config": {}}, "module"),
        (
            {"generator": RAW, "g_optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}},
            "generator",
        ),
        ({"trainer": {"net_wo_ddp": RAW, "optimizer": {"state": {}}}}, "trainer/net_wo_ddp"),
        ({"model": collections.defaultdict(int, RAW)}, "model"),
        ({"model": {name: nn.Parameter(tensor) for name, tensor in RAW.items()}}, "model"),
    ],
)
def test_weights_without_an_average_are_read(content: Any, section: str, tmp_path: Path) -> None:
    state, origin = saved(content, tmp_path / "file.pth")
    assert_are(state, RAW)
    assert origin.section == section and not origin.averaged
    assert not any(tensor.requires_grad for tensor in state.values())


def test_a_named_section_is_read_in_place_of_the_average(tmp_path: Path) -> None:
    torch.save({"model": RAW, "ema": MEAN}, tmp_path / "file.pth")
    state, origin = read_checkpoint(tmp_path / "file.pth", "model")
    assert_are(state, RAW)
    assert str(origin) == "model; not read: ema"
    with pytest.raises(ValueError, match="holds no weights 'other'; it has model, ema"):
        read_checkpoint(tmp_path / "file.pth", "other")


@pytest.mark.parametrize(
    "names", [("model", "ema_0.999", "ema_0.9999"), ("generator", "discriminator")]
)
def test_of_several_weights_one_must_be_named(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"several weights; .*\(--section\): {listed(names)}"):
        saved(dict.fromkeys(names, RAW), tmp_path / "file.pth")
    state, _ = read_checkpoint(tmp_path / "file.pth", names[1])
    assert_are(state, RAW)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
def test_prefixes_of_wrappers_are_removed_and_told(prefix: str, tmp_path: Path) -> None:
    wrapped = {prefix + name: tensor for name, tensor in RAW.items()}
    state, origin = saved({"model": wrapped}, tmp_path / "file.pth")
    assert_are(state, RAW)
    parts = {part + "." for part in prefix.split(".") if part}
    assert set(origin.removed) == parts and all(part in str(origin) for part in parts)


def test_a_compiled_part_is_unwrapped(tmp_path: Path) -> None:
    state, _ = saved(
        {"a._orig_mod.weight": RAW["a.weight"], "a.bias": RAW["a.bias"]}, tmp_path / "f"
    )
    assert_are(state, RAW)


def test_a_prefix_of_some_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 of 2 have 'module.' in front of their names"):
        saved({"module.a.weight": RAW["a.weight"], "a.bias": RAW["a.bias"]}, tmp_path / "file.pth")


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."]
)
@pytest.mark.parametrize("count", [1, 2])
def test_weights_with_and_without_a_prefix_are_refused(
    prefix: str, count: int, tmp_path: Path
) -> None:
    both = RAW | {prefix + name: tensor for name, tensor in list(MEAN.items())[:count]}
    with pytest.raises(ValueError, match=f"weights twice, with '{prefix}' .*: a.weight.*; keep"):
        saved({"model": both}, tmp_path / "file.pth")


def test_averages_of_pytorch_itself_are_read(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    averaged = AveragedModel(nn.ModuleDict({"a": model}), device="cpu")
    state, _ = saved({"model": RAW, "model_ema": averaged.state_dict()}, tmp_path / "file.pth")
    assert_are(state, {f"a.{name}": tensor for name, tensor in model.state_dict().items()})


def test_averages_that_a_module_keeps_are_read(tmp_path: Path) -> None:
    """ema_pytorch keeps both models in one module; latent diffusion's code takes dots out."""
    both = {"initted": torch.tensor(True), "step": torch.tensor(9)}
    both |= {f"online_model.{name}": tensor for name, tensor in RAW.items()}
    both |= {f"ema_model.{name}": tensor for name, tensor in MEAN.items()}
    state, origin = saved({"ema": both}, tmp_path / "file.pth")
    assert_are(state, MEAN)
    assert origin.section == "ema/ema_model"
    buffers = RAW | {"a.count": torch.ones(3)}
    dotless = {f"model_ema.{name.replace('.', '')}": tensor for name, tensor in MEAN.items()}
    dotless |= {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(9)}
    state, origin = saved({"state_dict": buffers | dotless}, tmp_path / "file.ckpt")
    assert_are(state, MEAN | {"a.count": torch.ones(3)})
    assert origin.averaged and "not read: state_dict" in str(origin)


class Trap:
    """Creates a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Imposter(Trap):
    """Says that it is of NumPy, and runs when it is made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return np.save, (str(self.path), np.zeros(1))


@pytest.mark.parametrize("is_zip", [True, False])
def test_numpy_scalars_and_paths_in_the_arguments_do_not_matter(
    is_zip: bool, tmp_path: Path
) -> None:
    content = {"model": RAW, "args": ARGUMENTS}
    path = tmp_path / "file.pth"
    state, origin = saved(content, path, _use_new_zipfile_serialization=is_zip)
    assert_are(state, RAW)
    assert origin.beside == ("args",)
    assert not [each for each in torch.serialization.get_safe_globals() if isinstance(each, tuple)]


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_runs_code_is_refused(is_zip: bool, tmp_path: Path) -> None:
    trap, path = tmp_path / "sprung", tmp_path / "evil.pth"
    content = {"model": RAW, "args": Trap(trap)}
    with pytest.raises(ValueError, match="evil.pth is refused: it holds an object .*mkdir"):
        saved(content, path, _use_new_zipfile_serialization=is_zip)
    assert not trap.exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_functions_of_modules_that_are_left_out_do_not_run(is_zip: bool, tmp_path: Path) -> None:
    trap = tmp_path / "sprung.npy"
    content = {"model": RAW, "args": Imposter(trap)}
    state, _ = saved(content, tmp_path / "file.pth", _use_new_zipfile_serialization=is_zip)
    assert_are(state, RAW)
    assert not trap.exists()


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    path, trap = tmp_path / "bare.pth", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(ValueError, match="bare.pth is (refused|not a complete)"):
        read_checkpoint(path)
    assert not trap.exists()


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pth", tmp_path / "part.pth"
    torch.save({"model": RAW}, whole)
    content = whole.read_bytes()
    for length in (0, 3, 1000, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="part.pth is not a complete PyTorch file"):
            read_checkpoint(path)
    save_file(RAW, tmp_path / "whole.safetensors")
    path = tmp_path / "part.safetensors"
    for length in (0, 9, 100):
        path.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:length])
        with pytest.raises(ValueError, match="part.safetensors is not a complete safetensors file"):
            read_checkpoint(path)


@pytest.mark.parametrize("name", ["file.safetensors", "FILE.SAFETENSORS", "file.bin"])
def test_safetensors_are_known_by_name_or_content(name: str, tmp_path: Path) -> None:
    save_file(MEAN, tmp_path / name)
    state, _ = read_checkpoint(tmp_path / name)
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        name: tensor.tolist() for name, tensor in MEAN.items()
    }
    state, _ = saved(RAW, tmp_path / "pickled.safetensors")
    assert_are(state, RAW)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lfs.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("page.safetensors", b"\n<!DOCTYPE html><title>Sign in</title>", "a page of the web"),
        ("model.safetensors.index.json", b'{"weight_map": {}}', "JSON text"),
        ("model-00001-of-00003.safetensors", b"", "one of 3 files that hold the weights together"),
        ("a.pth.gz", gzip.compress(b"PK", mtime=0), "compressed by gzip; `gunzip` it first"),
        ("b.pth", bz2.compress(b"PK"), "compressed by bzip2"),
        ("c.pth", lzma.compress(b"PK"), "compressed by xz"),
        ("d.pth", pickle.dumps({"a": [0.5] * 99}), "a plain pickle, not a file of torch.save"),
        ("e.pth", pickle.dumps({"a": np.ones(99)}, 2), "a plain pickle"),
    ],
)
def test_what_stands_in_place_of_weights_is_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is .*{message}"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_archive_around_weights_is_named(form: int, tmp_path: Path) -> None:
    torch.save(RAW, tmp_path / "a.pth")
    with tarfile.open(tmp_path / "b.pth", "w", format=form) as archive:
        archive.add(tmp_path / "a.pth", "a.pth")
    with pytest.raises(ValueError, match="b.pth is a tar archive; unpack it"):
        read_checkpoint(tmp_path / "b.pth")


def test_tensors_that_share_memory_are_set_apart(tmp_path: Path) -> None:
    whole = torch.arange(24.0)
    tensors = {
        "a": whole[:12].view(3, 4),
        "b": whole[12:],
        "tied": whole[:12],
        "alone": RAW["a.bias"],
    }
    tensors |= {"turned": torch.arange(6.0).view(2, 3).T, "one": torch.zeros(1).expand(5)}
    tensors |= {"none": torch.zeros(0), "nothing": torch.zeros(0)}
    found = apart(tensors)
    assert_are(found, tensors)
    assert found["alone"] is tensors["alone"]
    save_file(found, tmp_path / "a.safetensors")
    assert_are(
        dict(sorted(load_file(tmp_path / "a.safetensors").items())), dict(sorted(tensors.items()))
    )


def test_archives_of_others_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", **{name: t.numpy() for name, t in RAW.items()})
    with pytest.raises(ValueError, match="an archive that torch.save did not write .a.bias.npy"):
        read_checkpoint(tmp_path / "arrays.npz")
    with pytest.raises(ValueError, match="uses another pickle protocol than 2"):
        saved({"model": RAW}, tmp_path / "four.pth", pickle_protocol=4)
    with pytest.raises(ValueError, match="is a folder; name the file of weights: .*arrays.npz"):
        read_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint .*absent.pth"):
        read_checkpoint(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({}, "no tensors: nothing at all"),
        ({"epoch": 3, "args": argparse.Namespace(lr=1.0)}, "no tensors: epoch, args"),
        ({"model": {}}, "no tensors: model"),
        ({"model_ema": {"a": 1}}, "no tensors: model_ema"),
        ({"a": np.ones(3)}, "no tensors: a .NumPy arrays .* are not read"),
        ({"a": torch.ones(2, 2).to_sparse(), "b": torch.ones(1)}, "not stored as plain numbers: a"),
        ({"a": torch.ones(2, device="meta")}, "not stored as plain numbers: a"),
    ],
)
def test_files_without_weights_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        saved(content, tmp_path / "other.pth")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_not_finite_are_named(dtype: torch.dtype, value: float) -> None:
    largest = torch.full((3,), torch.finfo(dtype).max, dtype=dtype)
    check_floats({"large": largest, "none": torch.zeros(0, dtype=dtype)})
    with pytest.raises(ValueError, match=r"1 of 2 tensors .* not finite .*: bad"):
        check_floats({"good": largest, "bad": torch.tensor([[1.0], [value]], dtype=dtype)})


def test_numbers_of_8_bits_are_checked() -> None:
    with pytest.raises(ValueError, match="not finite .*: b"):
        check_floats({"b": torch.tensor([1.0, torch.nan]).to(torch.float8_e4m3fn)})


def test_counters_may_be_integers_where_weights_may_not() -> None:
    tensors = {"count": torch.tensor(3)}
    check_finite(tensors)
    with pytest.raises(ValueError, match="not floating-point numbers: count"):
        check_floats(tensors)


def test_long_lists_of_names_are_cut_and_counted() -> None:
    wanted = {f"blocks.{index}.weight": (2,) for index in range(500)}
    found = {f"layers.{index}.weight": (2,) for index in range(300)} | {"blocks.7.weight": (3,)}
    with pytest.raises(ValueError) as error:
        check_shapes(found, wanted)
    message = str(error.value)
    assert "800 tensors do not fit" in message and len(message) < 1000
    assert f"and {499 - MOST} more" in message and f"and {300 - MOST} more" in message
    assert "blocks.7.weight has shape [3] instead of [2]" in message
