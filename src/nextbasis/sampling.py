"""A trained model and its tokenizer, ready to make images."""

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from nextbasis.config import SampleStage
from nextbasis.data.arrays import Dataset
from nextbasis.data.pictures import to_uint8
from nextbasis.data.texts import Texts, load_texts
from nextbasis.families.common.checkpoint import load_generator
from nextbasis.families.common.execution import compile_blocks, precision
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.files import result_folder
from nextbasis.provenance import device
from nextbasis.tokenizers import load_tokenizer


class Sampler:
    """A trained generator and its tokenizer, ready to make images."""

    def __init__(self, config: SampleStage) -> None:
        """Load both; a model that reads captions gets those of the dataset.

        Raises: FileNotFoundError or ValueError naming the file or key.
        """
        self.config, self.device = config, device()
        folder = result_folder(config.scale, "train", config.run)
        generator, trained = load_generator(folder)
        family = trained["model"]["family"]
        if family != config.sampler.family:
            raise ValueError(f"sampler.family={config.sampler.family} cannot sample a {family}")
        self.generator: Generator = generator.to(self.device)
        if config.sampler.compile:
            compile_blocks(self.generator.backbone)
        tokenizer = result_folder(config.scale, "tokenizer", trained["tokens"])
        self.tokenizer = load_tokenizer(tokenizer).to(self.device).eval()
        self.classes: Int64[np.ndarray, " c"] = np.arange(trained["spec"]["num_classes"])
        self.texts: Texts | None = None
        if captions := trained.get("captions"):
            self.texts = load_texts(result_folder(config.scale, "text", captions))
            self.generator.attach(self.texts)
            self.classes = np.sort(Dataset(result_folder(config.scale, "dataset")).test_labels)

    def labels(self) -> Int64[np.ndarray, " n"]:
        """The class of every image, sorted; of captions, those of the test images.

        Raises: ValueError if the images cannot be shared equally.
        """
        per_class, rest = divmod(self.config.sampler.num_images, len(self.classes))
        if rest or not per_class:
            raise ValueError(
                f"sampler.num_images must be a multiple of the {len(self.classes)} "
                f"{'classes' if self.texts is None else 'captions of test images'}, "
                f"got {self.config.sampler.num_images}"
            )
        return np.repeat(self.classes, per_class)

    @torch.no_grad()
    def images(
        self, indices: range, labels: Int64[np.ndarray, " b"]
    ) -> UInt8[np.ndarray, "b h w c"]:
        """The images with these indices.

        Raises: ValueError naming the first index whose tokens or pixels are not finite.
        """
        noise = ImageNoise(self.config.seed, indices, self.device)
        classes = torch.from_numpy(labels).to(self.device)
        with precision(self.config.sampler.precision, self.device):
            tokens = self.generator.sample(classes, noise, self.config.sampler)
        decoded = self.tokenizer.decode(tokens)
        finite = decoded.isfinite().flatten(1).all(1)
        if not finite.all():
            first = indices[int((~finite).nonzero()[0])]
            raise ValueError(f"image {first} of {self.config.key} is not finite: training diverged")
        return to_uint8(decoded, self.config.sampler.rounding).transpose(0, 2, 3, 1)
