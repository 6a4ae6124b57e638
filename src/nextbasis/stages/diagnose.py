"""What a trained run's basis does: results/<scale>/diagnose/<key>.

Numbers (metrics.json), images decoded from their first coefficients (grid.png) and what each
coefficient adds to an image (rows.png), all from the averaged weights and the tokens of evenly
spaced training images, without the posterior's noise.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from nextbasis.basis.statistics import principal_axes, second_moment
from nextbasis.config import DiagnoseStage
from nextbasis.data.pictures import to_uint8
from nextbasis.data.sheets import save_sheet
from nextbasis.data.tokens import TokenCache
from nextbasis.families.common.checkpoint import CONFIG, load_generator
from nextbasis.scoring import profiles
from nextbasis.stages import check_trained, run
from nextbasis.support.arithmetic import root
from nextbasis.support.files import result_folder, staged_folder, write_json
from nextbasis.support.provenance import device, record
from nextbasis.tokenizers.common.loading import load_tokenizer
from nextbasis.tokenizers.common.tokenizer import Tokenizer

SHOWN_IMAGES = 8  # rows of grid.png
SHOWN_ROWS = 64  # of A, in rows.png
ROW_COLUMNS = 8
BATCH = 16  # images decoded together
GREY_LEVELS = 127.5  # of a byte, per unit of a pixel in [-1, 1]


class Diagnosis:
    """A trained basis, the tokens it was trained on and their decoder."""

    def __init__(self, config: DiagnoseStage) -> None:
        """Load all three.

        Raises: FileNotFoundError or ValueError naming the file or key.
        """
        folder = result_folder(config.scale, "train", config.run)
        generator, trained = load_generator(folder)
        if generator.basis is None:
            kind = trained["spec"]["kind"]
            raise ValueError(f"run={config.run} models {kind}, which have no basis to diagnose")
        check_trained(folder / CONFIG, trained)
        if config.num_images < 1:
            raise ValueError(f"num_images must be above 0, got {config.num_images}")
        self.config, self.order = config, generator.host_order
        self.a = generator.basis.matrix().detach()  # (m, n), columns in the host's order
        self.s = generator.basis.decode_matrix()
        cache = TokenCache(result_folder(config.scale, "tokens", trained["tokens"]))
        every = max(1, len(cache.labels) // config.num_images)
        self.x = cache.expected(every)[:, self.order]  # (images, n, channels)
        self.labels = np.asarray(cache.labels[::every])
        folder = result_folder(config.scale, "tokenizer", trained["tokens"])
        self.tokenizer: Tokenizer = load_tokenizer(folder).to(device()).eval()

    @torch.inference_mode()
    def decode(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images of tokens in the host's order."""
        raster = torch.empty_like(x).index_copy_(1, self.order, x)
        parts = raster.to(device()).split(BATCH)
        return torch.cat([self.tokenizer.decode(part) for part in parts]).cpu()


def measure(a: Float[Tensor, "m n"], x: Float[Tensor, "i n d"]) -> dict[str, Any]:
    """The numbers of metrics.json; mean squares are means over images and channels."""
    tokens = second_moment(x) / x.shape[2]
    axes = principal_axes(tokens)
    moment = profiles.coefficient_moment(a, tokens)
    shares = profiles.energy_shares(moment)
    identity = profiles.energy_shares(tokens)
    klt = profiles.energy_shares(profiles.coefficient_moment(axes, tokens))
    participation = profiles.participation_ratio(a)
    lengths = profiles.prefix_lengths(min(a.shape))
    quarter = max(1, len(a) // 4)
    return {
        "num_images": len(x),
        "num_rows": len(a),
        "num_tokens": a.shape[1],
        "energy_first_quarter": shares[:quarter].sum().item(),
        "mean_energy_index": profiles.mean_energy_index(shares),
        "mean_participation_ratio": participation.mean().item(),
        "cumulative_energy": shares.cumsum(0).tolist(),
        "cumulative_energy_identity": identity.cumsum(0).tolist(),
        "cumulative_energy_klt": klt.cumsum(0).tolist(),
        "variance": moment.diagonal().tolist(),
        "conditional_variance": profiles.conditional_variance(moment).tolist(),
        "participation_ratio": participation.tolist(),
        "klt_overlap": profiles.klt_overlap(a, tokens, lengths).tolist(),
        "klt_overlap_rows": lengths,
    }


def prefixes(
    a: Float[Tensor, "m n"],
    s: Float[Tensor, "n m"],
    x: Float[Tensor, "i n d"],
    lengths: list[int],
) -> Float[Tensor, "i k n d"]:
    """Tokens from the first coefficients alone, the others zero: S M_k A x for every length k."""
    kept = torch.stack([s[:, :length] @ a[:length] for length in lengths])
    return torch.einsum("knp,ipd->iknd", kept, x)


def contributions(
    a: Float[Tensor, "m n"], s: Float[Tensor, "n m"], x: Float[Tensor, "i n d"]
) -> Float[Tensor, "m n d"]:
    """The tokens S e_l u that one coefficient adds, one root mean square from zero.

    A coefficient has d channels: u is the direction in which it varies most over the images, as
    long as it varies there; its largest entry is positive.
    """
    y = torch.einsum("mn,ind->mid", a, x)
    moments = (y.mT @ y / len(x)).double()  # (m, d, d)
    axes = torch.stack([principal_axes(moment)[0] for moment in moments])
    energies = torch.einsum("md,mde,me->m", axes, moments, axes).clamp(min=0)
    u = (axes * root(energies)[:, None]).to(s)
    return torch.einsum("nm,md->mnd", s, u)


def first_of_classes(labels: Int[np.ndarray, " n"], count: int) -> Int64[np.ndarray, " m"]:
    """Positions of the first image of each class, then of the second ones, at most `count`."""
    by_class = np.argsort(labels, kind="stable")
    ordered = labels[by_class]
    turn = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return by_class[np.argsort(turn, kind="stable")][:count]


def prefix_pictures(
    diagnosis: Diagnosis,
) -> tuple[UInt8[np.ndarray, "b h w c"], list[str], int]:
    """Pictures of grid.png in rows, their captions and the number of columns."""
    first = first_of_classes(diagnosis.labels, SHOWN_IMAGES)
    x = diagnosis.x[torch.from_numpy(first)]
    lengths = profiles.prefix_lengths(len(diagnosis.a))
    tokens = torch.cat([prefixes(diagnosis.a, diagnosis.s, x, lengths), x[:, None]], dim=1)
    columns = len(lengths) + 1
    captions = [f"first {length}" for length in lengths] + ["all tokens"]
    captions += [""] * (columns * (len(x) - 1))
    return _bytes(diagnosis.decode(tokens.flatten(0, 1))), captions, columns


def row_pictures(diagnosis: Diagnosis) -> tuple[UInt8[np.ndarray, "b h w c"], list[str]]:
    """Pictures of rows.png, each scaled to its own range, and captions that say which."""
    added = contributions(diagnosis.a, diagnosis.s, diagnosis.x)[:SHOWN_ROWS]
    difference = diagnosis.decode(added) - diagnosis.decode(torch.zeros_like(added[:1]))
    limits = difference.abs().amax((1, 2, 3))
    scaled = difference / torch.where(limits > 0, limits, 1.0)[:, None, None, None]
    levels = (limits * GREY_LEVELS).tolist()
    captions = [f"{row}: ±{level:.3g}" for row, level in enumerate(levels, start=1)]
    return _bytes(scaled), captions


def _bytes(images: Float[Tensor, "b c h w"]) -> UInt8[np.ndarray, "b h w c"]:
    return to_uint8(images, "round").transpose(0, 2, 3, 1)


def main(config: DiagnoseStage) -> None:
    """Measure, and write numbers and pictures."""
    diagnosis = Diagnosis(config)
    measured = measure(diagnosis.a, diagnosis.x)
    count = len(diagnosis.a)
    prefix, prefix_captions, columns = prefix_pictures(diagnosis)
    rows, row_captions = row_pictures(diagnosis)
    with staged_folder(result_folder(config.scale, "diagnose", config.key)) as folder:
        title = f"{config.run}: images from the first of {count} coefficients, the others zero"
        save_sheet(prefix, prefix_captions, columns, title, folder / "grid.png")
        title = f"{config.run}: what each coefficient adds at its RMS (row: ± grey levels of 255)"
        save_sheet(rows, row_captions, ROW_COLUMNS, title, folder / "rows.png")
        write_json(folder / "metrics.json", record(config) | {"run": config.run} | measured)


if __name__ == "__main__":
    run("diagnose", main, __doc__)
