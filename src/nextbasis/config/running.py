"""How long and how: training budgets and samplers."""

from dataclasses import dataclass

from nextbasis.config.checks import choose, fraction, positive

ROUNDINGS = ("round", "truncate")  # of pixels to bytes: MAR's and xAR's code, RAR's
PARALLELS = ("ddp", "fsdp")  # torch's DistributedDataParallel, its fully_shard
OPTIMIZERS = ("adamw", "adan")
DECAYS = ("cosine", "linear")  # how the rate falls
PRECISIONS = ("float32", "bfloat16")  # of matrix products; weights and losses are float32


@dataclass(kw_only=True)
class TrainConfig:
    """Budget and optimiser of one training."""

    steps: int  # of the optimiser
    batch_size: int  # images of a step, over all processes
    lr: float  # largest learning rate
    warmup: float  # fraction of the steps with linearly rising rate
    decay_start: float  # fraction of the steps after which the rate falls
    min_lr: float  # learning rate of the last step
    weight_decay: float  # of the weights that the official recipe decays, at the first step
    beta1: float  # decay of the mean of gradients
    beta2: float  # decay of the mean of squared gradients
    clip: float  # largest norm of the gradient; 0 = any
    ema_decay: float  # of the average of the weights that is sampled; 0 = the weights themselves
    log_every: int  # steps between rows of metrics.csv
    checkpoint_minutes: float  # between resumable states; 0 = after every step. SIGTERM saves one
    nan_budget: int  # steps that may be left out because their loss or gradient is not finite
    parallel: str  # what several processes hold: ddp (copies) or fsdp (shards)
    # Of matrix products: float32, or bfloat16 under autocast; weights, losses and A are float32.
    precision: str
    # Compute the activations of a block again in the backward pass: less memory, more time, the
    # same gradients to the bit.
    recompute: bool
    # The blocks of the model, by torch.compile, which needs a C++ compiler; results differ by
    # rounding and in dropout's numbers.
    compile: bool
    optimizer: str = "adamw"  # adamw (torch's) or adan
    beta3: float | None = None  # of adan alone: what its average of squares keeps in a step
    decay: str = "cosine"  # how the rate falls: half a cosine, or linear
    warmup_start: float = 0.0  # share of the rate that warm-up begins with
    # Weight decay of the last step, to which it moves as half a cosine; null: it stays.
    weight_decay_end: float | None = None
    images: int | None = None  # so many of the training set, of each class its share; none: all

    def __post_init__(self) -> None:
        """Check ranges."""
        positive("train", self, "steps", "batch_size", "lr", "log_every")
        if self.images is not None:
            positive("train", self, "images")
        for name in ("clip", "checkpoint_minutes", "nan_budget"):
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} must not be negative, got {getattr(self, name)}")
        choose("train.parallel", self.parallel, PARALLELS)
        choose("train.optimizer", self.optimizer, OPTIMIZERS)
        choose("train.decay", self.decay, DECAYS)
        fraction("train", self, "warmup", "warmup_start", "decay_start")
        fraction("train", self, "ema_decay", "beta1", "beta2")
        self._check_beta3()
        choose("train.precision", self.precision, PRECISIONS)

    def _check_beta3(self) -> None:
        if self.optimizer == "adan":
            if self.beta3 is None:
                raise ValueError("train.optimizer=adan needs train.beta3, between 0 and 1")
            fraction("train", self, "beta3")
        elif self.beta3 is not None:
            raise ValueError(
                f"train.beta3 is of train.optimizer=adan alone, got {self.beta3} with "
                f"{self.optimizer}"
            )


@dataclass(kw_only=True)
class SamplerBase:
    """What every sampler is told."""

    family: str  # of the model that is sampled
    num_images: int  # the same number of every class, or of every caption of a test image
    batch_size: int  # images sampled together; the batch of the measured throughput
    latency_images: int  # images sampled one by one to measure seconds per image
    guidance: float  # classifier-free guidance at full strength; 1 = off
    rounding: str  # of pixels to bytes: round or truncate, as the official evaluations do
    precision: str  # of matrix products in the model, not the tokenizer: float32 or bfloat16
    compile: bool  # the blocks of the model, by torch.compile

    def __post_init__(self) -> None:
        """Check ranges."""
        positive("sampler", self, "num_images", "batch_size", "latency_images")
        if self.guidance < 1:
            raise ValueError(f"sampler.guidance must be at least 1 (off), got {self.guidance}")
        choose("sampler.precision", self.precision, PRECISIONS)
        choose("sampler.rounding", self.rounding, ROUNDINGS)
