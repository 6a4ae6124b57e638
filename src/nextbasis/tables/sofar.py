"""A scale that is shown half done: systems that lack results are named, not left out silently."""

import argparse
from pathlib import Path

from nextbasis.pipeline.catalog import Catalog, load_catalog, section
from nextbasis.tables.inputs import result_inputs


def add_so_far(parser: argparse.ArgumentParser) -> None:
    """Add the option --so-far to a command line that has --scale."""
    parser.add_argument(
        "--so-far",
        action="store_true",
        help="show a scale half done: what was not run yet is said, and counts among the tested "
        "claims",
    )


def chosen_catalog(options: argparse.Namespace) -> Catalog:
    """The catalog; with --so-far that of the scale half done."""
    catalog = load_catalog()
    return so_far(catalog, options.scale) if options.so_far else catalog


def so_far(catalog: Catalog, scale: str) -> Catalog:
    """The catalog, which lists as `awaited` the systems of a scale that lack a result of any seed.

    Tables and claims show these as not run yet.
    """
    part = section(catalog, scale)
    lacking = {
        entry["system"]
        for key, entry in part["evals"].items()
        if not all(Path(path).is_file() for path in result_inputs(catalog, scale, {key: entry}, []))
    }
    return catalog | {scale: part | {"awaited": frozenset(lacking)}}


def waiting(catalog: Catalog, scale: str) -> frozenset[str]:
    """The systems that a scale shown half done awaits, but for those that are made on request."""
    return _systems(catalog, scale) & section(catalog, scale).get("awaited", frozenset())


def _systems(catalog: Catalog, scale: str) -> frozenset[str]:
    """The systems of a scale that have an evaluation which is not marked extra."""
    evals = section(catalog, scale)["evals"].values()
    return frozenset(entry["system"] for entry in evals if not entry.get("extra"))


def half_done(catalog: Catalog, scale: str) -> str:
    """A sentence that says how much of the scale is made; empty where it is not shown half done."""
    if not (lacking := waiting(catalog, scale)):
        return ""
    systems = _systems(catalog, scale)
    return (
        f"Half done: {len(systems - lacking)} of {len(systems)} systems of this scale are made, "
        "each with all of its seeds. Claims about the others count among the tested ones, so a "
        "verdict that stands now is not loosened by what comes."
    )
