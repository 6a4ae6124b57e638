"""Render the ledger of the papers' claims for one scale: a plain rule, not a DVC stage."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nextbasis.claims.evaluate import evaluate
from nextbasis.claims.inputs import CLAIMS, SUMMARY, check_claims, claim_evals, load_claims
from nextbasis.claims.ledger import claims_layout, comparisons_layout
from nextbasis.pipeline.catalog import Catalog, section
from nextbasis.support.endings import in_one_line
from nextbasis.support.files import result_folder, write_text
from nextbasis.tables import header, measured, published, render, sofar
from nextbasis.tables.inputs import FORMATS, PUBLISHED, TEMPLATES


def write(catalog: Catalog, scale: str, folder: Path) -> None:
    """Write <folder>/{claims,comparisons}.{md,tex,html,csv} and the report's summary.

    Raises: ValueError for unknown names, FileNotFoundError for results that were not made.
    """
    claims = load_claims(CLAIMS)
    check_claims(claims, catalog)
    tokenizers = list(section(catalog, scale)["tokenizers"])
    evals = claim_evals(claims, catalog, scale)
    measured.check_made(scale, evals)
    facts = header.facts_of(scale, evals, tokenizers)
    facts.append(header.environment(scale, evals))
    heading = (facts, header.warning(catalog, scale))
    findings = evaluate(claims, catalog, scale, published.load(PUBLISHED))
    layouts = [
        make(findings, claims["alpha"], heading) for make in (claims_layout, comparisons_layout)
    ]
    texts = {
        f"{layout.name}.{suffix}": render.render(layout, suffix, TEMPLATES)
        for layout in layouts
        for suffix in FORMATS
    }
    texts[SUMMARY] = render.render(layouts[0], "summary", TEMPLATES)
    for name, text in texts.items():
        write_text(folder / name, text)
    for finding in findings:
        print(f"{finding.name}: {finding.verdict}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and do it; bad input ends in one line and status 1."""
    parser = argparse.ArgumentParser(prog="python -m nextbasis.claims", description=__doc__)
    parser.add_argument("--scale", default="cpu", help="a folder of config/scales")
    sofar.add_so_far(parser)
    parser.add_argument("--out", type=Path, help="folder; default: results/SCALE/claims")
    options = parser.parse_args(arguments)
    with in_one_line():
        folder = options.out or result_folder(options.scale, "claims")
        write(sofar.chosen_catalog(options), options.scale, folder)


if __name__ == "__main__":
    main()
