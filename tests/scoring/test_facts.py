"""The rows of facts: no score without one, no name in them that leads nowhere."""

import importlib
import subprocess
import sys

import pytest

from command import ROOT
from nextbasis.scoring.facts import METRICS, Metric
from nextbasis.support.files import read_json

COMPANIONS = {"is_std", "fid_extrapolated"}  # other readings of a metric


def test_every_committed_score_has_its_row() -> None:
    paths = sorted(ROOT.glob("results/*/score/*/score.json"))
    written = {key for path in paths for key in read_json(path)["values"]}
    errors = {metric.error for metric in METRICS.values()}
    assert {"fid", "kid", "accuracy", "retrieval_top5"} <= written
    assert written <= set(METRICS) | errors | COMPANIONS


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_code_of_a_metric_is_there(metric: Metric) -> None:
    module, _, name = metric.code.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_facts_need_no_large_library() -> None:
    program = "import nextbasis.scoring.facts, sys; assert not {'torch', 'numpy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", program], check=True)
