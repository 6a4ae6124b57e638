"""A parity fixture: inputs and outputs of an official model, every one to be used."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nextbasis.parity.report import TOLERANCE, Row, compare
from nextbasis.support.provenance import device
from nextbasis.support.words import listed

CONDITIONING = 10.0  # times the change of a sample when every weight is rounded differently


class Fixture:
    """The tensors of one file, which remember whether they were read, and the rows found.

    Inputs are handed out on the device that models are compared on, weights on the CPU.
    """

    def __init__(
        self, tensors: dict[str, Tensor], metadata: dict[str, str], device: torch.device
    ) -> None:
        """Take the contents of a file, on the CPU."""
        self.tensors, self.metadata, self.device = tensors, metadata, device
        self.unread = set(tensors)
        self.rows: list[Row] = []

    def __getitem__(self, name: str) -> Tensor:
        """A tensor that a comparison needs.

        Raises: ValueError if it is not there.
        """
        if name not in self.tensors:
            raise ValueError(f"the fixture has no {name}, which its other outputs need")
        return self._read(name).to(self.device)

    def _read(self, name: str) -> Tensor:
        self.unread.discard(name)
        return self.tensors[name]

    def holds(self, prefix: str) -> bool:
        """Whether any tensor's name starts so."""
        return any(name.startswith(prefix) for name in self.tensors)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose names start so, without the prefix, on the CPU: weights."""
        names = [name for name in self.tensors if name.startswith(prefix)]
        return {name.removeprefix(prefix): self._read(name) for name in names}

    def numbered(self, prefix: str) -> list[tuple[str, float]]:
        """Names that are the prefix and a number, and that number."""
        pattern = re.compile(re.escape(prefix) + r"(\d+(\.\d+)?)")
        matches = [(name, pattern.fullmatch(name)) for name in self.tensors]
        return [(name, float(match[1])) for name, match in matches if match]

    def check(
        self,
        name: str,
        ours: Tensor,
        relative: bool = False,
        absolute: float = 0.0,
        tolerance: float = TOLERANCE,
    ) -> None:
        """Compare an output with ours if the fixture holds it; options as in report.compare."""
        if name in self.tensors:
            row = compare(name, ours, self._read(name), relative, absolute, tolerance)
            self.rows.append(row)

    def check_logarithms(self, name: str, ours: Tensor, absolute: float) -> None:
        """Compare positive numbers of many orders of magnitude, by their logarithms."""
        if name in self.tensors:
            row = compare(name, ours.log(), self._read(name).log(), absolute=absolute)
            self.rows.append(row)

    def check_pixels(self, name: str, ours: Tensor, levels: float) -> None:
        """Compare images of whole grey levels, which may differ by `levels`."""
        if name in self.tensors:
            row = compare(name, ours, self._read(name), absolute=levels)
            self.rows.append(row)

    def check_sampled(self, run: str, output: str, ours: Tensor) -> None:
        """Compare what a sampling run drew: a run may multiply rounding, as the metadata tell."""
        name = f"sample.{run}.{output}"
        if name in self.tensors:
            rounding = self.told("sampling_conditioning", run)
            usual = TOLERANCE * self._read(name).abs().max().item()
            self.check(name, ours, absolute=max(usual, CONDITIONING * rounding))

    @property
    def kind(self) -> str:
        """Which model made the fixture, as its metadata say; empty where they do not."""
        if "description" in self.metadata:
            return str(self.value("description", "kind"))
        return self.metadata.get("kind", "")

    def told(self, *keys: str) -> Any:
        """A value of the description, or of the metadata themselves where there is none.

        Raises: ValueError if it is not there or not JSON.
        """
        return (
            self.value("description", *keys)
            if "description" in self.metadata
            else self.value(*keys)
        )

    def value(self, *keys: str) -> Any:
        """A value of the metadata, found by its path.

        Raises: ValueError if it is not there or not JSON.
        """
        try:
            value: Any = json.loads(self.metadata[keys[0]])
            for key in keys[1:]:
                value = value[key]
        except (KeyError, TypeError) as error:
            raise ValueError(f"the fixture's metadata lack {'.'.join(keys)}") from error
        except json.JSONDecodeError as error:
            raise ValueError(f"the fixture's metadata {keys[0]} is not JSON ({error})") from error
        return value

    def finish(self) -> list[Row]:
        """The rows.

        Raises: ValueError if the fixture holds tensors that nothing here knows, or no output.
        """
        if self.unread:
            raise ValueError(
                f"the fixture holds outputs that are not known here: {listed(sorted(self.unread))}"
            )
        if not self.rows:
            raise ValueError("the fixture holds no outputs")
        return self.rows


def open_fixture(path: Path) -> Fixture:
    """Read a fixture, to be compared on the first GPU where there is one, else the CPU.

    Raises: FileNotFoundError; ValueError if it is damaged or has no metadata.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no fixture {path}")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error})") from error
    if not metadata:
        raise ValueError(f"{path} has no metadata, which would say what it holds")
    return Fixture(tensors, metadata, device())
