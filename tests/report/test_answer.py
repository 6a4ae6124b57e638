"""Sentences of the page against ledgers of known verdicts."""

import math
from typing import Any

import pytest

from nextbasis.report.answer import answers, tiles


def row(verdict: str, source: str = "BAR, gains", **changes: Any) -> dict[str, Any]:
    values = {"claim": "c", "statement": "A basis helps.", "source": source, "verdict": verdict}
    values |= {"metric": "fid", "comparison": "a_bar against a", "effect_is": "difference"}
    values |= {"effect": 0.5, "low_deciding": -0.25, "high_deciding": 1.25, "n_seeds": 3.0}
    return values | changes


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["reproduced", "reproduced"], "Reproduced at this scale."),
        (["contradicted", "no effect larger than published"], "Not reproduced at this scale."),
        (["undecided"], "Undecided at this scale."),
        (
            ["reproduced", "undecided", "contradicted"],
            "1 reproduced, 1 contradicted, 1 undecided of 3 claims that this scale measures.",
        ),
    ],
)
def test_the_word_is_what_the_verdicts_have_in_common(verdicts: list[str], word: str) -> None:
    (answer,) = answers([*map(row, verdicts), row("not tested"), row("same run")])
    assert (answer.paper, answer.word) == ("BAR", word)
    assert len(answer.sentences) == len(verdicts)


def test_a_sentence_has_the_effect_and_the_interval_that_decided() -> None:
    rows = [
        row("undecided"),
        row("contradicted", "RAR, speed", effect_is="log ratio", effect=math.log(2), n_seeds=1.0)
        | {"low_deciding": math.nan, "high_deciding": math.nan, "metric": "images_per_second"},
        row("not tested", "RAR, main"),
    ]
    bar, rar = answers(rows)
    assert bar.sentences == [
        "“A basis helps.” Undecided (FID, a_bar against a: +0.5, −0.25 to +1.25; 3 seeds)."
    ]
    assert "×2" in rar.sentences[0] and "images" in rar.sentences[0] and " to " not in rar.sentences


def test_tiles_count_every_claim_once() -> None:
    rows = [row(v) for v in ["reproduced"] * 5 + ["undecided", "not tested", "same run"]]
    made = tiles(rows)
    assert [tile.number for tile in made] == [5, 0, 0, 1, 2]
    assert len(made[0].statements) == 3


def test_a_scale_without_measured_claims_has_no_answer() -> None:
    assert answers([row("not tested")]) == []
