"""Findings as text, the same in the ledger and in tables: effects, intervals and verdicts."""

import math

from nextbasis.claims.effects import Effect, half_width
from nextbasis.claims.finding import Finding, Part
from nextbasis.claims.verdict import NO_EFFECT, NOT_TESTED, SAME_RUN
from nextbasis.scoring.facts import METRICS
from nextbasis.tables.layout import NOTHING


def effect_text(value: float, logarithm: bool) -> str:
    """A difference with its sign, or a ratio."""
    text = f"×{math.exp(value):.3g}" if logarithm else f"{value:+.3g}"
    return text.replace("-", "−")


def interval_text(effect: Effect | None, rate: float, logarithm: bool) -> str:
    """The interval of confidence 1 - rate, with the confidence."""
    if effect is not None and not effect.known:
        return "unknown"
    if effect is None or math.isnan(rate):
        return NOTHING
    half = half_width(effect, rate)
    if half == 0:
        return "exact"
    low, high = (effect_text(effect.value + sign * half, logarithm) for sign in (-1, 1))
    return f"{low} to {high} ({100 * (1 - rate):.4g}%)"


def verdict_text(finding: Finding) -> str:
    """The verdict as a sentence, with the reading it was reached in, or why there is none."""
    said = no_effect_text(finding) if finding.verdict == NO_EFFECT else finding.verdict
    part, reasons = finding.decisive, finding.reasons
    if part is not None and finding.verdict not in (NOT_TESTED, SAME_RUN):
        reasons = [*reading_reasons(part), *reasons]
    return f"{said} ({'; '.join(reasons)})" if reasons else said


def no_effect_text(finding: Finding) -> str:
    """That verdict with its margin: the published effect in per cent of the baseline."""
    shares = [part.best.share for part in finding.parts]
    metric = METRICS[finding.parts[0].best.entry["metric"]].label
    low, high = (f"{100 * share:.2g}%" for share in (min(shares), max(shares)))
    if low == high:
        return f"no effect larger than {high} of the baseline's {metric}"
    return f"no effect larger than the published {low} to {high} of the baselines' {metric}"


def reading_reasons(part: Part) -> list[str]:
    """The reading of BAR's objective that a part is judged by, and how many were tried."""
    if not part.best.reading:
        return []
    number = part.num_readings
    tried = "the only one tried" if number == 1 else f"{number} tried"
    return [f"reading {part.best.reading}, {tried}"]
