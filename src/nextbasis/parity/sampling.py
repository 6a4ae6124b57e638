"""What comparisons of samplers share: their settings, recorded numbers, and how ids are drawn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor

from nextbasis.families.common.noise import ImageNoise

Draw = Callable[[Tensor, float, Tensor], Tensor]  # ids of logits, temperature, uniform numbers
# What samplers are told that no compared number depends on; images are not even rounded.
SAMPLER: dict[str, Any] = {
    "num_images": 1,
    "batch_size": 1,
    "latency_images": 1,
    "rounding": "round",
    "precision": "float32",
    "compile": False,
}


class RecordedUniform(ImageNoise):
    """Replays a fixture's uniform numbers, those of all images and tokens at once."""

    def __init__(self, numbers: Float[Tensor, "b n"]) -> None:
        """They are handed out as they are, whatever is asked for."""
        self.numbers = numbers

    def uniform(self, *shape: int) -> Float[Tensor, "b n"]:
        """The fixture's numbers."""
        return self.numbers


def greedy(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """The likeliest id."""
    return logits.argmax(-1)


@contextmanager
def recording(model: Any, draw: Draw, batch: int) -> Iterator[list[Float[Tensor, "b m v"]]]:
    """Let the module of a model draw ids with `draw`; collect logits / temperature, step by step.

    A step draws m ids of each of `batch` images.
    """
    steps: list[Tensor] = []

    def recorded(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
        steps.append((logits / temperature).unflatten(0, (batch, -1)))
        return draw(logits, temperature, uniform)

    original = model.draw
    model.draw = recorded
    try:
        yield steps
    finally:
        model.draw = original
