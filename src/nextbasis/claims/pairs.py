"""The verdicts in a table of pairs: those of the claims about each pair, and no others."""

import math

from nextbasis.claims.evaluate import evaluate
from nextbasis.claims.finding import Finding
from nextbasis.claims.inputs import CLAIMS, check_claims, load_claims
from nextbasis.claims.words import interval_text, verdict_text
from nextbasis.pipeline.catalog import Catalog, table_of
from nextbasis.tables.layout import NOTHING, Judgement
from nextbasis.tables.measured import STANDARD_ERROR, Estimate
from nextbasis.tables.published import Numbers

Pair = tuple[str, str]  # baseline and system


def judge(catalog: Catalog, scale: str, name: str, numbers: Numbers) -> dict[Pair, Judgement]:
    """What the claims say about every row of a table of pairs.

    Raises: ValueError for wrong claims and for a row that no claim is about; FileNotFoundError for
    a result that any claim rests on, because the verdicts of all are reached together.
    """
    claims, table = load_claims(CLAIMS), table_of(catalog, name)
    check_claims(claims, catalog)
    findings = evaluate(claims, catalog, scale, numbers)
    metric, found = table["metrics"][0], {}
    for row in table["rows"]:
        pair = row["baseline"], row["system"]
        finding = next((each for each in findings if _is_about(each, pair, metric)), None)
        if finding is None:
            raise ValueError(
                f"tables.{name}: no claim of {CLAIMS} compares {pair[1]} with {pair[0]} in "
                f"{metric} and nothing else, so the row can have no verdict; add the claim"
            )
        found[pair] = _judgement(finding, claims["alpha"])
    return found


def _is_about(finding: Finding, pair: Pair, metric: str) -> bool:
    entries = [part.comparisons[0].entry for part in finding.parts]
    return len(entries) == 1 and (*pair, metric) == tuple(
        entries[0].get(key) for key in ("than", "system", "metric")
    )


def _judgement(finding: Finding, alpha: float) -> Judgement:
    part = finding.parts[0]
    comparison = part.comparisons[0]
    effect = comparison.effect
    if effect is None:
        return Judgement(None, NOTHING, NOTHING, NOTHING)
    difference = Estimate(
        value=effect.value,
        spread=effect.se,
        kind="" if math.isnan(effect.se) else STANDARD_ERROR,
        num_seeds=effect.num_seeds,
        num_images=comparison.num_images[0],
    )
    rate = finding.rate_of(part, comparison)
    return Judgement(
        difference,
        interval_text(effect, alpha, finding.logarithm),
        interval_text(effect, rate, finding.logarithm),
        verdict_text(finding),
    )
