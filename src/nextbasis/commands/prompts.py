"""`nextbasis prompts`: images of prompts from outside, laid out as GenEval's program reads them.

For prompt i of the file, OUT/0000i holds metadata.jsonl, its line of the file, and
samples/0000.png and on (djghosh13/geneval).
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextbasis.commands.arguments import add_scale, read_path
from nextbasis.commands.report import print_report
from nextbasis.pipeline.catalog import evaluation_of, load_catalog
from nextbasis.pipeline.stagelist import load_stages, stage_name
from nextbasis.support.files import read_json_lines, staged_folder

if TYPE_CHECKING:
    import numpy as np

    from nextbasis.config import SampleStage
    from nextbasis.data.texts import Texts
    from nextbasis.stages.sample import Sampler

EXAMPLE = "nextbasis prompts mar_l_text_bar evaluation_metadata.jsonl images/"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "prompts",
        help="images of prompts from a file, laid out as GenEval's program reads them",
        description="Sample images of every prompt with an evaluation's model and sampler. OUT "
        "gets a folder of each prompt with metadata.jsonl and samples/0000.png and on; prompts "
        "whose folder is there are left out; folders of other prompts or of another number of "
        "images are refused.",
        epilog=f"Example: {EXAMPLE}",
    )
    command.add_argument("key", metavar="EVALUATION", help="an entry of evals in the catalog")
    command.add_argument(
        "file", metavar="FILE", type=read_path, help="one JSON object a line, each with a prompt"
    )
    command.add_argument(
        "out", metavar="OUT", type=read_path, help="folder to make or to go on with"
    )
    command.add_argument("--images", type=int, default=4, help="of each (4: GenEval's)")
    add_scale(command, "t2i")
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Write the images and print how many."""
    print_report(sample_prompts(given.scale, given.key, given.file, given.out, given.images))
    return 0


def sample_prompts(scale: str, key: str, file: Path, out: Path, count: int) -> dict[str, str]:
    """Write `count` images of every prompt, by the sampler of an evaluation; what to print.

    Prompts whose folder is there are left out, so a killed command goes on; image j of prompt i
    depends on the evaluation's seed, i and j alone.

    Raises: FileNotFoundError or ValueError naming file, line or key, or the folder of another
    prompt or of another number of images.
    """
    from nextbasis.config import section
    from nextbasis.stages.sample import Sampler
    from nextbasis.support.progress import Progress
    from nextbasis.text import encode

    lines = read_prompts(file)
    if count < 1:
        raise ValueError(f"--images must be above 0, got {count}")
    check_made(out, lines, count)
    sampler = Sampler(_evaluation(scale, key))
    if sampler.texts is None:
        raise ValueError(f"evaluation {key} is of a model that was trained on classes, not text")
    captions = sampler.texts.index  # how the model's captions became tokens
    prompts = [line["prompt"] for line in lines]
    texts = encode(prompts, section("text", captions["text"]), captions["vocabulary"])
    progress = Progress(len(lines) * count, "images", f"prompts {key}")
    for number, line in enumerate(lines):
        folder = out / f"{number:05}"
        if not folder.exists():
            _write(folder, line, _images(sampler, texts, number, count))
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
    for number, line in read_json_lines(file):
        if not isinstance(line, dict) or not isinstance(line.get("prompt"), str):
            raise ValueError(f"{file}: line {number} has no text under 'prompt'")
        lines.append(line)
    if not lines:
        raise ValueError(f"{file} holds no prompt")
    return lines


def check_made(out: Path, lines: list[dict[str, Any]], count: int) -> None:
    """Nothing if the folders that are there are of these prompts, with `count` images each.

    Raises: ValueError naming one that is not.
    """
    for folder in sorted(out.glob("[0-9]" * 5)):
        if int(folder.name) >= len(lines):
            raise ValueError(f"{folder} is of no prompt: there are {len(lines)}; name another OUT")
        line, path = lines[int(folder.name)], folder / "metadata.jsonl"
        made = [each for _, each in read_json_lines(path)] if path.is_file() else []
        if made != [line]:
            raise ValueError(f"{path} is not of the prompt '{line['prompt']}'; name another OUT")
        if (found := len(list(folder.glob("samples/*.png")))) != count:
            raise ValueError(
                f"{folder} holds {found} images and --images is {count}; name another OUT"
            )


def _evaluation(scale: str, key: str) -> "SampleStage":
    """What the sample stage of an evaluation is told."""
    from nextbasis.config import SampleStage, compose

    catalog = load_catalog()
    evaluation_of(catalog, scale, key)
    name = stage_name("sample", scale, key)
    stage = next(stage for stage in load_stages(catalog, only=[scale]) if stage.name == name)
    config = compose("sample", stage.arguments)
    assert isinstance(config, SampleStage)
    return config


def _images(sampler: "Sampler", texts: "Texts", number: int, count: int) -> "list[np.ndarray]":
    """The images of one prompt, which is the model's only caption meanwhile."""
    import numpy as np

    from nextbasis.data.texts import Texts

    one = slice(number, number + 1)
    sampler.generator.attach(Texts(texts.tokens[one], texts.lengths[one], texts.index))
    size, start = sampler.config.sampler.batch_size, number * count
    found = []
    for first in range(start, start + count, size):
        indices = range(first, min(first + size, start + count))
        found += list(sampler.images(indices, np.zeros(len(indices), np.int64)))
    return found


def _write(folder: Path, line: dict[str, Any], images: "list[np.ndarray]") -> None:
    """Write the folder of one prompt, whole or not at all."""
    from PIL import Image

    with staged_folder(folder) as temporary:
        (temporary / "metadata.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
        (temporary / "samples").mkdir()
        for index, image in enumerate(images):
            shown = image[..., 0] if image.shape[-1] == 1 else image
            Image.fromarray(shown).save(temporary / "samples" / f"{index:04}.png")
