"""One row of facts a metric: all that tables, claims, differences and model cards know about it.

To add a metric: a function whose result the score stage writes to score.json, and a row here.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What there is to know about one metric."""

    name: str  # in tables, claims and published.csv
    label: str
    arrow: Literal["↓", "↑", ""]  # which way is better, if one is
    paper: str  # that defines it, if one does
    code: str  # that computes it
    stage: Literal["score", "geneval", "sample", "train", "heldout"] = (
        "score"  # whose result holds it
    )
    key: str = ""  # in that result; empty: the name
    optional: bool = False  # some results of the stage lack it
    digits: int | None = None  # after the point, of a measured number; None: three significant
    published_digits: int | None = None  # the same of a number that a paper prints
    error: str = ""  # key of its standard error due to the number of images; empty: unknown
    varies: Literal["training", "machine", "never"] = "training"  # why seeds differ
    few_images: Literal["raise", "shift", ""] = ""  # what fewer images do to its expectation
    negative: bool = False  # it can be, so that ratios mean nothing
    claims: bool = False  # claims may compare it

    @property
    def heading(self) -> str:
        """Label and better direction, as a column is headed."""
        return f"{self.label} {self.arrow}".strip()


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="fid",
            label="FID",
            arrow="↓",
            paper="Heusel et al. 2017",
            code="nextbasis.scoring.frechet.frechet_distance",
            digits=2,
            published_digits=2,
            error="fid_se",
            few_images="raise",
            claims=True,
        ),
        Metric(
            name="sfid",
            label="sFID",
            arrow="↓",
            paper="Nash et al. 2021",
            code="nextbasis.scoring.frechet.frechet_distance",
            optional=True,
            digits=2,
            published_digits=2,
            few_images="raise",
            claims=True,
        ),
        Metric(
            name="kid",
            label="KID",
            arrow="↓",
            paper="Bińkowski et al. 2018",
            code="nextbasis.scoring.quality.kernel_distance",
            optional=True,
            digits=5,
            published_digits=5,
            negative=True,  # unbiased: about 0, on both sides, where nothing differs
            claims=True,
        ),
        Metric(
            name="is_mean",
            label="IS",
            arrow="↑",
            paper="Salimans et al. 2016",
            code="nextbasis.scoring.statistics.RunningInception",
            digits=2,
            published_digits=1,
            few_images="shift",
            claims=True,
        ),
        Metric(
            name="precision",
            label="precision",
            arrow="↑",
            paper="Kynkäänniemi et al. 2019",
            code="nextbasis.scoring.quality.precision_and_recall",
            digits=3,
            published_digits=2,
            few_images="shift",
            claims=True,
        ),
        Metric(
            name="recall",
            label="recall",
            arrow="↑",
            paper="Kynkäänniemi et al. 2019",
            code="nextbasis.scoring.quality.precision_and_recall",
            digits=3,
            published_digits=2,
            few_images="shift",
            claims=True,
        ),
        Metric(
            name="accuracy",
            label="accuracy",
            arrow="↑",
            paper="",
            code="nextbasis.scoring.score.measure",
            optional=True,
            digits=3,
        ),
        Metric(
            name="retrieval",
            label="retrieval",
            arrow="↑",
            paper="",
            code="nextbasis.scoring.retrieval.retrieval",
            optional=True,
            digits=3,
        ),
        Metric(
            name="retrieval_top5",
            label="retrieval among 5",
            arrow="↑",
            paper="",
            code="nextbasis.scoring.retrieval.retrieval",
            optional=True,
            digits=3,
        ),
        Metric(
            name="geneval",
            label="GenEval",
            arrow="↑",
            paper="Ghosh et al. 2023",
            code="nextbasis.commands.geneval.accuracies",
            stage="geneval",
            optional=True,
            digits=3,
            published_digits=2,
        ),
        Metric(
            name="held_out",
            label="held-out loss",
            arrow="↓",
            paper="",
            code="nextbasis.stages.heldout.held_out",
            stage="heldout",
            optional=True,
            digits=4,
            claims=True,
        ),
        Metric(
            name="params",
            label="parameters",
            arrow="↓",
            paper="",
            code="nextbasis.stages.train.main",
            stage="train",
            key="parameters",
            varies="never",
            claims=True,
        ),
        Metric(
            name="projected_share",
            label="steps projected",
            arrow="",
            paper="",
            code="nextbasis.stages.train.metrics",
            stage="train",
            optional=True,
            digits=2,
        ),
        Metric(
            name="seconds_per_image",
            label="s/image",
            arrow="↓",
            paper="",
            code="nextbasis.stages.sample.latency",
            stage="sample",
            published_digits=2,
            varies="machine",
            claims=True,
        ),
        Metric(
            name="images_per_second",
            label="images/s",
            arrow="↑",
            paper="",
            code="nextbasis.stages.sample.fill",
            stage="sample",
            published_digits=1,
            varies="machine",
            claims=True,
        ),
    )
}
SCORES = tuple(metric for metric in METRICS.values() if metric.stage == "score")
