"""Commands about samples: score, reference, export-samples, compare, prompts, geneval."""

import argparse

from nextbasis.metrics.sources import open_source
from nextbasis.outside.compare import compare
from nextbasis.outside.evaluation import choose_evaluation, open_reference, read_labels
from nextbasis.outside.export import export_samples
from nextbasis.outside.geneval import geneval
from nextbasis.outside.prompts import sample_prompts
from nextbasis.outside.references import make_reference
from nextbasis.outside.scoring import check_name, score_to_row


def run(given: argparse.Namespace) -> dict[str, str]:
    """Do what one of the commands says; what to print.

    Raises: FileNotFoundError or ValueError naming file or option.
    """
    if given.command == "export-samples":
        return export_samples(given.scale, given.key, given.out)
    if given.command == "prompts":
        return sample_prompts(given.scale, given.key, given.file, given.out, given.images)
    if given.command == "compare":
        return compare(given.scale, given.first, given.second)
    if given.command == "geneval":
        return geneval(given.results, given.scale, given.run)
    config = choose_evaluation(given.scale, given.protocol, given.weights)
    labels = read_labels(given.labels)
    if given.command == "reference":
        return make_reference(
            given.source, given.out, config, labels, given.classes, given.computed_on
        )
    check_name(given.name, given.replace)
    samples = open_source(given.samples)
    reference = open_reference(given.reference, config, given.classes)
    about = {"rounding": given.rounding, "source": given.source or str(given.samples)}
    return score_to_row(
        given.name, given.scale, samples, given.samples, labels, reference, config, about
    )
