"""`nextbasis prompts`: images of prompts from outside, laid out as GenEval's program reads them.

For prompt i of the file, OUT/0000i holds metadata.jsonl, its line of the file, and
samples/0000.png and on (djghosh13/geneval).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nextbasis.config import SampleStage, compose, section
from nextbasis.data.texts import Texts
from nextbasis.files import staged_folder
from nextbasis.progress import Progress
from nextbasis.sampling import Sampler
from nextbasis.stagelist import load_stages
from nextbasis.tables.inputs import evaluation_of, load_catalog
from nextbasis.text import encode


def sample_prompts(scale: str, key: str, file: Path, out: Path, count: int) -> dict[str, str]:
    """Write `count` images of every prompt, by the sampler of an evaluation; what to print.

    Prompts whose folder is there are left out, so a killed command goes on; image j of prompt i
    depends on the evaluation's seed, i and j alone.

    Raises: FileNotFoundError or ValueError naming file, line or key.
    """
    lines = read_prompts(file)
    if count < 1:
        raise ValueError(f"--images must be above 0, got {count}")
    sampler = Sampler(_evaluation(scale, key))
    if sampler.texts is None:
        raise ValueError(f"evaluation {key} is of a model that was trained on classes, not text")
    texts = _encoded([line["prompt"] for line in lines], sampler.texts)
    progress = Progress(len(lines) * count, "images", f"prompts {key}")
    for number, line in enumerate(lines):
        folder = out / f"{number:05}"
        if not folder.exists():
            images = _images(sampler, texts, number, count)
            with staged_folder(folder) as temporary:
                (temporary / "metadata.jsonl").write_text(json.dumps(line) + "\n")
                (temporary / "samples").mkdir()
                for index, image in enumerate(images):
                    shown = image[..., 0] if image.shape[-1] == 1 else image
                    Image.fromarray(shown).save(temporary / "samples" / f"{index:04}.png")
        progress.update(count)
    progress.close()
    return {"written": str(out), "prompts": str(len(lines)), "images of each": str(count)}


def read_prompts(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON objects that have a `prompt`, such as GenEval's metadata.

    Raises: FileNotFoundError; ValueError naming file and line.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file} with one JSON object a line, each with a prompt")
    lines = []
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{file}: line {number} is no JSON ({error})") from error
        if not isinstance(line, dict) or not isinstance(line.get("prompt"), str):
            raise ValueError(f"{file}: line {number} has no text under 'prompt'")
        lines.append(line)
    if not lines:
        raise ValueError(f"{file} holds no prompt")
    return lines


def _evaluation(scale: str, key: str) -> SampleStage:
    """What the sample stage of an evaluation is told."""
    catalog = load_catalog()
    evaluation_of(catalog, scale, key)
    name = f"sample-{scale}@{key}"
    stage = next(stage for stage in load_stages(catalog) if stage.name == name)
    config = compose("sample", stage.arguments)
    assert isinstance(config, SampleStage)
    return config


def _encoded(prompts: list[str], texts: Texts) -> Texts:
    """Prompts as the model's captions were made."""
    return encode(prompts, section("text", texts.index["text"]), texts.index["vocabulary"])


def _images(sampler: Sampler, texts: Texts, number: int, count: int) -> list[np.ndarray]:
    """The images of one prompt, which is the model's only caption meanwhile."""
    one = slice(number, number + 1)
    sampler.generator.attach(Texts(texts.tokens[one], texts.lengths[one], texts.index))
    size, start = sampler.config.sampler.batch_size, number * count
    found: list[np.ndarray] = []
    for first in range(start, start + count, size):
        indices = range(first, min(first + size, start + count))
        found += list(sampler.images(indices, np.zeros(len(indices), np.int64)))
    return found
