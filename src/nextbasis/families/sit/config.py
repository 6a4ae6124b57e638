"""What SiT's model and sampler are told; with a teacher the model is REPA's."""

from dataclasses import dataclass

from nextbasis.config.checks import choose, fraction, positive
from nextbasis.families.common.dit_config import LatentSamplerConfig, LatentTransformerConfig

ENDS = ("data", "noise")
SOLVERS = ("euler", "heun", "euler_maruyama")
TEACHERS = ("masked", "random", "tokens")


@dataclass(kw_only=True)
class SiTConfig(LatentTransformerConfig):
    """SiT: velocities of straight paths (Ma et al. 2024); aligned: REPA (Yu et al. 2025)."""

    time_one: str  # what is at the network's time 1: data (SiT) or noise (REPA)
    learn_sigma: bool  # twice the outputs, of which the second half says nothing (SiT as released)
    align_weight: float = 0.0  # of the alignment with the teachers' features, in the loss
    align_depth: int = 0  # the block, counted from 1, whose output is aligned
    align_hidden: int = 0  # width inside a projector
    # masked (learned here without labels), random, or tokens (the tokens as such). The papers'
    # DINOv2 is not shipped.
    teacher: str = "masked"
    # Numbers of each teacher's features, such as 32 or 768,1024; empty: SiT.
    teacher_widths: str = ""

    def __post_init__(self) -> None:
        """Check the alignment and the choices."""
        super().__post_init__()
        choose("model.time_one", self.time_one, ENDS)
        choose("model.teacher", self.teacher, TEACHERS)
        if self.align_weight < 0:
            raise ValueError(f"model.align_weight must not be negative, got {self.align_weight}")
        if not self.widths:
            if self.align_weight:
                raise ValueError(
                    f"model.align_weight={self.align_weight} needs features to align with: set "
                    "model.teacher_widths, such as 32"
                )
            return
        positive("model", self, "align_hidden")
        if not 1 <= self.align_depth <= self.depth:
            raise ValueError(
                f"model.align_depth must lie in [1, {self.depth}], the blocks, "
                f"got {self.align_depth}"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of each teacher's features; none of a model that is not aligned.

        Raises: ValueError if the key is no list of numbers above 0.
        """
        parts = [part.strip() for part in self.teacher_widths.split(",")] * bool(
            self.teacher_widths
        )
        if not all(part.isdecimal() and int(part) for part in parts):
            raise ValueError(
                "model.teacher_widths must be numbers above 0 with commas between them, such as "
                f"768,1024, got '{self.teacher_widths}'"
            )
        return tuple(int(part) for part in parts)


@dataclass(kw_only=True)
class SiTSamplerConfig(LatentSamplerConfig):
    """SiT: an ODE or an SDE from noise to data, guided at some noise levels only."""

    solver: str  # euler, heun or euler_maruyama
    num_steps: int  # steps of the solver from noise to data
    guidance_low: float  # noise level from which there is guidance; 0 = data
    guidance_high: float  # noise level up to which there is guidance; 1 = noise

    def __post_init__(self) -> None:
        """Check choice and ranges."""
        super().__post_init__()
        choose("sampler.solver", self.solver, SOLVERS)
        if self.num_steps < 2:
            raise ValueError(f"sampler.num_steps must be at least 2, got {self.num_steps}")
        fraction("sampler", self, "guidance_low", "guidance_high")
        if self.guidance_low > self.guidance_high:
            raise ValueError(
                f"sampler.guidance_low must not exceed sampler.guidance_high, "
                f"got {self.guidance_low} and {self.guidance_high}"
            )


MODEL, SAMPLER = SiTConfig, SiTSamplerConfig
