"""Stage rebase: an extension that quantises A z instead of a VQ encoder's latents z.

The encoder, the decoder and A are fixed; only one codebook a position is fitted, by k-means.
"""

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from nextbasis.basis.brought import source_hash
from nextbasis.basis.registry import find, is_brought, names
from nextbasis.basis.start import start
from nextbasis.config import BasisConfig, RebaseStage, section
from nextbasis.config.checks import choose
from nextbasis.data.arrays import Dataset, batches
from nextbasis.stages import run
from nextbasis.support.arithmetic import distances
from nextbasis.support.files import read_json, result_folder, staged_folder, write_json
from nextbasis.support.progress import track
from nextbasis.support.provenance import device, record
from nextbasis.tokenizers.common.codes import VectorTokenizer
from nextbasis.tokenizers.common.loading import load_tokenizer, save_tokenizer
from nextbasis.tokenizers.common.rebased import RebasedTokenizer

FIT_IMAGES = 20_000  # training images, evenly spaced, that the basis and the codebooks see
KMEANS_BATCH = 2_048  # vectors a k-means step sees
KMEANS_EPOCHS = 10  # at most, over those vectors


def main(config: RebaseStage) -> None:
    """Write results/<scale>/tokenizer/<key>."""
    check(config.basis)
    data = Dataset(result_folder(config.scale, "dataset"))
    source = result_folder(config.scale, "tokenizer", config.parent)
    parent = load_tokenizer(source)
    if not isinstance(parent, VectorTokenizer):
        raise ValueError(
            f"parent must be a tokenizer of one codebook on one grid, such as of kind vq; got "
            f"'{config.parent}' ({source})"
        )
    trained = read_json(source / "index.json")
    settings = section("tokenizer", trained["tokenizer"])
    every = max(1, len(data.train_images) // FIT_IMAGES)
    tokenizer = RebasedTokenizer(parent).to(device())
    images = batches(data.train_images[::every], settings.encode_batch_size, device())
    latents = torch.cat([parent.latents(batch).cpu() for batch in images])
    basis = start(config.basis, parent.layout.grid, lambda: latents, config.seed)
    if basis is not None and basis.kind != "orthogonal":
        raise ValueError(f"basis.init={config.basis.init} must be orthogonal, it is {basis.kind}")
    weight = torch.eye(latents.shape[1]) if basis is None else basis.A.float()
    tokenizer.weight.copy_(weight)
    y = torch.einsum("kn,bnd->bkd", weight, latents)
    codebooks = fit_codebooks(y, parent.layout.codebook_size, config.seed, f"rebase {config.key}")
    tokenizer.codebooks.copy_(codebooks)
    made = source_hash(config.basis.init)
    with staged_folder(result_folder(config.scale, "tokenizer", config.key)) as folder:
        save_tokenizer(tokenizer, settings, trained["image"], folder)
        write_json(folder / "metrics.json", record(config) | made | describe(y, codebooks))


def check(basis: BasisConfig) -> None:
    """Only a fixed orthogonal A is possible here.

    Raises: ValueError naming the key.
    """
    if basis.learned:
        raise ValueError("basis.learned must be false: rebase has no loss that could train A")
    if is_brought(basis.init):  # checked once it is made
        return
    fitting = [name for name in names() if find(name).kinds == ("orthogonal",)]
    choose("basis.init", basis.init, ["identity", *fitting])


def fit_codebooks(
    y: Float[Tensor, "m n d"], codebook_size: int, seed: int, what: str
) -> Float[Tensor, "n k d"]:
    """One k-means codebook for every position.

    Raises: ValueError if there are fewer images than codes.
    """
    if len(y) < codebook_size:
        raise ValueError(f"{what}: {codebook_size} codes cannot be fitted to {len(y)} images")
    codebooks = []
    for k in track(range(y.shape[1]), total=y.shape[1], unit="codebooks", what=what):
        kmeans = MiniBatchKMeans(
            codebook_size,
            init="random",
            batch_size=KMEANS_BATCH,
            max_iter=KMEANS_EPOCHS,
            n_init=1,
            random_state=seed + k,
        )
        kmeans.fit(y[:, k].double().numpy())
        codebooks.append(torch.from_numpy(kmeans.cluster_centers_).float())
    return torch.stack(codebooks)


def describe(y: Float[Tensor, "m n d"], codebooks: Float[Tensor, "n k d"]) -> dict[str, float]:
    """Relative squared error of the quantisation, and the share of energy in the first quarter."""
    lost = 0.0
    for k, codebook in enumerate(codebooks):
        lost += distances(y[:, k], codebook).min(1).values.square().sum().item()
    energy = y.double().square().sum((0, 2)).numpy()
    quarter = float(np.sum(energy[: len(energy) // 4]) / np.sum(energy))
    return {"relative_error": lost / float(np.sum(energy)), "energy_first_quarter": quarter}


if __name__ == "__main__":
    run("rebase", main, __doc__)
