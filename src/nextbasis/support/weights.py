"""Read weights from a file without running any code that it may hold, and check them by name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nextbasis.support import pickles
from nextbasis.support.sections import Origin, choose_weights
from nextbasis.support.words import listed

# Files that stand where weights should, by how they begin.
IMPOSTORS = {
    b"\x1f\x8b": "compressed by gzip; `gunzip` it first",
    b"BZh": "compressed by bzip2; `bunzip2` it first",
    b"\xfd7zXZ": "compressed by xz; `unxz` it first",
    b"version https://git-lfs": "a pointer of Git LFS; `git lfs pull` fetches the file itself",
    b"<": "a page of the web, perhaps one to sign in at; download the file itself",
    b"{": "JSON text; name the file of weights",
}
TAR = (b"ustar", 257)  # what stands in a tar archive, and where
PART = re.compile(r"-\d+-of-(\d+)\.")  # in the name of one of several files
Shapes = Mapping[str, tuple[int, ...]]


def read_checkpoint(path: Path, section: str = "") -> tuple[dict[str, Tensor], Origin]:
    """The weights of a file, averaged ones where there are some, and which they are.

    Of a PyTorch file `section` names others. A safetensors file is known by its name or content.

    Raises: FileNotFoundError; ValueError if the file is damaged, would run code, or holds no
    weights.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the file of weights: {_files(path)}")
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    with path.open("rb") as stream:
        start = stream.read(TAR[1] + len(TAR[0]))
    for beginning, what in IMPOSTORS.items():
        if start.lstrip().startswith(beginning):
            raise ValueError(f"{path} is {what}")
    if start.endswith(TAR[0]):
        raise ValueError(f"{path} is a tar archive; unpack it and name the file of weights in it")
    if (part := PART.search(path.name)) and int(part[1]) > 1:
        raise ValueError(
            f"{path} is one of {int(part[1])} files that hold the weights together; put all of "
            "them into one safetensors file first"
        )
    is_zip_or_pickle = start.startswith((b"PK", b"\x80"))
    if start[8:9] == b"{" or path.suffix.lower() == ".safetensors" and not is_zip_or_pickle:
        content: Any = _read_safetensors(path)
    else:
        content = pickles.read(path)
    try:
        return choose_weights(content, section)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def check_shapes(found: Shapes, wanted: Shapes) -> None:
    """Nothing if names and shapes are those wanted.

    Raises: ValueError naming the tensors that are missing, unexpected or wrongly shaped.
    """
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} has shape {list(found[name])} instead of {list(shape)}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ],
    }
    if count := sum(map(len, problems.values())):
        texts = [f"{what}: {listed(names)}" for what, names in problems.items() if names]
        raise ValueError(f"{count} tensors do not fit: {listed(texts, '; ')}")


def put_weights(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Let a network have these weights.

    Raises: ValueError naming the tensors that do not fit.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, wanted)
    network.load_state_dict(tensors)


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers, each tensor in memory of its own, as files of safetensors want them.

    Tied weights share theirs, as do views of one buffer.
    """
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        found[name] = tensor
    return found


def check_floats(tensors: Mapping[str, Tensor]) -> None:
    """Nothing if all are floating-point numbers, each of them finite.

    Raises: ValueError naming the tensors that are not.
    """
    if other := [name for name, tensor in tensors.items() if not tensor.is_floating_point()]:
        raise ValueError(f"tensors that are not floating-point numbers: {listed(other)}")
    check_finite(tensors)


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Nothing if all numbers are finite.

    Raises: ValueError naming the tensors that hold others.
    """
    if wrong := [name for name, tensor in tensors.items() if not _is_finite(tensor)]:
        raise ValueError(
            f"{len(wrong)} of {len(tensors)} tensors hold numbers that are not finite (NaN or "
            f"infinite), as of a training that diverged: {listed(wrong)}"
        )


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; torch cannot tell of those of 8 bits."""
    return bool((tensor.float() if tensor.element_size() == 1 else tensor).isfinite().all())


def _files(folder: Path) -> str:
    return listed(sorted(path.name for path in folder.iterdir() if path.is_file())) or "it has none"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error})") from error
