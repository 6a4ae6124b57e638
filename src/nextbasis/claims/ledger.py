"""The findings as tables: one row a claim, then one row a comparison."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nextbasis.claims.effects import half_width
from nextbasis.claims.evaluate import Comparison, Finding, decisive
from nextbasis.claims.verdict import UNDECIDED
from nextbasis.scoring.facts import METRICS
from nextbasis.tables.layout import NOTHING, Cell, Layout, letters

Header = tuple[list[tuple[str, str]], str]  # facts, and a warning or nothing
MOST_SEEDS = 10_000


def claims_layout(findings: Sequence[Finding], alpha: float, header: Header) -> Layout:
    """The ledger: every claim with its verdict, and the comparison that decides it.

    Claims of which nothing is measured come last.
    """
    findings = sorted(findings, key=lambda finding: not finding.measured)
    layout = Layout(
        name="claims",
        title="Claims of the papers and what this scale says about them",
        caption=_caption(findings, alpha),
        warning=header[1],
        header=header[0],
    )
    layout.columns = ["claim", "statement", "verdict at this scale", "effect", "interval"]
    layout.columns += ["published effect", "seeds to decide", "what decides", "source"]
    found: dict[str, str] = {}
    for finding in findings:
        for conflict in finding.conflicts:
            found.setdefault(conflict, letters(len(found)))
        marks = tuple(found[conflict] for conflict in finding.conflicts)
        layout.rows.append(_claim_row(finding, alpha, marks))
        layout.tidy.append(_tidy(finding, decisive(finding, alpha), alpha))
    layout.footnotes = [(letter, text) for text, letter in found.items()]
    layout.notes = _notes(alpha)
    return layout


def comparisons_layout(findings: Sequence[Finding], alpha: float, header: Header) -> Layout:
    """Every comparison of every claim."""
    layout = Layout(
        name="comparisons",
        title="Comparisons behind the claims",
        caption="Every measured comparison that a verdict rests on.",
        warning=header[1],
        header=header[0],
    )
    layout.columns = ["claim", "system", "metric", "effect", "interval", "published effect"]
    layout.columns += ["seeds", "images", "test", "by itself"]
    for finding in findings:
        for comparison in finding.comparisons:
            layout.rows.append(_comparison_row(finding, comparison, alpha))
            layout.tidy.append(_tidy(finding, comparison, alpha))
    layout.notes = _notes(alpha)
    return layout


def _caption(findings: Sequence[Finding], alpha: float) -> str:
    measured = [finding for finding in findings if finding.measured]
    counts = Counter(finding.verdict for finding in measured)
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    text = (
        f"{len(findings)} claims, {len(measured)} of them measured at this scale"
        f"{': ' * bool(said)}{said}. Verdicts are computed from the measured numbers and hold for "
        "this scale only: whether a claim holds at the paper's scale is another question."
    )
    if decided := len(measured) - counts[UNDECIDED]:
        text += (
            f" At {alpha:.0%} a claim, chance alone may have made about {alpha * decided:.1f} of "
            f"the {decided} decided ones."
        )
    return text


def _claim_row(finding: Finding, alpha: float, marks: tuple[str, ...]) -> list[Cell]:
    worst = decisive(finding, alpha)
    effect, interval, published = _cells(finding, worst, alpha)
    number = len(finding.comparisons)
    what = NOTHING if worst is None else f"{worst.label}, {_metric(worst)}"
    if worst is not None and number > 1:
        what += f" (least favourable of {number})"
    reason = f" ({finding.reason})" if finding.reason else ""
    origin = f"{finding.claim['source']}; decidable from scale {finding.claim['decidable_from']}"
    return [
        Cell(finding.name),
        Cell(finding.claim["statement"].strip(), marks, origin),
        Cell(finding.verdict + reason),
        effect,
        interval,
        published,
        Cell(_seeds(finding)),
        Cell(what),
        Cell(finding.claim["source"]),
    ]


def _comparison_row(finding: Finding, comparison: Comparison, alpha: float) -> list[Cell]:
    effect = comparison.effect
    return [
        Cell(finding.name),
        Cell(comparison.label),
        Cell(_metric(comparison)),
        *_cells(finding, comparison, alpha),
        Cell(str(effect.num_seeds) if effect else NOTHING),
        Cell(comparison.images if effect else NOTHING),
        Cell(effect.test if effect else "not measured at this scale"),
        Cell(comparison.hindrance or comparison.verdict),
    ]


def _cells(finding: Finding, comparison: Comparison | None, alpha: float) -> tuple[Cell, ...]:
    """Effect, interval and published effect."""
    if comparison is None:
        return Cell(NOTHING), Cell(NOTHING), Cell(NOTHING)
    published = Cell(NOTHING)
    if comparison.published is not None:
        published = Cell(_text(comparison.published, finding.logarithm))
    effect = comparison.effect
    if effect is None:
        return Cell(NOTHING), Cell(NOTHING), published
    value, half = effect.value, half_width(effect, alpha)
    interval = "unknown"
    if not math.isnan(half):
        bounds = [_text(value + sign * half, finding.logarithm) for sign in (-1, 1)]
        interval = "exact" if half == 0 else f"{bounds[0]} to {bounds[1]}"
    seeds = f"{effect.num_seeds} seed" + "s" * (effect.num_seeds != 1)
    hint = f"{comparison.label}: {effect.test}, {seeds}, {comparison.images} images"
    return Cell(_text(value, finding.logarithm), hint=hint), Cell(interval), published


def _text(value: float, logarithm: bool) -> str:
    text = f"×{math.exp(value):.3g}" if logarithm else f"{value:+.3g}"
    return text.replace("-", "−")


def _metric(comparison: Comparison) -> str:
    return METRICS[comparison.entry["metric"]].label


def _seeds(finding: Finding) -> str:
    if not finding.seeds:
        return NOTHING
    return f"over {MOST_SEEDS:,}" if finding.seeds >= MOST_SEEDS else f"{finding.seeds:,}"


def _tidy(finding: Finding, comparison: Comparison | None, alpha: float) -> dict[str, Any]:
    """One row of the data file; effects of ratios are logarithms there."""
    effect = comparison.effect if comparison else None
    half = half_width(effect, alpha) if effect else math.nan
    known = effect is not None and not math.isnan(half)
    return {
        "claim": finding.name,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "seeds_to_decide": finding.seeds or None,
        "comparison": comparison.label if comparison else "",
        "metric": comparison.entry["metric"] if comparison else "",
        "effect_is": "log ratio" if finding.logarithm else "difference",
        "effect": effect.value if effect else None,
        "low": effect.value - half if effect and known else None,
        "high": effect.value + half if effect and known else None,
        "n_seeds": effect.num_seeds if effect else None,
        "test": effect.test if effect else "",
        "published_effect": comparison.published if comparison else None,
        "decidable_from": finding.claim["decidable_from"],
        "statement": finding.claim["statement"].strip(),
        "source": finding.claim["source"],
        "conflicts": "; ".join(finding.conflicts),
    }


def _notes(alpha: float) -> list[str]:
    return [
        "effect: the first system minus the second; for claims of a ratio (×), the first by the "
        "second",
        f"interval: Student's, of confidence {1 - alpha:.0%}, and never less than two standard "
        "errors to each side; seed by seed where both systems have the seeds",
        "with one seed the spread is that of systems of the same family that have several",
        "seeds to decide: for all undecided comparisons, if effect and spread stay what they are",
    ]
