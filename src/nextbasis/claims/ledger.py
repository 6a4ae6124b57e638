"""The findings as tables: one row a claim, then one row a comparison."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nextbasis.claims.effects import half_width
from nextbasis.claims.finding import Comparison, Finding, Part
from nextbasis.claims.verdict import NOT_TESTED, SAME_RUN, VERDICTS
from nextbasis.claims.words import effect_text, interval_text, verdict_text
from nextbasis.scoring.facts import METRICS
from nextbasis.tables.layout import NOTHING, Cell, Layout, letters

Header = tuple[list[tuple[str, str]], str]  # facts, and a warning or nothing


def claims_layout(findings: Sequence[Finding], alpha: float, header: Header) -> Layout:
    """The ledger: every claim with its verdict, and the comparison that decides it.

    Claims on which this scale has no verdict come last.
    """
    findings = sorted(findings, key=lambda finding: finding.verdict not in VERDICTS)
    layout = Layout(
        name="claims",
        title="Claims of the papers and what this scale says about them",
        caption=_caption(findings, alpha),
        warning=header[1],
        header=header[0],
    )
    layout.columns = ["claim", "statement", "verdict at this scale", "effect"]
    layout.columns += ["interval by itself", "interval that decides", "published effect"]
    layout.columns += ["what decides", "source"]
    found: dict[str, str] = {}
    for finding in findings:
        for conflict in finding.conflicts:
            found.setdefault(conflict, letters(len(found)))
        marks = tuple(found[conflict] for conflict in finding.conflicts)
        part = finding.decisive
        layout.rows.append(_claim_row(finding, part, alpha, marks))
        layout.tidy.append(_tidy(finding, part, part.best if part else None, alpha))
    layout.footnotes = [(letter, text) for text, letter in found.items()]
    layout.notes = _notes(alpha)
    return layout


def comparisons_layout(findings: Sequence[Finding], alpha: float, header: Header) -> Layout:
    """Every comparison of every claim, in every reading."""
    layout = Layout(
        name="comparisons",
        title="Comparisons behind the claims",
        caption="Every measured comparison that a verdict rests on.",
        warning=header[1],
        header=header[0],
    )
    layout.columns = ["claim", "system", "reading", "metric", "effect", "interval by itself"]
    layout.columns += ["interval that decides", "published effect", "seeds", "images", "test"]
    layout.columns += ["by itself"]
    for finding in findings:
        for part in finding.parts:
            for comparison in part.comparisons:
                layout.rows.append(_comparison_row(finding, part, comparison, alpha))
                layout.tidy.append(_tidy(finding, part, comparison, alpha))
    layout.notes = _notes(alpha)
    return layout


def _caption(findings: Sequence[Finding], alpha: float) -> str:
    counts = Counter(finding.verdict for finding in findings)
    judged = sum(counts[verdict] for verdict in VERDICTS)
    tested = sum(finding.tested for finding in findings)

    def said(names: Sequence[str]) -> str:
        return ", ".join(f"{counts[name]} {name}" for name in names if counts[name])

    rest = said((NOT_TESTED, SAME_RUN))
    text = (
        f"{len(findings)} claims, {judged} of them with a verdict{': ' * bool(judged)}"
        f"{said(VERDICTS)}{'; without: ' * bool(rest)}{rest}. Verdicts are computed from the "
        "measured numbers and hold for this scale only: whether a claim holds at the paper's scale "
        "is another question."
    )
    waiting = sum(finding.waits for finding in findings)
    if tested:
        together = f" and the {waiting} that wait for results" if waiting else ""
        text += (
            f" The {tested} that could be tested{together} are judged together: the chance that "
            f"any of them is judged falsely is at most {alpha:.0%} (Holm)."
        )
    return text


def _claim_row(
    finding: Finding, part: Part | None, alpha: float, marks: tuple[str, ...]
) -> list[Cell]:
    what, number = NOTHING, len(finding.parts)
    if part is not None:
        what = f"{part.best.label}, {_metric(part.best)}"
        what += f" (least favourable of {number})" if number > 1 else ""
    origin = f"{finding.claim['source']}; decidable from scale {finding.claim['decidable_from']}"
    return [
        Cell(finding.name),
        Cell(finding.claim["statement"].strip(), marks, origin),
        Cell(verdict_text(finding)),
        *_cells(finding, part, part.best if part else None, alpha),
        Cell(what),
        Cell(finding.claim["source"]),
    ]


def _comparison_row(
    finding: Finding, part: Part, comparison: Comparison, alpha: float
) -> list[Cell]:
    effect = comparison.effect
    return [
        Cell(finding.name),
        Cell(comparison.label),
        Cell(comparison.reading or NOTHING),
        Cell(_metric(comparison)),
        *_cells(finding, part, comparison, alpha),
        Cell(str(effect.num_seeds) if effect else NOTHING),
        Cell(_images(comparison) if effect else NOTHING),
        Cell(effect.test if effect else NOTHING),
        Cell(finding.obstacle or comparison.obstacle or comparison.levels().decide(alpha)),
    ]


def _cells(
    finding: Finding, part: Part | None, comparison: Comparison | None, alpha: float
) -> list[Cell]:
    """Effect, both intervals and published effect."""
    if part is None or comparison is None:
        return [Cell(NOTHING)] * 4
    published, effect, logarithm = comparison.published, comparison.effect, finding.logarithm
    texts = [NOTHING, NOTHING, NOTHING]
    hint = ""
    if effect is not None:
        rate = finding.rate_of(part, comparison)
        texts = [effect_text(effect.value, logarithm)]
        texts += [interval_text(effect, each, logarithm) for each in (alpha, rate)]
        seeds = f"{effect.num_seeds} seed" + "s" * (effect.num_seeds != 1)
        hint = f"{comparison.label}: {effect.test}, {seeds}, {_images(comparison)} images"
    texts.append(NOTHING if published is None else effect_text(published, logarithm))
    return [Cell(texts[0], hint=hint), *map(Cell, texts[1:])]


def _metric(comparison: Comparison) -> str:
    return METRICS[comparison.entry["metric"]].label


def _images(comparison: Comparison) -> str:
    return " and ".join(f"{count:,}" for count in comparison.num_images)


def _tidy(
    finding: Finding, part: Part | None, comparison: Comparison | None, alpha: float
) -> dict[str, Any]:
    """One row of the data file; effects of ratios are logarithms there."""
    effect = comparison.effect if comparison else None
    row = {
        "claim": finding.name,
        "verdict": finding.verdict,
        "reason": "; ".join(finding.reasons),
        "seeds_to_decide": finding.seeds or None,
        "comparison": comparison.label if comparison else "",
        "reading": comparison.reading if comparison else "",
        "readings_tried": part.num_readings if part and comparison and comparison.reading else None,
        "metric": comparison.entry["metric"] if comparison else "",
        "effect_is": "log ratio" if finding.logarithm else "difference",
        "effect": effect.value if effect else None,
    }
    rate = finding.rate_of(part, comparison) if part and comparison else math.nan
    for suffix, each in (("", alpha), ("_deciding", rate)):
        known = effect is not None and effect.known and not math.isnan(each)
        half = half_width(effect, each) if effect and known else math.nan
        row[f"low{suffix}"] = effect.value - half if effect and known else None
        row[f"high{suffix}"] = effect.value + half if effect and known else None
    return row | {
        "confidence_deciding": None if math.isnan(rate) else 1 - rate,
        "margin": comparison.margin if comparison and comparison.margin else None,
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
        f"interval by itself: Student's, of confidence {1 - alpha:.0%}; seed by seed where both "
        "systems have two seeds or more in common, else Welch's",
        "interval that decides: the same at the confidence that Holm's rule leaves the claim among "
        "all tested ones, divided among comparisons of which one is enough, and among readings",
        "reproduced, contradicted: that interval lies where the claim says, or where it does not; "
        "no effect larger than x: it lies within x to both sides of zero, where x is the published "
        "effect in per cent of the baseline measured here",
        "one seed decides nothing, in either direction, and borrows no spread from other systems",
        "same run: both sides made the same samples, so there is nothing to judge",
        "reading: what trains A (docs/basis.md, section 6); the paper leaves it open, so it counts "
        "how many were tried",
        "all runs of a family share one tokenizer, trained once: intervals do not contain what "
        "another tokenizer would change, nor another machine without pinned instructions",
    ]
