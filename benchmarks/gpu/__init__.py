"""Speed of a GPU at the papers' sizes, its memory, its peak: `python -m benchmarks --gpu`."""
