"""Samples that leave and enter the pipeline: export, other people's samples, comparisons."""
